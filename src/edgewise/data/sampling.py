"""Where training patches are cut: anywhere, or on a regular grid of overlapping sub-images."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgewise.data.locations import MOST, spread
from edgewise.data.prepared_cases import PreparedCase
from edgewise.errors import ExperimentError

Shape: TypeAlias = tuple[int, ...]
Place: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class RandomPlaces:
    """Anywhere in the image; a patch that is to hold foreground is centred on a voxel of a class drawn at random."""

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}
    kind: Literal["random"] = "random"

    def centre(self, case: PreparedCase, patch: Shape, foreground: float, rng: np.random.Generator) -> Place:
        """Draw the centre of a patch, in voxels of the case.

        Args:
            case: where to cut.
            patch: size along the network's axes; two axes cut a slice.
            foreground: probability of centring on foreground, where there is some.
            rng: what to draw from.

        Returns:
            (3,): between voxels along axes of even size; the patch stays inside the image as far as it fits.
        """
        classes = [places for places in case.locations[1:] if len(places)]
        if classes and rng.random() < foreground:
            places = classes[rng.integers(len(classes))]
            return _fitted(places[rng.integers(len(places))].astype(float), case.labels.shape, patch)
        return _fitted(rng.integers(case.labels.shape).astype(float), case.labels.shape, patch)


@dataclass(frozen=True, kw_only=True)
class RegularGrid:
    """One of the overlapping sub-images of a regular grid; the last along an axis ends where the image ends.

    A patch that is to hold foreground is drawn from those sub-images that hold some: from all of them, or from 10,000
    that are spread evenly over them.

    Attributes:
        stride: distance of neighbouring sub-images along each axis, as a share of the patch; in 2D every slice has
            its grid.
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}
    kind: Literal["grid"] = "grid"
    stride: float = 0.2

    def __post_init__(self) -> None:
        if not 0 < self.stride <= 1:
            raise ExperimentError(f"stride is {self.stride}, but must be above 0 and at most 1.")

    def centre(self, case: PreparedCase, patch: Shape, foreground: float, rng: np.random.Generator) -> Place:
        """Draw the centre of a sub-image, as `RandomPlaces.centre` does."""
        shape, flat = case.labels.shape, len(case.labels.shape) - len(patch)
        grid = _grid(shape, patch, self.stride)
        held = _held(case, patch, self.stride)
        if len(held) and rng.random() < foreground:
            chosen = np.unravel_index(held[rng.integers(len(held))], [len(starts) for starts in grid])
        else:
            chosen = tuple(rng.integers([len(starts) for starts in grid]))
        start = np.array([starts[i] for starts, i in zip(grid, chosen, strict=True)], float)
        start[flat:] += (np.array(patch) - 1) / 2
        return _fitted(start, shape, patch)


AnySampling: TypeAlias = RandomPlaces | RegularGrid


def _fitted(centre: Place, shape: Shape, patch: Shape) -> Place:
    """The nearest place where the patch stays inside the image; the middle of the image where it does not fit."""
    flat = len(shape) - len(patch)
    half = (np.array(patch) - 1) / 2
    low, high = half, np.array(shape[flat:]) - 1 - half
    middle = (np.array(shape[flat:]) - 1) / 2
    place = np.where(low <= high, np.clip(centre[flat:], low, np.maximum(low, high)), middle)
    # An even patch is centred between voxels: otherwise an unchanged patch would be interpolated, so blurred.
    return np.concatenate([centre[:flat], np.floor(place) + half % 1])


def _grid(shape: Shape, patch: Shape, stride: float) -> list[NDArray[np.int64]]:
    """Where the sub-images start along each axis of the case."""
    box = (1,) * (len(shape) - len(patch)) + patch
    last = [max(n - size, 0) for n, size in zip(shape, box, strict=True)]
    steps = [max(1, round(size * stride)) for size in box]
    return [np.append(np.arange(0, end, step), end) for end, step in zip(last, steps, strict=True)]


@lru_cache(maxsize=4096)
def _held(case: PreparedCase, patch: Shape, stride: float) -> NDArray[np.int64]:
    """Flat indices of the sub-images that hold foreground; the labels are read once a process, slice by slice."""
    starts = _grid(case.labels.shape, patch, stride)
    box = (1,) * (len(starts) - len(patch)) + patch
    planes = np.stack([_any(_any(plane != 0, 0, starts[1], box[1]), 1, starts[2], box[2]) for plane in case.labels])
    held = np.flatnonzero([planes[start : start + box[0]].any(axis=0) for start in starts[0]])
    return held[spread(len(held), MOST)]


def _any(mask: NDArray[np.bool_], axis: int, starts: NDArray[np.int64], size: int) -> NDArray[np.bool_]:
    """Whether windows along an axis hold anything, by differences of cumulative sums."""
    before = np.insert(np.cumsum(mask, axis, dtype=np.int32), 0, 0, axis)
    stops = np.minimum(starts + size, mask.shape[axis])
    held: NDArray[np.bool_] = before.take(stops, axis) > before.take(starts, axis)
    return held
