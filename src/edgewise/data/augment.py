"""Augmentation in two steps: `draw` makes every random decision as plain data, `apply_*` is deterministic.

All spatial changes (rotation, scaling, elastic deformation, flips) are one resampling of the volume, so that a patch is
interpolated once and its corners come from the image, not from padding. Interpolation is torch's `grid_sample`, filters
are SciPy's.
"""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch.nn.functional import grid_sample, interpolate

from edgewise.data import deformation
from edgewise.errors import ExperimentError
from edgewise.types import Spacing

Array = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How much a training patch may differ from the image it comes from.

    Attributes:
        rotation: largest rotation in degrees about each axis (3D) or in the plane (2D, anisotropic 3D).
        scaling: smallest and largest magnification.
        spatial: probability of rotating, and of scaling, a patch.
        elastic: probability of an elastic deformation.
        rotation_axes: `in_plane` turns about the slice axis only; `auto` turns about all axes of a 3D patch, unless its
            slices are thick.
        elastic_shift: standard deviation of the control points' shift.
        elastic_unit: of that shift: a `share` of the control points' distance, `voxels`, or `mm`.
        elastic_points: control points along each axis: intervals of the cubic B-spline plus 3. Large shifts of many
            points fold the image (see `deformation`).
        flip: axes of the network (the slice axis is 0 in 3D) along which a patch may be mirrored: `all`, or a list.
        noise: probability of Gaussian noise.
        noise_level: largest standard deviation of the noise, in units of the normalised image.
        blur: probability of a Gaussian blur.
        blur_width: smallest and largest standard deviation of the blur, in voxels.
        brightness: probability of a multiplicative change of brightness, between 0.75 and 1.25.
        contrast: probability of a change of contrast about the mean, between 0.75 and 1.25.
        gamma: probability of a gamma change.
        gamma_range: smallest and largest exponent.
        low_resolution: probability of simulating a lower resolution.
        low_resolution_zoom: smallest zoom of the simulated low resolution.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}
    rotation: float = 15.0
    rotation_axes: Literal["auto", "in_plane"] = "auto"
    scaling: tuple[float, float] = (0.8, 1.25)
    spatial: float = 0.3
    elastic: float = 0.0
    elastic_shift: float = 0.25
    elastic_unit: Literal["share", "voxels", "mm"] = "share"
    elastic_points: int = 7
    flip: tuple[int, ...] | Literal["all"] = "all"
    noise: float = 0.1
    noise_level: float = 0.3
    blur: float = 0.1
    blur_width: tuple[float, float] = (0.5, 1.0)
    brightness: float = 0.15
    contrast: float = 0.15
    gamma: float = 0.15
    gamma_range: tuple[float, float] = (0.7, 1.5)
    low_resolution: float = 0.1
    low_resolution_zoom: float = 0.5

    def __post_init__(self) -> None:
        for name in ("spatial", "elastic", "noise", "blur", "brightness", "contrast", "gamma", "low_resolution"):
            if not 0 <= getattr(self, name) <= 1:
                raise ExperimentError(f"{name} is {getattr(self, name)}: a probability lies between 0 and 1.")
        for name in ("scaling", "blur_width", "gamma_range"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ExperimentError(f"{name} is [{low}, {high}]: give two positive numbers, the smaller one first.")
        if self.elastic_points <= deformation.MARGIN or not 0 < self.low_resolution_zoom <= 1:
            raise ExperimentError(
                f"elastic_points must be above {deformation.MARGIN}, and low_resolution_zoom lie between 0 and 1."
            )

    def mirrored(self, dims: int) -> tuple[int, ...]:
        """The axes along which a patch may be mirrored."""
        return tuple(range(dims)) if isinstance(self.flip, str) else self.flip


@dataclass(frozen=True, kw_only=True)
class Change:
    """What `draw` decided for one patch. Neutral values change nothing.

    Attributes:
        matrix: (d, d) offset from the patch centre -> offset in the image, in voxels.
        shifts: (d, n, ..., n) shifts of the control points in voxels (see `deformation`); empty where there are none.
        noise: standard deviation of the noise.
        noise_seed: seed of the noise field.
        blur: standard deviation of the blur in voxels.
        brightness: factor.
        contrast: factor about the mean.
        gamma: exponent.
        zoom: zoom of the simulated low resolution.
    """

    matrix: Array
    shifts: Array = field(default_factory=lambda: np.zeros(0, np.float32))
    noise: float = 0.0
    noise_seed: int = 0
    blur: float = 0.0
    brightness: float = 1.0
    contrast: float = 1.0
    gamma: float = 1.0
    zoom: float = 1.0


def draw(settings: Augmentation, patch: tuple[int, ...], spacing: Spacing, rng: np.random.Generator) -> Change:
    """Decide one patch's changes. `patch` and `spacing` have the network's axes (2 or 3)."""
    dims = len(patch)
    elastic = np.zeros(0, np.float32)
    matrix = _matrix(settings, dims, spacing, rng)
    if rng.random() < settings.elastic:
        elastic = _shifts(settings, patch, spacing, rng)

    def sometimes(probability: float, low: float, high: float, neutral: float) -> float:
        return float(rng.uniform(low, high)) if rng.random() < probability else neutral

    return Change(
        matrix=matrix,
        shifts=elastic,
        noise=sometimes(settings.noise, 0.0, settings.noise_level, 0.0),
        noise_seed=int(rng.integers(2**31)),
        blur=sometimes(settings.blur, *settings.blur_width, neutral=0.0),
        brightness=sometimes(settings.brightness, 0.75, 1.25, 1.0),
        contrast=sometimes(settings.contrast, 0.75, 1.25, 1.0),
        gamma=sometimes(settings.gamma, *settings.gamma_range, neutral=1.0),
        zoom=sometimes(settings.low_resolution, settings.low_resolution_zoom, 1.0, 1.0),
    )


def _shifts(settings: Augmentation, patch: tuple[int, ...], spacing: Spacing, rng: np.random.Generator) -> Array:
    """Shifts of the control points in voxels."""
    unit = {
        "share": deformation.distances(settings.elastic_points, patch),
        "voxels": np.ones(len(patch)),
        "mm": 1 / np.array(spacing),
    }[settings.elastic_unit]
    shape = (len(patch), *(settings.elastic_points,) * len(patch))
    scale = settings.elastic_shift * unit.reshape(-1, *(1,) * len(patch))
    shifts: Array = (rng.standard_normal(shape) * scale).astype(np.float32)
    return shifts


def _matrix(settings: Augmentation, dims: int, spacing: Spacing, rng: np.random.Generator) -> Array:
    """Voxel-space matrix of flips, scaling and a rotation that is rigid in millimetres."""
    size = np.array(spacing, float)
    matrix = np.eye(dims)
    # Across thick slices a rotation would mix far-apart slices: turn in the plane only (as nnU-Net does).
    all_axes = dims == 3 and settings.rotation_axes == "auto" and size.max() / size.min() <= 3
    planes = [(0, 1), (0, 2), (1, 2)] if all_axes else [(dims - 2, dims - 1)]
    if rng.random() < settings.spatial:
        for a, b in planes:
            angle = np.deg2rad(rng.uniform(-settings.rotation, settings.rotation))
            turn = np.eye(dims)
            turn[[a, a, b, b], [a, b, a, b]] = np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)
            matrix = matrix @ turn
        matrix = matrix * size[None, :] / size[:, None]
    if rng.random() < settings.spatial:
        matrix = matrix / rng.uniform(*settings.scaling)
    axes = settings.mirrored(dims)
    signs = np.array([-1.0 if a in axes and rng.random() < 0.5 else 1.0 for a in range(dims)])
    whole: Array = (matrix * signs).astype(np.float32)
    return whole


