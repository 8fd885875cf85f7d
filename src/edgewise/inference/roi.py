"""Regions of interest: how a second network gets to see a part of an image, and where its answer goes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeAlias

import torch
from jaxtyping import Float, Integer
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, pad

from edgewise.detection.boxes import Box
from edgewise.errors import ExperimentError

EPSILON = 1e-6
"""Added to the scale that the inverse divides by: a box without any extent is pasted nowhere, not everywhere."""

Shape: TypeAlias = tuple[int, ...]
Images = Float[Tensor, "N K *space"]
Parts = Float[Tensor, "N K *part"]
RoIs = Float[Tensor, "N sides"]


@dataclass(frozen=True, kw_only=True)
class Recalibration:
    """Every region is brought to the same size: an affine map and linear interpolation, both ways.

    Attributes:
        margin: voxels added to the box of an object on every side.
        size: what the second network sees, along its axes; `auto` is the size of a training patch.

    Source:
        Xie et al. 2021, arXiv:2102.05971, equations 2 to 4.
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}
    kind: Literal["recalibration"] = "recalibration"
    margin: float = 15.0
    size: Shape | Literal["auto"] = "auto"

    def __post_init__(self) -> None:
        _require_margin(self.margin)
        if self.size != "auto" and not all(side > 0 for side in self.size):
            raise ExperimentError(f"size is {list(self.size)}, but every side must be positive.")

    def seen(self, patch: Shape) -> Shape:
        """Size of what the second network sees, for a training patch of the given size."""
        return patch if self.size == "auto" else self.size

    def roi(self, box: Box, space: Shape) -> Box:  # noqa: ARG002 - a crop stays inside the image
        """The region around a box, in voxels; it may reach beyond the image."""
        return _grown(box, self.margin)

    def cut(self, image: Tensor, roi: Box, patch: Shape, multiple: Shape) -> Tensor:  # noqa: ARG002 - see `roi`
        """What the second network sees of an image (1, K, *space): (1, K, *size)."""
        return recalibrated(image, torch.tensor([roi], device=image.device), self.seen(patch))

    def place(self, p: Tensor, roi: Box, space: Shape) -> tuple[tuple[slice, ...], Tensor]:
        """Where in the image the second network's answer (C, *size) belongs, and what it is there (C, *part)."""
        return placed(p, roi, space)


@dataclass(frozen=True, kw_only=True)
class Crop:
    """Every region is cut out as it is, at whole voxels; nothing of the image lies around it.

    Attributes:
        border: voxels added to the box of an object on every side, as far as the image reaches.

    Source:
        Zhou et al. 2017, doi:10.1007/978-3-319-66182-7_79.
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}
    kind: Literal["crop"] = "crop"
    border: int = 15

    def __post_init__(self) -> None:
        _require_margin(self.border)

    def roi(self, box: Box, space: Shape) -> Box:
        """The region around a box, in voxels: whole ones, inside the image, and at least one."""
        dims = len(space)
        low = [min(max(round(a + 0.5) - self.border, 0), n - 1) for a, n in zip(box, space, strict=False)]
        high = [
            min(max(round(b + 0.5) + self.border, a + 1), n) for b, a, n in zip(box[dims:], low, space, strict=True)
        ]
        return (*(a - 0.5 for a in low), *(b - 0.5 for b in high))

    def cut(self, image: Tensor, roi: Box, patch: Shape, multiple: Shape) -> Tensor:  # noqa: ARG002 - own size
        """What the second network sees of an image (1, K, *space): the crop, and zeros up to a size that it takes."""
        part = image[(slice(None), slice(None), *_whole(roi))]
        return padded(part, fitting(part.shape[2:], multiple))

    def place(self, p: Tensor, roi: Box, space: Shape) -> tuple[tuple[slice, ...], Tensor]:  # noqa: ARG002 - inside
        """Where in the image the second network's answer (C, *size) belongs, and what it is there (C, *part)."""
        where = _whole(roi)
        return where, p[(slice(None), *(slice(0, s.stop - s.start) for s in where))]


AnyTransfer: TypeAlias = Recalibration | Crop


def recalibrated(image: Images, rois: RoIs, size: Sequence[int]) -> Parts:
    r"""Sample a region of each image on a grid of the given size, linearly.

    In coordinates where an image reaches from -1 to 1, $x = s\,u + t$ along every axis, with $s$ the length of the
    region over that of the image, and $t$ its centre. Differentiable in the regions, as far as the image varies.

    Args:
        image: (N, K, *space); outside it is 0.
        rois: (N, 2d) in voxels.
        size: of the grid.

    Returns:
        (N, K, *size), of the precision of `rois`.

    Source:
        Xie et al. 2021, arXiv:2102.05971, equations 2 and 3.
    """
    return _sampled(image, rois, size, "bilinear")


