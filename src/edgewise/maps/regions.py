"""What distance maps are made of: the classes of a batch of label images, and their geometry."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from edgewise.maps.edt import inside_distance
from edgewise.maps.parts import Parts, connected_components, objects
from edgewise.types import FieldBatch, LabelBatch, Spacing

WORTH_A_CROP = 0.6
"""A box larger than this share of the image is not cut out."""


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
    def objects(self) -> Parts:
        """Connected components of the foreground classes; what the parts of the background are is not defined."""
        return objects(self.labels)

    @cached_property
    def by_class(self) -> Parts:
        """The classes as parts."""
        return Parts(index=self.labels, count=self.classes)

    @cached_property
    def foreground(self) -> Bool[Tensor, "B *space"]:
        """Where the label is not 0."""
        return self.labels > 0

    @cached_property
    def crop(self) -> "Regions":
        """The smallest box that holds the foreground of every image, and one voxel around it where there is one.

        Distances inside foreground classes are the same in it, because its outer layer is background. On a GPU it is
        the whole image: to know the box, the host would have to wait.
        """
        inner = self.labels[:, *self._box]
        # Where little can be left out, cutting and pasting costs more than it saves.
        return self if inner.numel() > WORTH_A_CROP * self.labels.numel() else replace(self, labels=inner.contiguous())

    @cached_property
    def _box(self) -> tuple[slice, ...]:
        if self.labels.device.type != "cpu" or not len(self.labels):
            return (slice(None),) * (self.labels.ndim - 1)
        box = list[slice]()
        for axis in range(1, self.labels.ndim):
            others = [other for other in range(self.labels.ndim) if other != axis]
            where = self.labels.amax(others).nonzero().flatten().tolist()
            box.append(slice(max(where[0] - 1, 0), where[-1] + 2) if where else slice(0, 0))
        return tuple(box)

    def on_foreground(self, field: Callable[["Regions"], FieldBatch]) -> FieldBatch:
        """A field of the inside of foreground classes, computed on the crop alone; 0 on the background.

        Args:
            field: values at every voxel of the regions it is given, of which those on the background do not matter;
                new ones, which are overwritten.
        """
        inner = self.crop
        if inner.labels.numel() == 0:
            return self.labels.new_zeros(self.labels.shape, dtype=torch.float32)
        values = field(inner).masked_fill_(inner.labels == 0, 0)
        if inner is self:
            return values
        whole = values.new_zeros(self.labels.shape)
        whole[:, *self._box] = values
        return whole

    @cached_property
    def masks(self) -> Bool[Tensor, "B C *space"]:
        """Where each class is: C channels of one byte a voxel, for maps that cannot do with one channel."""
        numbers = torch.arange(self.classes, device=self.labels.device, dtype=self.labels.dtype)
        return self.labels[:, None] == numbers.reshape(-1, *(1,) * (self.labels.ndim - 1))

    @cached_property
    def bounded(self) -> Bool[Tensor, "B C"]:
        """Whether each class has a boundary in each image: some of its voxels are there, and some others."""
        masks = self.masks.flatten(2).byte()  # 60 times as fast to reduce as booleans
        return masks.amax(-1) > masks.amin(-1)

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
