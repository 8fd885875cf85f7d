"""What distance maps are made of: the classes of a batch of label images, and their geometry."""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from edgewise.maps.edt import inside_distance
from edgewise.maps.parts import Parts, classwise, connected_components
from edgewise.types import FieldBatch, LabelBatch, Spacing


@dataclass(frozen=True, kw_only=True, eq=False)
class Regions:
    """A batch of label images. Each piece of geometry is computed when first asked for, and once.

    Several maps of the same labels share it.

    Attributes:
        labels: (B, *space) integers in 0..classes-1, on any device.
        classes: number of classes, background included.
        spacing: voxel size along each spatial axis, in mm.
    """

    labels: LabelBatch
    classes: int
    spacing: Spacing

    @cached_property
    def inside(self) -> FieldBatch:
        """Distance to the nearest voxel of another class, in mm; see `inside_distance`. One channel for all classes."""
        return inside_distance(self.labels, self.spacing)

    @cached_property
    def components(self) -> Parts:
        """Connected components of every class, background included."""
        return connected_components(self.labels)

    @cached_property
    def by_class(self) -> Parts:
        """The classes as parts."""
        return classwise(self.labels, self.classes)

    @cached_property
    def foreground(self) -> Bool[Tensor, "B *space"]:
        """Where the label is not 0."""
        return self.labels > 0

    @cached_property
    def masks(self) -> Bool[Tensor, "B C *space"]:
        """Where each class is: C channels of one byte a voxel, for maps that cannot do with one channel."""
        numbers = torch.arange(self.classes, device=self.labels.device, dtype=self.labels.dtype)
        return self.labels[:, None] == numbers.reshape(-1, *(1,) * (self.labels.ndim - 1))

    @cached_property
    def bounded(self) -> Bool[Tensor, "B C"]:
        """Whether each class has a boundary in each image: some of its voxels are there, and some others."""
        masks = self.masks.flatten(2)
        return masks.any(-1) & ~masks.all(-1)

    @cached_property
    def to_boundary(self) -> Float[Tensor, "B C *space"]:
        """Distance to the boundary of each class, in mm: from outside to the class, from inside to the rest.

        0 for a class without a boundary (absent, or filling the image).
        """
        distances = [self._to_boundary(each) for each in range(self.classes)]
        return torch.stack(distances, 1)

    def _to_boundary(self, each: int) -> FieldBatch:
        # With two classes the boundary is one and the same.
        distance = self.inside if self.classes == 2 else inside_distance(self.masks[:, each].byte(), self.spacing)
        return distance * self.bounded[:, each].reshape(-1, *(1,) * (distance.ndim - 1))
