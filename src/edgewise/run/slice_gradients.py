"""`edgewise gradients RUN`: the gradient of losses on real slices, at several moments of a training."""

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor

from edgewise.compare.gradients import Tally, negative, slice_gradient, tallies
from edgewise.console import progress
from edgewise.data import layouts
from edgewise.data.case import CaseFiles
from edgewise.data.images import read_case
from edgewise.data.transform import transform
from edgewise.errors import DataError, RunError
from edgewise.files import output_folder
from edgewise.inference.two_stage import TwoStage
from edgewise.losses.base import Loss
from edgewise.report.slice_gradients import Moment, SliceView, slices
from edgewise.run.folder import RunFolder, runs_in
from edgewise.run.gradients import settings, title, write_tables
from edgewise.run.trained import Trained, load
from edgewise.training import checkpoint
from edgewise.types import Image, Labels

ALL = "all"


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """What one gradient is of: a whole slice for a network of slices, else a patch about the foreground.

    Attributes:
        title: of which case, and where.
        image: (K, *space).
        labels: (*space).
    """

    title: str
    image: Image
    labels: Labels


@dataclass(frozen=True, kw_only=True, eq=False)
class Seen:
    """What came of one run at one moment.

    Attributes:
        step: of the training.
        tallies: for each loss, over all parts.
        moment: of the part that is drawn.
    """

    step: int
    tallies: tuple[tuple[Tally, ...], ...]
    moment: Moment


def of_runs(runs: Sequence[Path], losses: Sequence[Loss], cases: Sequence[str], out: Path) -> list[str]:
    """Count the negative components of gradients at the snapshots of runs, draw a slice, and write the numbers.

    Args:
        runs: run folders, or folders of them.
        losses: none is each run's own loss.
        cases: ids of validation cases, or `all`; the first is drawn; none is the first validation case.
        out: folder for a figure of each run (PNG and SVG) and `gradients` (JSON and CSV).

    Returns:
        Lines about what was found.

    Raises:
        RunError: a folder is no run, has no checkpoint, or its network has two stages.
        DataError: there is no such validation case, or its image has moved away.
        OutputError: `out` cannot be written.
    """
    folders = [RunFolder(path=path) for each in runs for path in runs_in(each)]
    output_folder(out)
    rows: list[dict[str, Any]] = []
    whole: list[dict[str, Any]] = []
    for folder, name in zip(folders, _names(folders), strict=True):
        trained = load(folder, next(iter(_checkpoints(folder).values())))
        chosen = tuple(losses) or (trained.experiment.loss,)
        ids = _chosen(folder, cases)
        parts = [part for files in _files(folder, ids) for part in _parts(files, trained)]
        if not parts:
            raise DataError(f"no slice of {', '.join(ids)} holds foreground: choose another case.")
        shown = max(range(_of_first(parts)), key=lambda number: _fullness(parts[number].labels))
        seen = _watched(folder, trained, chosen, parts, shown)
        titles = tuple(title(loss) for loss in chosen)
        slices(out / f"{name}_{ids[0]}", _view(name, parts[shown], trained, titles, seen))
        found = list(_rows(name, trained.classes, titles, seen))
        rows += found
        whole.append(
            {
                "run": name,
                "folder": str(folder.path),
                "cases": ids,
                "of": "slices with foreground" if trained.plan.dimensions == 2 else "a patch about the foreground",
                "parts": len(parts),
                "losses": {each: settings(loss) for each, loss in zip(titles, chosen, strict=True)},
                "rows": found,
            }
        )
    write_tables(out, rows, whole)
    return _lines(rows)


def _names(folders: Sequence[RunFolder]) -> list[str]:
    """Names of the folders, made unique by a number."""
    names = [folder.path.resolve().name for folder in folders]
    return [f"{name}_{names[:i].count(name) + 1}" if names.count(name) > 1 else name for i, name in enumerate(names)]


def _checkpoints(folder: RunFolder) -> dict[int, Path]:
    """The weights that predicted, by step: of all snapshots, else of the best validation.

    Raises:
        RunError: there are none.
    """
    found = folder.snapshots()
    if found:
        return found
    return {int(checkpoint.load(folder.best, torch.device("cpu"))["step"]): folder.best}


def _chosen(folder: RunFolder, cases: Sequence[str]) -> list[str]:
    validation = [str(case) for case in folder.mapping(folder.dataset)["validation"]]
    if ALL in cases:
        return validation
    for case in cases:
        if case not in validation:
            near = difflib.get_close_matches(case, validation, 1)
            hint = f"Did you mean {near[0]}?" if near else f"There are {', '.join(validation[:8])}, ..."
            raise DataError(f"{case} is no validation case of {folder.path}. {hint}")
    return list(dict.fromkeys(cases)) or validation[:1]


def _files(folder: RunFolder, ids: Sequence[str]) -> list[CaseFiles]:
    root = Path(str(folder.mapping(folder.dataset)["root"]))
    found = {case.id: case for case in layouts.detect(root).cases}
    missing = [name for name in ids if name not in found]
    if missing:
        raise DataError(f"case {missing[0]} is no longer in {root}: restore it, or choose another case.")
    return [found[name] for name in ids]


def _parts(files: CaseFiles, trained: Trained) -> Iterator[Part]:
    """The slices of a case that hold foreground; or one patch, where the foreground is."""
    prepared = transform(read_case(files), trained.plan.preparation())
    if prepared.labels is None:
        raise DataError(f"case {files.id} has no reference, so that no loss has a value.")
    if trained.plan.dimensions == 2:
        for place in np.flatnonzero(prepared.labels.any((1, 2))).tolist():
            words = f"{files.id}, slice {place}"
            yield Part(title=words, image=prepared.image[:, place], labels=prepared.labels[place])
    elif prepared.labels.any():
        middle = [int(np.median(axis)) for axis in np.nonzero(prepared.labels)]
        box = tuple(
            _range(at, p, n) for at, p, n in zip(middle, trained.plan.patch, prepared.labels.shape, strict=True)
        )
        words = f"{files.id}, a patch about its foreground"
        yield Part(title=words, image=prepared.image[(slice(None), *box)], labels=prepared.labels[box])


