"""One equal value for all wrong classes of a voxel: the principle of the rectified maps, for any map."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, overload

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor
from typing_extensions import override

from edgewise.errors import ExperimentError, LabelError, ShapeError
from edgewise.maps.base import DistanceMap, checked_labels
from edgewise.maps.boundary import boundary
from edgewise.maps.regions import Regions
from edgewise.types import FieldBatch

SOURCE = "Valverde & Tohka 2022, Section 3.3, doi:10.1016/j.patcog.2022.109208"


@dataclass(frozen=True, kw_only=True)
class Rectification(DistanceMap):
    r"""Another map's value for the voxel's own class, and one equal value for every other class.

    $$z_c(x) = m_c(x) \text{ if } x \in c, \quad z_c(x) = v \text{ otherwise}$$

    Where $m_c(x) < v$, exactly one component of the gradient of $\sum_c p_c z_c$ with respect to the logits is
    negative: that of the own class. Needs one channel, whatever the other map needs. An absent class is $v$
    everywhere.

    Attributes:
        map: the map $m$.
        value: $v$, a finite number.
    """

    kind: Literal["rectification"] = "rectification"
    map: DistanceMap = boundary
    value: float = 1.0
    source: ClassVar[str] = SOURCE

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise ExperimentError(f"rectification: value is {self.value}, but must be finite.")

    @property
    @override
    def elsewhere(self) -> float:
        """The value of every class but the own."""
        return self.value

    @override
    def of(self, regions: Regions) -> FieldBatch:
        """The own-class value of `map`, (B, *space)."""
        field = self.map.of(regions)
        if self.map.channels == "own":
            return field
        return field.gather(1, regions.labels[:, None].long()).squeeze(1)


rectification = Rectification()


@overload
def rectify(field: ndarray, labels: ndarray | Tensor, value: float = 1.0) -> ndarray: ...
@overload
def rectify(field: Tensor, labels: ndarray | Tensor, value: float = 1.0) -> Tensor: ...
def rectify(field: Any, labels: Any, value: float = 1.0) -> Any:
    """Set every entry of a built map to `value`, except that of the voxel's own class.

    Args:
        field: (C, *space) or (B, C, *space) floats, one channel a class, two or three spatial axes.
        labels: (*space) or (B, *space) integers in 0..C-1.
        value: what the wrong classes hold.

    Returns:
        A new array or tensor like `field`.

    Raises:
        LabelError: labels are not integers, or out of range.
        ShapeError: the field is not of floats, or labels do not fit it.

    Example:
        >>> rectify(torch.tensor([[[1.0, 2.0]], [[3.0, 4.0]]]), torch.tensor([[0, 1]]), value=9.0)
        tensor([[[1., 9.]],
        <BLANKLINE>
                [[9., 4.]]])

    Source: Valverde & Tohka 2022, Section 3.3, doi:10.1016/j.patcog.2022.109208.
    """
    if not (field.is_floating_point() if isinstance(field, Tensor) else field.dtype.kind == "f"):
        raise ShapeError(f"the field is {field.dtype}, not floats: convert it (numpy: `.astype(np.float32)`).")
    axis = _class_axis(tuple(field.shape), tuple(labels.shape))
    index = _integers(labels)
    checked_labels(index, field.shape[axis])
    classes = torch.arange(field.shape[axis], device=index.device)
    own = index.unsqueeze(axis) == classes.reshape(-1, *(1,) * (field.ndim - axis - 1))
    if isinstance(field, Tensor):
        return field.where(own.to(field.device), value)
    return np.where(own.cpu().numpy(), field, value)


def _class_axis(field: Sequence[int], labels: Sequence[int]) -> int:
    """0 for an image, 1 for a batch; four axes may be either."""
    image = len(field) in {3, 4} and field[1:] == labels
    batch = len(field) in {4, 5} and (field[0], *field[2:]) == labels
    if image and batch:
        raise ShapeError(
            f"a field of shape {field} with labels {labels} may be a volume of {field[0]} classes or a batch of "
            "images: add an axis. For the volume: `field[None], labels[None]`; for the batch: "
            "`field[:, :, None], labels[:, None]`."
        )
    if not image and not batch:
        raise ShapeError(
            f"labels of shape {labels} do not fit a field of shape {field}: expected labels (*space) for a field "
            "(C, *space), or labels (B, *space) for a field (B, C, *space), with two or three spatial axes."
        )
    return int(batch)


def _integers(labels: ndarray | Tensor) -> Tensor:
    if isinstance(labels, Tensor):
        return labels.byte() if labels.dtype == torch.bool else labels
    if labels.dtype.kind not in "iub":
        raise LabelError(f"labels are {labels.dtype}, not integers: convert them (`.astype(int)`).")
    return torch.from_numpy(labels.astype(np.int64))
