"""`edgewise predict`: masks for new images, each on its image's own grid."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from edgewise.data.case import CaseFiles
from edgewise.data.folders import find_images
from edgewise.errors import DataError, OutputError
from edgewise.files import output_folder
from edgewise.run.folder import RunFolder
from edgewise.run.trained import ending, load, predict_all


def predict(run: Path, images: Sequence[Path], out: Path) -> Mapping[str, str]:
    """Predict image files, or all images of folders.

    Returns:
        What went wrong, by case id; empty if all went well.

    Raises:
        RunError: `run` is no trained run.
        DataError: no image was found, or none could be predicted.
        OutputError: `out` cannot be written, or a mask would take the place of an image.
    """
    trained = load(RunFolder(path=run))
    files = find_images(images, len(trained.channels))
    _require_apart(files, out)
    failures = predict_all(trained, files, output_folder(out)).failures
    if len(failures) == len(files):
        raise DataError("no image could be predicted:\n" + "\n".join(f"  {text}" for text in failures.values()))
    return failures


def _require_apart(files: Sequence[CaseFiles], out: Path) -> None:
    given = {path.resolve() for case in files for path in case.images}
    for case in files:
        target = out / f"{case.id}{ending(case)}"
        if target.resolve() in given:
            raise OutputError(f"the mask of {target} would take the place of that image. Choose another --out.")
