"""A loss on the outputs of several resolutions of one network."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from edgewise.errors import ShapeError
from edgewise.losses.base import Loss
from edgewise.maps.base import DistanceMap, checked_spacing
from edgewise.truth import Truth, built


@dataclass(frozen=True, kw_only=True)
class DeepSupervision:
    r"""Weighted mean of one loss over outputs from full to coarse, with weights $\propto 2^{-i}$.

    Which levels take part is the network's choice: pass the outputs that should count. There are two readings
    of what a coarse output is compared with; with distance maps they differ, because a distance transform does
    not commute with resizing.

    Source: Isensee et al. 2021, doi:10.1038/s41592-020-01008-z.

    Attributes:
        loss: the loss of every level.
        reading: `resized_labels`: labels resized to the output (nearest), and maps built from those at the
            spacing of that level; as nnU-Net and the region-wise paper do. `upsampled_outputs`: the output
            interpolated linearly to full resolution, with the full labels and their maps, built once; small
            structures do not vanish, and each level costs a loss at full resolution.
    """

    loss: Loss
    reading: Literal["resized_labels", "upsampled_outputs"] = "resized_labels"

    @property
    def needs(self) -> tuple[DistanceMap, ...]:
        """The maps of the full resolution."""
        return self.loss.needs

    def __call__(
        self,
        outputs: Sequence[Tensor],
        target: Truth | Sequence[Truth] | Tensor,
        *,
        spacing: Sequence[float] | Literal["voxels"] = "voxels",
    ) -> Tensor:
        """The weighted mean of the loss over the levels.

        Args:
            outputs: logits (B, C, *space) of each level, full resolution first.
            target: the truth at full resolution; or one truth a level, as `pyramid` gives them (in a data
                worker, say, where maps cost the training nothing); or labels.
            spacing: voxel size along each spatial axis at full resolution, for labels only.

        Returns:
            A scalar.

        Raises:
            ShapeError: no outputs, or not as many truths as outputs; and all that the loss raises.
        """
        if not outputs:
            raise ShapeError("deep supervision got no outputs: pass the logits of each level, full resolution first.")
        if self.reading == "upsampled_outputs":
            outputs = [_upsampled(logits, outputs[0]) for logits in outputs]
        truths = self._truths(outputs, target, spacing)
        if len(truths) != len(outputs):
            raise ShapeError(f"{len(outputs)} outputs, but {len(truths)} truths: pass one truth a level.")
        share = 1 / sum(0.5**i for i in range(len(outputs)))
        losses = [self.loss(logits, truth) for logits, truth in zip(outputs, truths, strict=True)]
        return torch.stack([share * 0.5**i * loss for i, loss in enumerate(losses)]).sum()

    def _truths(
        self,
        outputs: Sequence[Tensor],
        target: Truth | Sequence[Truth] | Tensor,
        spacing: Sequence[float] | Literal["voxels"],
    ) -> Sequence[Truth]:
        if isinstance(target, Tensor):
            full = outputs[0]
            sizes = checked_spacing(spacing, full.ndim - 2)
            target = Truth.of(target, classes=full.shape[1], spacing=sizes, needs=self.needs)
        if not isinstance(target, Truth):
            return target
        return pyramid(target, [tuple(logits.shape[2:]) for logits in outputs])


def _upsampled(logits: Tensor, full: Tensor) -> Tensor:
    if logits.shape[2:] == full.shape[2:]:
        return logits
    mode = "bilinear" if logits.ndim == 4 else "trilinear"
    return interpolate(logits.float(), size=full.shape[2:], mode=mode, align_corners=False)


def pyramid(truth: Truth, shapes: Sequence[tuple[int, ...]]) -> tuple[Truth, ...]:
    """The truth at every level of a network, with the same maps.

    Labels are taken at the voxel nearest to each coarse voxel's centre; the maps of a coarser level are built
    from them, with the level's own voxel size. A level of the truth's own shape is the truth itself.

    Args:
        truth: at full resolution.
        shapes: spatial shape of each level.

    Returns:
        One truth a level.
    """
    return tuple(_resized(truth, shape) for shape in shapes)


def _resized(truth: Truth, shape: tuple[int, ...]) -> Truth:
    labels, known = truth.labels, truth.known
    full = tuple(labels.shape[1:])
    if shape == full:
        return truth
    if len(shape) != len(full):
        raise ShapeError(f"an output has the spatial shape {shape}, but the labels {full}.")
    for axis, (coarse, fine) in enumerate(zip(shape, full, strict=True), start=1):
        centre = (torch.arange(coarse, device=labels.device) * 2 + 1) * fine // (2 * coarse)
        labels = labels.index_select(axis, centre)
        known = known if isinstance(known, str) else known.index_select(axis, centre)
    sizes = tuple(size * fine / coarse for size, fine, coarse in zip(truth.spacing, full, shape, strict=True))
    maps = built(labels, truth.classes, sizes, tuple(truth.maps))
    return replace(truth, labels=labels, spacing=sizes, maps=maps, known=known)
