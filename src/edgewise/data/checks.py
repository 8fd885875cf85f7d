"""Is this dataset usable? Every defect with file, problem and mend, and the fingerprint, in one reading."""

import multiprocessing
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from typing import TypeVar

import numpy as np

from edgewise.data.case import CaseFiles, Dataset
from edgewise.data.fingerprint import Fingerprint, Observation, content_digest, observe, pool
from edgewise.data.folders import Defect
from edgewise.data.images import assemble, read_mask, require_finite, require_same_grid, whole_labels
from edgewise.data.layouts import scan
from edgewise.data.volumes import ImageError, Volume, files_of, read_volume
from edgewise.errors import DataError

__all__ = ["Defect", "Inspection", "inspect", "orphans", "require_usable"]

T = TypeVar("T")
LISTED = 10
# A worker takes 2 to 4 s to start, because it imports torch; compressed images are read at 10 MB a second.
BYTES_PER_WORKER = 64_000_000


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What is wrong with a dataset, and what it is like.

    Attributes:
        defects: errors first, then by case.
        fingerprint: of the cases without errors.
    """

    defects: tuple[Defect, ...]
    fingerprint: Fingerprint


@dataclass(frozen=True, kw_only=True)
class _Finding:
    """One case: its defects and, without errors, what was observed and a digest of the image's voxels."""

    defects: tuple[Defect, ...]
    observation: Observation | None = None
    image: str = ""


def inspect(dataset: Dataset, *, workers: int, progress: Callable[[int, int], None]) -> Inspection:
    """Read every case once; find its defects and its share of the fingerprint.

    Args:
        dataset: from `layouts.detect`.
        workers: how many processes at most; a small dataset is read in this one, which is faster.
        progress: called with (cases done, cases in all) after each case.

    Raises:
        DataError: a worker process died.
    """
    defects = list(orphans(dataset))
    observations, images = [], defaultdict(list)
    for done, finding in enumerate(_findings(dataset, workers), 1):
        defects += finding.defects
        if finding.observation is not None:
            observations.append(finding.observation)
            images[finding.image].append(dataset.cases[done - 1])
        progress(done, len(dataset.cases))
    defects += [defect for cases in images.values() for defect in _twins(cases)]
    fingerprint = pool(observations)
    defects += _whole(dataset, fingerprint)
    ordered = sorted(defects, key=lambda d: (d.severity, d.case, str(d.file)))
    return Inspection(defects=tuple(ordered), fingerprint=fingerprint)


def require_usable(inspection: Inspection) -> None:
    """Refuse a dataset with errors; warnings pass.

    Raises:
        DataError: lists the first ten errors, and tells how many more there are.
    """
    errors = [defect for defect in inspection.defects if defect.severity == "error"]
    if errors:
        lines = [f"the dataset cannot be used: {len(errors)} error{'s' * (len(errors) > 1)}"]
        lines += [f"  {defect}" for defect in errors[:LISTED]]
        if len(errors) > LISTED:
            lines.append(f"  and {len(errors) - LISTED} more: `edgewise check {{DATA}}` lists them all.")
        raise DataError("\n".join(lines))


def orphans(dataset: Dataset) -> tuple[Defect, ...]:
    """Files that are in the dataset's folders (or its `dataset.json`) but in no labelled pair."""
    return scan(dataset.root).defects


