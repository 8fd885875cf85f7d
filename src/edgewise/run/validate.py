"""The end of a run: its validation cases are predicted and scored."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from edgewise.console import say
from edgewise.data import layouts
from edgewise.data.case import Dataset
from edgewise.run.folder import Journal, RunFolder
from edgewise.run.located import Located
from edgewise.run.trained import ending, load, predict_all


def evaluate_run(folder: RunFolder, dataset: Dataset) -> Mapping[str, str]:
    """Predict the validation cases with the best checkpoint, and write metrics, summary and curves.

    Returns:
        What went wrong, by case id; a case without prediction is scored as an empty mask.
    """
    from edgewise.metrics.presets import named
    from edgewise.report.figures import curves
    from edgewise.report.records import read_run
    from edgewise.run.evaluate import evaluate_pairs

    trained = load(folder)
    chosen = set(folder.mapping(folder.dataset)["validation"])
    cases = tuple(case for case in dataset.cases if case.id in chosen)
    located = Located(trained, folder)
    # A reference that cannot be read is the evaluation's affair, and no reason not to predict.
    images = cases if located.wanted else tuple(replace(case, label=None) for case in cases)
    predicted = predict_all(trained, images, folder.predictions, located.see)
    failures = predicted.failures
    references = {case.id: case.label for case in cases if case.label is not None}
    found = {case.id: folder.predictions / f"{case.id}{ending(case)}" for case in cases if case.id not in failures}
    values = next((case.values for case in cases), ())
    result = evaluate_pairs(references, found, trained.classes, named("default"), values=values)
    result = replace(result, failures={**result.failures, **failures}, warnings=predicted.warnings)
    result = replace(result, localisation=located.write())
    result.write(folder.metrics, folder.lesions, folder.summary)
    journal = Journal(folder.journal)
    for case, texts in predicted.warnings.items():
        journal.note(f"{case}: {'; '.join(texts)}")
    for case, text in result.failures.items():
        journal.failure(case, text)
    curves([read_run(folder.path)], folder.curves)
    return result.failures


def finish(folder: RunFolder, data: Path) -> Mapping[str, str]:
    """What is left to do for a run whose training has ended: nothing, or its evaluation.

    Returns:
        What went wrong, by case id.
    """
    if not folder.curves.exists():
        say(f"{folder.path} is trained to its end; what is missing is its evaluation")
        return evaluate_run(folder, layouts.detect(data))
    say(f"{folder.path} is finished: there is nothing left to do")
    failures: Mapping[str, str] = folder.mapping(folder.summary).get("failures", {})
    return failures
