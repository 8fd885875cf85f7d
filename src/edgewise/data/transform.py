"""From a case to what a network sees, and from its probabilities back to the case's grid."""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
import torch

from edgewise.data.bias_field import AnyBiasField
from edgewise.data.case import Case
from edgewise.data.crop import AnyCrop, Box, LabelRange, body_box
from edgewise.data.intensity import AnyIntensity
from edgewise.data.resample import resample, resample_labels, resampled_shape, slabs
from edgewise.errors import DataError, ExperimentError, ShapeError, SpacingError
from edgewise.types import Field, Image, Labels, Spacing

# Part of every digest: raise it when the same settings would give other numbers.
_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """Every setting that decides prepared numbers.

    Attributes:
        axes: the canonical axis (x, y, z = 0, 1, 2) of each prepared axis; the slice axis comes first.
        spacing: target voxel size in mm, in prepared axis order.
        intensity: normalisation of each channel.
        bias_field: how MR channels are corrected, before anything else.
        crop: "body" cuts away what surrounds the body (see `body_box`), "none" keeps everything, a `LabelRange` keeps
            the slices of chosen labels, where there are labels.
        image_order: interpolation of images.
        label_order: interpolation of labels (see `resample_labels`).
    """

    axes: tuple[int, int, int]
    spacing: Spacing
    intensity: tuple[AnyIntensity, ...]
    bias_field: AnyBiasField = "none"
    crop: AnyCrop = "body"
    image_order: Literal["cubic", "linear", "nearest"] = "cubic"
    label_order: Literal["linear", "nearest"] = "linear"

    def __post_init__(self) -> None:
        if sorted(self.axes) != [0, 1, 2]:
            raise ExperimentError(f"axes {self.axes} are not an order of the three axes 0, 1 and 2.")
        if len(self.spacing) != 3 or not all(0 < size < float("inf") for size in self.spacing):
            raise SpacingError(f"target spacing {self.spacing}: expected three positive sizes in mm.")
        if not self.intensity:
            raise ExperimentError("intensity is empty: expected one normalisation for each channel.")
        if isinstance(self.crop, LabelRange) and not self.crop.by_value:
            raise ExperimentError("crop.classes holds names: give label values, or let the plan find them.")

    def digest(self) -> str:
        """A name for these settings, equal in every process: 16 hexadecimal digits."""
        text = json.dumps([_VERSION, asdict(self)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class Undo:
    """What `restore` needs to go back.

    Attributes:
        shape: canonical shape (x, y, z).
        axes: the canonical axis of each prepared axis.
        box: the crop, (start, stop) along x, y, z.
    """

    shape: tuple[int, int, int]
    axes: tuple[int, int, int]
    box: Box

    @property
    def cropped(self) -> tuple[int, ...]:
        """Shape of the crop on the original grid, in prepared axis order."""
        return tuple(self.box[axis][1] - self.box[axis][0] for axis in self.axes)

    def canonical(self, box: tuple[float, ...], shape: tuple[int, ...]) -> tuple[float, ...]:
        """A box (low sides, high sides) in voxels of the prepared volume, in voxels of the canonical grid (x, y, z).

        Args:
            box: in prepared axis order; voxel i covers i - ½ to i + ½, on both grids.
            shape: of the prepared volume.
        """
        sides = [0.0] * 6
        for place, axis in enumerate(self.axes):
            scale, start = self.cropped[place] / shape[place], self.box[axis][0]
            sides[axis] = (box[place] + 0.5) * scale - 0.5 + start
            sides[3 + axis] = (box[3 + place] + 0.5) * scale - 0.5 + start
        return tuple(sides)


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """One case, ready for a network.

    Attributes:
        id: the case.
        image: (K, *space) float32, axes in prepared order.
        labels: (*space) uint8; `None` where there is no reference.
        spacing: true voxel size of the prepared grid in mm: the target, up to rounding to whole voxels.
        undo: the way back.
        notes: what could not be done to it, and why.
    """

    id: str
    image: Image
    labels: Labels | None
    spacing: Spacing
    undo: Undo
    notes: tuple[str, ...] = ()


def transform(case: Case, preparation: Preparation) -> Prepared:
    """Correct, crop, turn, normalise and resample one case. Pure: training and prediction both use it.

    A bias field is estimated from the whole image, so that the crop does not change it.
    Intensities are normalised before resampling, so that clipping takes away what cubic interpolation
    would make ring; results may therefore exceed the clip by a few per cent at sharp edges.

    Args:
        case: canonical (RAS+).
        preparation: the settings.

    Raises:
        DataError: the number of channels is not that of `preparation.intensity`.
    """
    if len(case.image) != len(preparation.intensity):
        raise DataError(
            f"case {case.id} ({case.grid.path}) has {len(case.image)} channels, "
            f"expected {len(preparation.intensity)}: give the same channels as in training."
        )
    axes = preparation.axes
    box, notes = _box(case, preparation)
    undo = Undo(shape=_triple(case.image.shape[1:]), axes=axes, box=box)
    cropped, spacing = undo.cropped, tuple(case.spacing[axis] for axis in axes)
    size = resampled_shape(cropped, spacing, preparation.spacing)
    part = tuple(slice(*edges) for edges in box)
    labels = None
    if case.labels is not None:
        labels = resample_labels(case.labels[part].transpose(axes), size, preparation.label_order)
    image = np.empty((len(case.image), *cropped), np.float32)
    for number, (channel, source) in enumerate(zip(image, case.image, strict=True)):
        corrected, note = _corrected(source, case.spacing, preparation.bias_field, number)
        channel[...] = preparation.intensity[number].apply(corrected[part].transpose(axes))
        notes += note
    if size != cropped:
        image = resample(image, size, preparation.image_order)
    true = tuple(mm * (n / m) for n, mm, m in zip(cropped, spacing, size, strict=True))
    return Prepared(id=case.id, image=image, labels=labels, spacing=true, undo=undo, notes=notes)


def _box(case: Case, preparation: Preparation) -> tuple[Box, tuple[str, ...]]:
    """The part of a case that is kept, and a note where it is not what was asked for."""
    crop = preparation.crop
    kind = crop.within if isinstance(crop, LabelRange) else crop
    box = body_box(case.image, case.spacing) if kind == "body" else tuple((0, n) for n in case.image.shape[1:])
    if not isinstance(crop, LabelRange) or case.labels is None:
        return box, ()
    axis = preparation.axes[0]
    found = crop.slices(case.labels, box, axis, case.spacing[axis], preparation.spacing[0])
    if found is None:
        return box, ("it holds none of the classes of plan.crop, so none of its slices are cut away",)
    return (*box[:axis], found, *box[axis + 1 :]), ()


def _corrected(
    channel: Field, spacing: Spacing, bias_field: AnyBiasField, number: int
) -> tuple[Field, tuple[str, ...]]:
    """A channel without its bias field, and a note where that failed."""
    if bias_field == "none" or not bias_field.corrects(number):
        return channel, ()
    corrected, problem = bias_field.correct(channel, spacing)
    note = f"channel {number} stays without bias-field correction, because {problem}"
    return corrected, (note,) if problem else ()


def _triple(shape: tuple[int, ...]) -> tuple[int, int, int]:
    x, y, z = shape
    return x, y, z


def restore_field(values: np.ndarray, undo: Undo) -> Field:
    """A field of the prepared volume on the canonical grid of the case: linear, and 0 outside the crop.

    Args:
        values: (*space) float32, axes in prepared order; its grid covers what the prepared volume covers.
        undo: from `transform`.

    Returns:
        (x, y, z) float32; a transposed view where the prepared axes were.
    """
    whole = np.zeros([undo.shape[axis] for axis in undo.axes], np.float32)
    whole[tuple(slice(*undo.box[axis]) for axis in undo.axes)] = resample(values[None], undo.cropped, "linear")[0]
    return whole.transpose(np.argsort(undo.axes))


def restore(probabilities: np.ndarray, undo: Undo) -> Labels:
    """The most probable class on the canonical grid of the case.

    Probabilities are resampled linearly onto the original grid, one class and one slab at a time, before the
    largest is taken: only the labels are ever whole in memory. A tie goes to the lower class; outside the
    crop everything is background.

    Args:
        probabilities: (C, *space) of any float type, axes in prepared order; may be memory-mapped.
        undo: from `transform`.

    Returns:
        (x, y, z) uint8; a transposed view where the prepared axes were.

    Raises:
        ShapeError: `probabilities` is not (C, *space) with 1 to 256 classes and three axes.
    """
    if probabilities.ndim != 4 or not 1 <= len(probabilities) <= 256:
        raise ShapeError(f"probabilities of shape {probabilities.shape}: expected (classes, *space).")
    labels = np.zeros([undo.shape[axis] for axis in undo.axes], np.uint8)
    cropped = labels[tuple(slice(*undo.box[axis]) for axis in undo.axes)]
    for slab in slabs(probabilities.shape[1:], cropped.shape):
        volumes = (
            (label, torch.from_numpy(np.array(volume[slab.source])).float())
            for label, volume in enumerate(probabilities)
        )
        cropped[slab.target] = slab.strongest(volumes)
    return labels.transpose(np.argsort(undo.axes))