def reach(change: Change, patch: tuple[int, ...]) -> tuple[int, ...]:
    """Voxels needed on each side of the centre so that `apply_spatial` never leaves the box it is given."""
    half = np.abs(change.matrix) @ ((np.array(patch) - 1) / 2)
    if change.shifts.size:
        half = half + deformation.largest(change.shifts)
    return tuple(int(h) + 2 for h in np.ceil(half))


def apply_spatial(
    image: Array, labels: NDArray[np.uint8], change: Change, patch: tuple[int, ...]
) -> tuple[Array, NDArray[np.uint8]]:
    """Resample a box of an image (K, *box) and its labels (*box) to a patch about the box's centre.

    The image is interpolated linearly, labels by the nearest neighbour. Where mirrors are all that changes, voxels are
    copied: exact, and much faster.
    """
    part = _aligned(change, patch, labels.shape)
    if part is not None:
        return image[(slice(None), *part)].copy(), labels[part].copy()
    sample = _grid(change, patch, image.shape[1:])
    picture = grid_sample(torch.from_numpy(image)[None], sample, mode="bilinear", align_corners=True)
    classes = grid_sample(
        torch.from_numpy(labels.astype(np.float32))[None, None], sample, mode="nearest", align_corners=True
    )
    return picture[0].numpy(), classes[0, 0].numpy().astype(np.uint8)


