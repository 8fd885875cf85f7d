"""Bring intensities to a common scale: CT windows and z-scores, one monotone map for a whole channel."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from edgewise.errors import ExperimentError
from edgewise.types import Field

_CHUNK = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Window:
    r"""CT window: $\mathrm{clip}((x - a) / (b - a), 0, 1)$ with $a$ = `lower`, $b$ = `upper`.

    Attributes:
        lower: intensity (HU for CT) that becomes 0.
        upper: intensity that becomes 1.
    """

    kind: Literal["window"] = "window"
    lower: float
    upper: float

    def __post_init__(self) -> None:
        _ascending(self.kind, self.lower, self.upper)

    def apply(self, channel: Field) -> Field:
        """Map `channel` (*space) to [0, 1], float32, C-contiguous; an image of one value becomes zeros."""
        clipped = _clip(channel, self.lower, self.upper)
        return _standardise(clipped, self.lower, self.upper - self.lower) if _varies(channel) else _zeros(clipped)


@dataclass(frozen=True, kw_only=True)
class ClipZScore:
    r"""Normalisation by the whole dataset, for CT: $(\mathrm{clip}(x, a, b) - \mu) / \sigma$.

    Attributes:
        lower: clip below; customarily the 0.5 percentile of the training foreground.
        upper: clip above; customarily its 99.5 percentile.
        mean: mean of the training foreground.
        std: standard deviation of the training foreground.
    """

    kind: Literal["clip_zscore"] = "clip_zscore"
    lower: float
    upper: float
    mean: float
    std: float

    def __post_init__(self) -> None:
        _ascending(self.kind, self.lower, self.upper)
        if not self.std > 0:
            raise ExperimentError(f"clip_zscore: std is {self.std}, expected a positive number.")

    def apply(self, channel: Field) -> Field:
        """Normalise `channel` (*space): float32, C-contiguous; an image of one value becomes zeros."""
        clipped = _clip(channel, self.lower, self.upper)
        return _standardise(clipped, self.mean, self.std) if _varies(channel) else _zeros(clipped)


@dataclass(frozen=True, kw_only=True)
class PercentileZScore:
    r"""Normalisation by the image itself: clip to two percentiles, then $(x - \mu) / \sigma$.

    Where at least a quarter of the voxels is exactly 0 (a skull-stripped or masked image), percentiles, mean
    and standard deviation are those of the other voxels (unless these are all alike); zeros go through the
    same map. Where nearly all voxels are alike, so that the percentiles coincide, nothing is clipped.

    Attributes:
        lower: percentile to clip below, in percent.
        upper: percentile to clip above, in percent.
    """

    kind: Literal["percentile_zscore"] = "percentile_zscore"
    lower: float = 0.5
    upper: float = 99.5

    def __post_init__(self) -> None:
        _ascending(self.kind, self.lower, self.upper)
        if self.lower < 0 or self.upper > 100:
            raise ExperimentError(f"percentile_zscore: percentiles {self.lower} and {self.upper} lie outside 0 to 100.")

    def apply(self, channel: Field) -> Field:
        """Normalise `channel` (*space): float32, C-contiguous; an image of one value becomes zeros."""
        masked = channel[channel != 0] if np.count_nonzero(channel) <= 0.75 * channel.size else channel
        values = masked if _varies(masked) else channel
        if not _varies(values):
            return np.zeros(channel.shape, np.float32)
        low, high = (float(bound) for bound in np.percentile(values, (self.lower, self.upper)))
        if not low < high:
            low, high = float(values.min()), float(values.max())
        mean, std = _moments(values, low, high)
        # Values that differ by less than float32 can divide by are one value.
        if std < np.finfo(np.float32).tiny:
            return np.zeros(channel.shape, np.float32)
        return _standardise(_clip(channel, low, high), mean, std)


AnyIntensity: TypeAlias = Window | ClipZScore | PercentileZScore


def _ascending(kind: str, lower: float, upper: float) -> None:
    if not lower < upper:
        raise ExperimentError(f"{kind}: lower ({lower}) must be less than upper ({upper}).")


def _varies(channel: Field) -> bool:
    return bool(channel.size) and bool(channel.min() < channel.max())


def _zeros(channel: Field) -> Field:
    channel[...] = 0
    return channel


def _clip(channel: Field, lower: float, upper: float) -> Field:
    return np.clip(channel, lower, upper, out=np.empty(channel.shape, np.float32))


def _standardise(channel: Field, offset: float, scale: float) -> Field:
    """In place, because a copy of a CT is hundreds of megabytes."""
    channel -= np.float32(offset)
    channel /= np.float32(scale)
    return channel


def _moments(values: Field, lower: float, upper: float) -> tuple[float, float]:
    """Mean and standard deviation after clipping, in float64 and by chunks: no second copy of a volume."""
    flat = values.ravel(order="K")
    total = square = 0.0
    for start in range(0, flat.size, _CHUNK):
        chunk = np.clip(flat[start : start + _CHUNK], lower, upper).astype(np.float64) - lower
        total += float(chunk.sum())
        square += float(np.square(chunk).sum())
    mean = total / flat.size
    return lower + mean, max(square / flat.size - mean * mean, 0.0) ** 0.5
