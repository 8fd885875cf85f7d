"""`edgewise check`: say whether a dataset is usable."""

from pathlib import Path

from edgewise import machine
from edgewise.console import advancing, progress
from edgewise.data import checks, layouts


def check(data: Path) -> bool:
    """Print what was found and every defect; return whether the dataset can be trained on.

    Raises:
        DataError: no layout fits the folder.
    """
    dataset = layouts.detect(data)
    with progress("checking") as report:
        inspection = checks.inspect(dataset, workers=machine.cores(), progress=advancing(report))
    print(f"{dataset.name}: {len(dataset.cases)} labelled cases, layout {dataset.layout}")  # noqa: T201
    for line in _facts(dataset.classes, dataset.channels, inspection):
        print(line)  # noqa: T201
    errors = sum(defect.severity == "error" for defect in inspection.defects)
    for defect in inspection.defects:
        print(f"{defect.severity}: {defect}")  # noqa: T201
    print("not usable: mend the errors above" if errors else "usable")  # noqa: T201
    return not errors


def _facts(classes: tuple[str, ...], channels: tuple[str, ...], inspection: checks.Inspection) -> list[str]:
    cases = inspection.fingerprint.cases
    if not cases:
        return []
    total = sum(sum(case.voxels) for case in cases)
    lines = [
        f"channels: {', '.join(channels)}",
        "median shape {} at {} mm".format(
            " × ".join(f"{n:g}" for n in inspection.fingerprint.median_shape),
            " × ".join(f"{s:.3g}" for s in inspection.fingerprint.median_spacing),
        ),
    ]
    for value, name in enumerate(classes):
        voxels = sum(case.voxels[value] for case in cases if value < len(case.voxels))
        present = sum(1 for case in cases if value < len(case.voxels) and case.voxels[value])
        lines.append(f"class {value} {name}: {100 * voxels / total:.3g} % of voxels, in {present} cases")
    return lines