def _aligned(change: Change, patch: tuple[int, ...], box: tuple[int, ...]) -> tuple[slice, ...] | None:
    """The part of the box that is the patch; `None` where it falls between voxels."""
    starts = [(b - p) // 2 for b, p in zip(box, patch, strict=True)]
    fits = all(b >= p and (b - p) % 2 == 0 for b, p in zip(box, patch, strict=True))
    if change.shifts.size or not fits or not np.array_equal(np.abs(change.matrix), np.eye(len(patch))):
        return None
    forth = [slice(s, s + p) for s, p in zip(starts, patch, strict=True)]
    back = [slice(s + p - 1, s - 1 if s else None, -1) for s, p in zip(starts, patch, strict=True)]
    return tuple(f if change.matrix[a, a] > 0 else b for a, (f, b) in enumerate(zip(forth, back, strict=True)))


def _grid(change: Change, patch: tuple[int, ...], box: tuple[int, ...]) -> torch.Tensor:
    """Sampling positions for `grid_sample`: (1, *patch, d), normalised, last axis first."""
    dims = len(patch)
    axes = [torch.arange(n, dtype=torch.float32) - (n - 1) / 2 for n in patch]
    matrix = torch.from_numpy(change.matrix)
    offsets = torch.zeros((dims, *patch))
    for a, axis in enumerate(axes):
        column = axis.reshape([-1 if i == a else 1 for i in range(dims)])
        offsets += matrix[:, a].reshape(-1, *(1,) * dims) * column
    if change.shifts.size:
        deformation.displace(offsets, torch.from_numpy(change.shifts))
    scale = torch.tensor([2 / max(n - 1, 1) for n in box]).reshape(-1, *(1,) * dims)
    return (offsets * scale).flip(0).movedim(0, -1)[None]


def apply_intensity(image: Array, change: Change) -> Array:
    """Noise, blur, brightness, contrast, low resolution and gamma on a normalised patch (K, *patch)."""
    if change.noise:
        field_ = np.random.default_rng(change.noise_seed).standard_normal(image.shape, np.float32)
        image = image + np.float32(change.noise) * field_
    if change.blur:
        image = gaussian_filter(image, (0.0, *(change.blur,) * (image.ndim - 1)), truncate=3.0)
    axes = tuple(range(1, image.ndim))
    if change.brightness != 1.0:
        image = image * np.float32(change.brightness)
    if change.contrast != 1.0:
        mean = image.mean(axes, keepdims=True)
        image = (image - mean) * np.float32(change.contrast) + mean
    if change.zoom < 1.0:
        image = _blurred_by_sampling(image, change.zoom)
    if change.gamma != 1.0:
        low, high = image.min(axes, keepdims=True), image.max(axes, keepdims=True)
        span = np.maximum(high - low, 1e-6)
        image = ((image - low) / span) ** np.float32(change.gamma) * span + low
    return np.ascontiguousarray(image, np.float32)


def _blurred_by_sampling(image: Array, zoom: float) -> Array:
    """What a scanner of coarser resolution would have seen, on the same grid."""
    whole = torch.from_numpy(image)[None]
    mode = "trilinear" if image.ndim == 4 else "bilinear"
    size = [max(1, round(n * zoom)) for n in image.shape[1:]]
    coarse = interpolate(whole, size, mode="nearest-exact")
    fine: Array = interpolate(coarse, image.shape[1:], mode=mode)[0].numpy()
    return fine