def _findings(dataset: Dataset, workers: int) -> Iterator[_Finding]:
    examine = partial(_examine, classes=dataset.classes, channels=len(dataset.channels))
    workers = min(workers, len(dataset.cases), 1 + _bytes(dataset) // BYTES_PER_WORKER)
    if workers <= 1:
        yield from map(examine, dataset.cases)
        return
    # Never "fork": torch may be loaded, and its threads do not survive a fork. The fork server imports once.
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(method)
    if method == "forkserver":
        context.set_forkserver_preload([__name__])
    try:
        with ProcessPoolExecutor(workers, mp_context=context) as executor:
            yield from executor.map(examine, dataset.cases)
    except BrokenProcessPool as error:
        cause = "it ran out of memory, or the calling script lacks `if __name__ == '__main__':`"
        raise DataError(f"{dataset.root}: a worker died while reading ({cause}). Use 1 worker.") from error


def _bytes(dataset: Dataset) -> int:
    files = (file for case in dataset.cases for path in case.images if path.exists() for file in files_of(path))
    return sum(file.stat().st_size for file in files)


def _examine(files: CaseFiles, classes: tuple[str, ...], channels: int) -> _Finding:
    """Every defect of one case, not only the first."""
    defects: list[Defect] = []
    images = [_attempt(defects, files, partial(read_volume, path)) for path in files.images]
    label = None if files.label is None else _attempt(defects, files, partial(read_mask, files.label, files.values))
    read = [image for image in images if image is not None]
    for image in read:
        _attempt(defects, files, partial(require_same_grid, image, read[0]))
        _attempt(defects, files, partial(require_finite, image))
    if len(read) == len(images):
        defects += _channel_defects(files, read, channels)
    if label is not None:
        if read:
            _attempt(defects, files, partial(require_same_grid, label, read[0]))
        defects += _label_defects(files, label, classes)
    if label is None or len(read) < len(images) or any(defect.severity == "error" for defect in defects):
        return _Finding(defects=tuple(defects))
    case = assemble(files.id, read, label)
    voxels = blake2b(str(case.image.shape).encode(), digest_size=16)
    voxels.update(case.image.data)
    observation = observe(case, len(classes), content_digest(files))
    return _Finding(defects=tuple(defects), observation=observation, image=voxels.hexdigest())


def _attempt(defects: list[Defect], files: CaseFiles, step: Callable[[], T]) -> T | None:
    try:
        return step()
    except ImageError as error:
        defects.append(Defect(files.id, error.file, error.problem, error.mend))
        return None


def _channel_defects(files: CaseFiles, images: list[Volume], channels: int) -> Iterator[Defect]:
    found = sum(image.array.shape[3] for image in images)
    if found != channels:
        problem = f"has {found} channel{'s' * (found > 1)}, the dataset has {channels}"
        yield Defect(files.id, images[0].path, problem, "Export all cases with the same channels.")
    for image in images:
        for channel in range(image.array.shape[3]):
            values = image.array[..., channel]
            if values.min() == values.max():
                problem = f"is constant ({values.flat[0]:g} everywhere)"
                yield Defect(files.id, image.path, problem, "Export it again, or take it out.", "warning")


def _label_defects(files: CaseFiles, label: Volume, classes: tuple[str, ...]) -> Iterator[Defect]:
    try:
        counts = np.bincount(whole_labels(label).ravel())
    except ImageError as error:
        yield Defect(files.id, error.file, error.problem, error.mend)
        return
    unknown = [int(value) for value in np.flatnonzero(counts) if value >= len(classes)]
    if unknown:
        problem = f"holds labels {unknown}, but the dataset declares 0..{len(classes) - 1}"
        yield Defect(files.id, label.path, problem, "Relabel it, or declare them in dataset.json.")


def _twins(cases: list[CaseFiles]) -> Iterator[Defect]:
    first = cases[0]
    for other in cases[1:]:
        problem = f"holds the same image as {first.images[0]} (case {first.id})"
        mend = "Remove one, or keep both on one side of the split."
        yield Defect(other.id, other.images[0], problem, mend, "warning")


def _whole(dataset: Dataset, fingerprint: Fingerprint) -> Iterator[Defect]:
    """What only shows over all cases."""
    root = dataset.root
    if not dataset.cases:
        yield Defect("", root, "holds no labelled case", "Add images with masks of the same names.")
        return
    if len(dataset.cases) == 1:
        yield Defect("", root, "holds only one case", "Add a second one: training needs one to validate on.")
    counts = np.sum([case.voxels for case in fingerprint.cases], axis=0) if fingerprint.cases else None
    if counts is None:
        return
    if not counts[1:].any():
        yield Defect("", root, "no mask has any foreground", "Check that the masks are those of these images.")
        return
    for value in np.flatnonzero(counts == 0):
        if value:
            problem = f"class {value} ({dataset.classes[value]}) occurs in no case"
            yield Defect("", root, problem, "Remove it from dataset.json if it does not exist.", "warning")