def labels_in(labels: Integer[Tensor, "N *space"], rois: RoIs, size: Sequence[int]) -> Integer[Tensor, "N *part"]:
    """The labels of a region of each image: at each place that of the nearest voxel.

    Interpolated indicators would lose what is a voxel wide. With two samples a voxel or more, `placed` gives every
    voxel back.

    Args:
        labels: (N, *space); outside is background.
        rois: (N, 2d) in voxels.
        size: of the grid.
    """
    found = _sampled(labels[:, None], rois.detach().float(), size, "nearest")
    return found[:, 0].round().to(labels.dtype)


def _sampled(image: Tensor, rois: Tensor, size: Sequence[int], mode: Literal["bilinear", "nearest"]) -> Tensor:
    grid = affine_grid(_affine(rois, image.shape[2:]), [len(rois), 1, *size], align_corners=False)
    return grid_sample(image.to(grid.dtype), grid, mode=mode, padding_mode="zeros", align_corners=False)


def placed(p: Tensor, roi: Box, space: Shape) -> tuple[tuple[slice, ...], Tensor]:
    """The inverse of `recalibrated`, at the voxels of the image whose centre lies in the region.

    Args:
        p: (C, *size) what was found in the region.
        roi: the region, in voxels.
        space: shape of the image.

    Returns:
        Where in the image, and (C, *part) what is there; the part may be empty.
    """
    dims = len(space)
    low, high = roi[:dims], roi[dims:]
    where = tuple(
        slice(min(max(_ceil(a), 0), n), max(min(_ceil(b + EPSILON), n), min(max(_ceil(a), 0), n)))
        for a, b, n in zip(low, high, space, strict=True)
    )
    axes = [
        (torch.arange(s.start, s.stop, device=p.device) - (a + b) / 2) * 2 / (b - a + EPSILON)
        for s, a, b in zip(where, low, high, strict=True)
    ]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1], dim=-1)
    if not grid.numel():
        return where, p.new_zeros((len(p), *grid.shape[:-1]))
    found = grid_sample(p[None], grid[None].to(p.dtype), mode="bilinear", padding_mode="border", align_corners=False)
    return where, found[0]


def pasted(canvas: Tensor, where: tuple[slice, ...], found: Tensor) -> None:
    """Write what a region holds into the class probabilities of an image.

    Where regions overlap, every class but the background keeps its maximum, the background its minimum, and all are
    scaled to a sum of 1: the region that is most sure of an object decides.

    Args:
        canvas: (C, *space), changed in place; where no region lies the background is 1.
        where: the part.
        found: (C, *part) probabilities.
    """
    part = canvas[(slice(None), *where)]
    joined = torch.cat((part[:1].minimum(found[:1].to(part.dtype)), part[1:].maximum(found[1:].to(part.dtype))))
    part.copy_(joined / joined.float().sum(dim=0, keepdim=True).clamp(min=1e-6))


def fitting(sides: Sequence[int], multiple: Sequence[int]) -> Shape:
    """The least size of an image that holds `sides` and that a network takes.

    Args:
        sides: of what has to fit.
        multiple: what the sides must be multiples of; twice that at least, as no norm knows what to do with one voxel.
    """
    return tuple(max(-(-n // m), 2) * m for n, m in zip(sides, multiple, strict=True))


def padded(image: Tensor, size: Sequence[int]) -> Tensor:
    """An image (..., *space) with zeros behind, up to a size."""
    missing = [n - have for have, n in zip(image.shape[-len(size) :], size, strict=True)]
    return pad(image, [each for n in reversed(missing) for each in (0, n)]) if any(missing) else image


def _affine(rois: Tensor, space: Sequence[int]) -> Tensor:
    """(N, d, d + 1): torch's order of axes is the reverse of ours."""
    low, high = rois.chunk(2, dim=1)
    sides = torch.tensor(list(space), dtype=rois.dtype, device=rois.device)
    scale = (high - low) / sides
    shift = (low + high + 1) / sides - 1
    return torch.cat((torch.diag_embed(scale.flip(1)), shift.flip(1)[..., None]), dim=-1)


def _whole(roi: Box) -> tuple[slice, ...]:
    dims = len(roi) // 2
    return tuple(slice(round(a + 0.5), round(b + 0.5)) for a, b in zip(roi[:dims], roi[dims:], strict=True))


def _grown(box: Box, margin: float) -> Box:
    dims = len(box) // 2
    return (*(side - margin for side in box[:dims]), *(side + margin for side in box[dims:]))


def _require_margin(margin: float | int) -> None:
    if not 0 <= margin < float("inf"):
        raise ExperimentError(f"the margin around a region is {margin}, but must be at least 0 voxels.")


def _ceil(value: float) -> int:
    return -int(-value // 1)
