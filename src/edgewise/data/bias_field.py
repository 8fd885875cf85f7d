"""N4: take the smooth changes of brightness that a coil leaves out of an MR image."""

from dataclasses import dataclass
from math import ceil
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np

from edgewise.data.crop import AIR_HU
from edgewise.data.resample import resample
from edgewise.errors import ExperimentError
from edgewise.types import Field, Mask, Spacing

_SHORTEST = 8
"""Voxels along an axis that shrinking leaves, where there are so many."""
_ORDER = 3


@dataclass(frozen=True, kw_only=True)
class N4:
    r"""N4 bias-field correction of MR channels: $x / b$ with a smooth $b$, found as $\log b$, a cubic B-spline.

    The field is estimated on a shrunken image by SimpleITK, from the voxels of a mask, and taken out of the whole image
    at full resolution. What it is multiplied by is not defined; normalise intensities afterwards.

    Source: Tustison et al. 2010, doi:10.1109/TMI.2010.2046908.

    Attributes:
        channels: numbers of the channels to correct, from 0; `auto` leaves CT out, and the plan says which remain.
        mask: voxels the field is estimated from: those above Otsu's threshold, or all that are positive (an image whose
            background was removed).
        shrink: every how many-th voxel the estimate sees along an axis; fewer along thick slices and short axes.
        iterations: at most so many in each level; every level doubles the spline's intervals.
        spline_distance: length of the spline's intervals in the first level, in mm.
        threshold: change of the field between two iterations below which a level ends.
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}
    kind: Literal["n4"] = "n4"
    channels: tuple[int, ...] | Literal["auto"] = "auto"
    mask: Literal["otsu", "positive"] = "otsu"
    shrink: int = 4
    iterations: tuple[int, ...] = (50, 50, 50, 50)
    spline_distance: float = 200.0
    threshold: float = 1e-3

    def __post_init__(self) -> None:
        if self.shrink < 1 or not self.iterations or min(self.iterations) < 1:
            raise ExperimentError("shrink and every entry of iterations must be at least 1.")
        if not self.spline_distance > 0 or not self.threshold >= 0:
            raise ExperimentError("spline_distance must be positive, and threshold not negative.")
        if self.channels != "auto" and (not self.channels or min(self.channels) < 0):
            raise ExperimentError("channels must be numbers from 0, at least one, or auto.")

    def corrects(self, channel: int) -> bool:
        """Whether the channel of this number is corrected."""
        return self.channels == "auto" or channel in self.channels

    def correct(self, channel: Field, spacing: Spacing) -> tuple[Field, str]:
        """Divide a channel by its bias field.

        Args:
            channel: (x, y, z).
            spacing: voxel size in mm along each axis.

        Returns:
            The corrected channel, finite, and ""; where no field can be estimated, the channel itself and the reason.
        """
        factors = self._factors(channel.shape, spacing)
        size = tuple(ceil(n / f) for n, f in zip(channel.shape, factors, strict=True))
        small = resample(channel[None].astype(np.float32, copy=False), size, "nearest")[0]
        mask, problem = self._foreground(small)
        if problem:
            return channel, problem
        apart = tuple(mm * n / m for mm, n, m in zip(spacing, channel.shape, size, strict=True))
        field = self._log_field(small, mask, apart)
        if not np.isfinite(field).all():
            return channel, "N4 found no finite field"
        whole = resample(field[None], channel.shape, "cubic")[0]
        np.exp(whole, out=whole)
        np.divide(channel, whole, out=whole)
        return (whole, "") if np.isfinite(whole).all() else (channel, "its voxels are not all finite")

    def _factors(self, shape: tuple[int, ...], spacing: Spacing) -> tuple[int, ...]:
        finest = min(spacing)
        return tuple(
            max(1, min(int(self.shrink * finest / mm + 1e-3), n // _SHORTEST))
            for n, mm in zip(shape, spacing, strict=True)
        )

    def _foreground(self, image: Field) -> tuple[Mask, str]:
        """Voxels to estimate the field from, and why that cannot be done, or ""."""
        mask = np.zeros(image.shape, bool)
        if not np.isfinite(image).all():
            return mask, "it holds NaN or infinite voxels"
        if image.min() < AIR_HU:
            return mask, f"its values below {AIR_HU:g} are those of a CT, which has no bias field"
        mask = (image > _otsu(image) if self.mask == "otsu" else image > 0) & (image > 0)
        values = image[mask]
        if not values.size or values.min() == values.max():
            return mask, "it has no foreground"
        return mask, "" if sum(n > 1 for n in image.shape) > 1 else "it is a single line of voxels"

    def _log_field(self, image: Field, mask: Mask, spacing: Spacing) -> Field:
        simple_itk = _simple_itk()
        axes = [axis for axis, n in enumerate(image.shape) if n > 1]  # a single slice is a 2D image
        sizes = [spacing[axis] for axis in axes][::-1]
        picture, region = (simple_itk.GetImageFromArray(array.squeeze()) for array in (image, mask.astype(np.uint8)))
        picture.SetSpacing(sizes)
        region.SetSpacing(sizes)
        extents = [n * mm for n, mm in zip(picture.GetSize(), sizes, strict=True)]
        n4 = simple_itk.N4BiasFieldCorrectionImageFilter()
        n4.SetMaximumNumberOfIterations(list(self.iterations))
        n4.SetNumberOfControlPoints([max(1, round(mm / self.spline_distance)) + _ORDER for mm in extents])
        n4.SetSplineOrder(_ORDER)
        n4.SetConvergenceThreshold(self.threshold)
        # Sums depend on the number of threads in their last bits; several cases share the cores anyway.
        threads = simple_itk.ProcessObject.GetGlobalDefaultNumberOfThreads()
        simple_itk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
        try:
            n4.Execute(picture, region)
            field = simple_itk.GetArrayFromImage(n4.GetLogBiasFieldAsImage(picture))
        finally:
            simple_itk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
        return np.asarray(field, np.float32).reshape(image.shape)


def _simple_itk() -> Any:
    import SimpleITK

    return SimpleITK


AnyBiasField: TypeAlias = Literal["none"] | N4


def _otsu(image: Field) -> float:
    """The threshold that parts a histogram of 128 bins into two classes that vary least within themselves."""
    counts, edges = np.histogram(image, 128)
    middles = (edges[:-1] + edges[1:]) / 2
    below, sums = np.cumsum(counts), np.cumsum(counts * middles)
    above = below[-1] - below
    between = np.zeros(len(counts))
    np.divide((sums * below[-1] - sums[-1] * below) ** 2, below * above, out=between, where=below * above > 0)
    return float(edges[1 + int(between.argmax())])
