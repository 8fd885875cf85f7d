"""Which connected component a voxel belongs to, or lies nearest to."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Int64
from torch import Tensor
from typing_extensions import override

from edgewise.maps.base import DistanceMap
from edgewise.maps.edt import inside_distance
from edgewise.maps.parts import Parts
from edgewise.maps.regions import Regions
from edgewise.types import FieldBatch, Maps, MaskBatch, Spacing

Numbers = Int64[Tensor, "B *space"]

# Distances to two components that differ by less than this share are equal but for rounding.
ROUNDING = 1e-6


def most_components(space: tuple[int, ...], classes: int) -> int:
    r"""More connected components than this cannot be in an image: $\min(C, 2^d) \prod_a \lceil n_a / 2 \rceil$.

    In a block of two voxels along every axis all touch, so that it holds one component of a class at most. The bound
    follows from shapes alone: sums over components find room without asking the device how many there are.

    Args:
        space: size of the image along each axis, $n_a$.
        classes: number of classes that the components are of, $C$.
    """
    most = min(classes, 1 << len(space))
    for size in space:
        most *= (size + 1) // 2
    return most


@dataclass(frozen=True, kw_only=True)
class Component(DistanceMap):
    r"""The number of the connected component of each foreground voxel: $k(x) \in 1 \dots K$; 0 on the background.

    Components of all foreground classes of an image are numbered together, with full connectivity (8 in 2D, 26 in
    3D); touching classes are told apart. The numbers are names: equal or different, and nothing else. Which component
    gets which is not defined, and may change when an image is mirrored. They are those of one image, or of the patch
    that the map was built on.

    float32 holds them exactly up to $2^{24}$ components, which takes a patch of more than 16 million voxels.

    Attributes:
        values: `names`, that cannot be averaged, interpolated or compared between images.
    """

    kind: Literal["component"] = "component"
    values: ClassVar[Literal["measures", "names"]] = "names"
    elsewhere: ClassVar = 0.0
    source: ClassVar[str] = "Kofler et al. 2023, arXiv:2205.08209"

    @override
    def of(self, regions: Regions) -> FieldBatch:
        """(B, *space) float32, whole numbers."""
        return _numbered(regions.objects, regions.foreground).float()


@dataclass(frozen=True, kw_only=True)
class NearestComponent(DistanceMap):
    r"""The Voronoi region of each voxel: the number of the nearest connected component, class by class.

    $$r_c(x) = \arg\min_{k \in 1 \dots K_c} \min_{y \in k} \lVert x - y \rVert$$

    with distances in mm, one channel a class; each foreground class numbers its components from 1 (see `Component`
    for what the numbers mean). 0 where two components of the class are equally near (the border of two regions), so
    that mirrored images have mirrored regions; in every voxel for a class that is absent, and for the background.

    Distances come from one transform for each binary digit of the component numbers and its complement, so that their
    number grows with the logarithm of the number of components. (The index of the nearest voxel alone would not tell
    ties from clear cases.)

    Attributes:
        values: `names`, that cannot be averaged, interpolated or compared between images.
    """

    kind: Literal["nearest_component"] = "nearest_component"
    values: ClassVar[Literal["measures", "names"]] = "names"
    channels: ClassVar[Literal["own", "all"]] = "all"
    elsewhere: ClassVar = 0.0
    source: ClassVar[str] = "Bouteille et al. 2025, arXiv:2511.17146; Jaus et al. 2024, arXiv:2410.18684"

    @override
    def of(self, regions: Regions) -> Maps:
        """(B, C, *space) float32, whole numbers."""
        fields = [torch.zeros_like(regions.labels, dtype=torch.float32)]
        for each in range(1, regions.classes):
            numbers = _numbered(regions.objects, regions.labels == each)
            fields.append(_regions(numbers, regions.spacing))
        return torch.stack(fields, 1)


def _numbered(parts: Parts, where: MaskBatch) -> Numbers:
    """The parts that lie in `where`, numbered from 1 in each image; 0 elsewhere. No part lies half in it."""
    index, inside = parts.index.flatten(1).long(), where.flatten(1).long()
    there = inside.new_zeros(len(index), parts.count).scatter_reduce(1, index, inside, "amax")
    return (there.cumsum(1).gather(1, index) * inside).reshape(where.shape)


def _regions(numbers: Numbers, spacing: Spacing) -> FieldBatch:
    """The number nearest to every voxel; 0 where two are, or none is."""
    most = int(numbers.amax()) if numbers.numel() else 0
    nearest = numbers.flatten(1).any(1).reshape(-1, *(1,) * len(spacing)).long().expand_as(numbers)
    clear = torch.ones_like(numbers, dtype=torch.bool)
    for digit in range((most - 1).bit_length() if most else 0):
        ones = (numbers > 0) & ((numbers - 1 >> digit) & 1 > 0)
        to_ones, to_zeros = _distance_to(ones, spacing), _distance_to((numbers > 0) & ~ones, spacing)
        nearest = nearest + ((to_ones < to_zeros).long() << digit)
        clear &= ~torch.isclose(to_ones, to_zeros, rtol=ROUNDING, atol=0)
    return (nearest * clear).float()


def _distance_to(mask: MaskBatch, spacing: Spacing) -> FieldBatch:
    """Distance to the nearest voxel of the mask: 0 inside it, infinite where the mask of the image is empty."""
    there = mask.flatten(1).any(1).reshape(-1, *(1,) * len(spacing))
    return inside_distance(mask.byte(), spacing).where(there, torch.inf).masked_fill(mask, 0)


component = Component()
nearest_component = NearestComponent()