def _range(middle: int, size: int, whole: int) -> slice:
    start = min(max(middle - size // 2, 0), max(whole - size, 0))
    return slice(start, min(start + size, whole))


def _of_first(parts: Sequence[Part]) -> int:
    """How many parts are of the first case."""
    case = parts[0].title.split(",")[0]
    return sum(part.title.split(",")[0] == case for part in parts)


def _fullness(labels: Labels) -> tuple[int, int]:
    """How many classes there are, then how much foreground."""
    return len(np.unique(labels)), int((labels > 0).sum())


def _watched(
    folder: RunFolder, trained: Trained, losses: Sequence[Loss], parts: Sequence[Part], shown: int
) -> list[Seen]:
    """Every moment of a run."""
    moments, seen = _checkpoints(folder), []
    with progress("gradients") as report, trained.plan.arithmetic.applied():
        for number, (step, path) in enumerate(moments.items()):
            then = load(folder, path)
            if isinstance(then.network, TwoStage):
                raise RunError(
                    f"{folder.path} has a network of two stages, which has no logits of a whole slice. "
                    "Pass a run of another method."
                )
            now = [loss.at(step / trained.experiment.training.epoch) for loss in losses]
            seen.append(_seen(then, now, parts, shown, step))
            report(number + 1, len(moments), f"step {step}")
    return seen


def _seen(trained: Trained, losses: Sequence[Loss], parts: Sequence[Part], shown: int, step: int) -> Seen:
    spacing, classes = trained.plan.patch_spacing, len(trained.classes)
    found: list[list[ndarray]] = []
    for number, part in enumerate(parts):
        logits = _logits(trained, part.image)
        found.append([negative(slice_gradient(loss, logits, part.labels, spacing)) for loss in losses])
        if number == shown:
            prediction = logits.argmax(0).numpy()
    pairs = [[(row[i], part.labels) for row, part in zip(found, parts, strict=True)] for i in range(len(losses))]
    moment = Moment(title=f"step {step}", prediction=prediction, negative=tuple(found[shown]))
    return Seen(step=step, tallies=tuple(tallies(each, classes) for each in pairs), moment=moment)


def _logits(trained: Trained, image: Image) -> Tensor:
    """(C, *space) of the whole image at once, which is padded with 0 to a size that the network takes."""
    plan = trained.plan
    steps = [int(step) for step in np.prod(plan.strides, axis=0)]
    sizes = [max(-(-n // m) * m, p) for n, m, p in zip(image.shape[1:], steps, plan.patch, strict=True)]
    pad = [(0, 0), *((0, size - n) for size, n in zip(sizes, image.shape[1:], strict=True))]
    padded = torch.from_numpy(np.pad(np.asarray(image, np.float32), pad))[None].to(trained.device)
    with torch.no_grad(), plan.arithmetic.autocast(trained.device):
        logits: Tensor = trained.network(plan.arithmetic.arrange(padded))[0]
    return logits[(slice(None), *(slice(n) for n in image.shape[1:]))].double().cpu()


def _view(name: str, part: Part, trained: Trained, titles: tuple[str, ...], seen: Sequence[Seen]) -> SliceView:
    axes = trained.plan.axes[-2:]
    steps = trained.plan.patch_spacing[-2:]
    place = int(np.argmax((part.labels > 0).sum((1, 2)))) if part.labels.ndim == 3 else 0

    def cut(values: ndarray) -> ndarray:
        flat = values[..., place, :, :] if part.labels.ndim == 3 else values
        rows_last = flat if axes[0] < axes[1] else np.swapaxes(flat, -1, -2)
        return np.swapaxes(rows_last[..., ::-1, ::-1], -1, -2)

    across, up = steps if axes[0] < axes[1] else steps[::-1]
    moments = tuple(
        Moment(
            title=each.moment.title,
            prediction=cut(each.moment.prediction),
            negative=tuple(cut(one) for one in each.moment.negative),
        )
        for each in seen
    )
    return SliceView(
        title=f"{name}: {part.title}",
        image=cut(part.image[0]),
        reference=cut(part.labels),
        classes=trained.classes,
        aspect=up / across,
        losses=titles,
        moments=moments,
    )


def _rows(name: str, classes: Sequence[str], titles: Sequence[str], seen: Sequence[Seen]) -> Iterator[dict[str, Any]]:
    for number, loss in enumerate(titles):
        for each in seen:
            for tally in each.tallies[number]:
                none, one, two, more = tally.shares
                yield {
                    "run": name,
                    "loss": loss,
                    "step": each.step,
                    "class": tally.label,
                    "class_name": ALL if isinstance(tally.label, str) else classes[tally.label],
                    "pixels": tally.pixels,
                    "share_0": none,
                    "share_1": one,
                    "share_2": two,
                    "share_3_or_more": more,
                    "true_class_alone": tally.share_right,
                }


def _lines(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Over all classes, and over the foreground's."""
    whole = [row for row in rows if row["class"] == ALL]
    width = max(len(f"{row['run']} {row['loss']}") for row in whole)
    return [
        f"{row['run'] + ' ' + row['loss']:{width}}  step {row['step']:>6}  several negative "
        f"{100 * (row['share_2'] + row['share_3_or_more']):5.1f} %, the true class alone "
        f"{100 * row['true_class_alone']:5.1f} %"
        for row in whole
    ]
