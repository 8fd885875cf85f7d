"""What a loss is: a pure function of logits and the truth; one final frozen dataclass a module."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from edgewise.catalog import Component
from edgewise.errors import LogitsError, ShapeError, SpacingError
from edgewise.losses.schedules import Schedule
from edgewise.maps.base import DistanceMap, checked_spacing
from edgewise.truth import Truth
from edgewise.types import Logits, MaskBatch, Scalar


@dataclass(frozen=True, kw_only=True)
class Loss(Component):
    """Base of the losses. Call the loss; implement `of`.

    Every loss can be built without arguments; its defaults are those of its source.

    Attributes:
        takes: what `of` wants: `log_p`; or `logits`, for a loss that softmaxes by itself and does not care which.
    """

    package: ClassVar[str] = "edgewise.losses"
    takes: ClassVar[Literal["log_p", "logits"]] = "log_p"

    @property
    @abstractmethod
    def needs(self) -> tuple[DistanceMap, ...]:
        """The distance maps it reads; `()` for none. A plain class attribute will do."""

    @abstractmethod
    def of(self, log_p: Logits, truth: Truth) -> Scalar:
        """The loss of log-probabilities.

        Args:
            log_p: (B, C, *space) float32 or float64 log-softmax over the classes. It is taken once,
                however many terms a sum has; probabilities are `log_p.exp()`.
            truth: labels (B, *space) of `C` classes, with the maps in `needs`. Where labels are unknown,
                `log_p` has been made certain of class 0, without a gradient; end in `truth.mean` or
                `truth.over_images`, so that such voxels do not count and image weights do.
        """

    def at(self, epoch: float) -> "Loss":
        """The loss after `epoch` epochs (which may be a fraction): every schedule in it replaced by its value.

        A loss without schedules is returned as it is. Until this is called schedules count as in epoch 0.
        """
        return _at(self, epoch)  # type: ignore[no-any-return]

    def __call__(
        self,
        logits: Tensor,
        target: Truth | Tensor,
        *,
        spacing: Sequence[float] | Literal["voxels"] = "voxels",
    ) -> Tensor:
        """The loss of a batch of logits.

        Computed in float32 whatever autocast says, and in float64 for float64 logits.

        Args:
            logits: (B, C, *space) floats before softmax, background first, two or three spatial axes,
                at least two classes; any memory format.
            target: the truth prepared by the pipeline, or labels (B, *space) or (B, 1, *space) in
                0..C-1, whose maps are then built on the fly.
            spacing: voxel size along each spatial axis in mm, for labels only (a truth knows its own);
                `"voxels"` measures in voxels, which is right for isotropic images alone.

        Returns:
            A scalar.

        Raises:
            LabelError: labels are not integers, or out of range.
            LogitsError: on a CPU, logits hold NaN.
            ShapeError: logits and labels do not fit each other, or a needed map is missing.
            SpacingError: `spacing` does not fit the logits, or contradicts the truth.
        """
        if not logits.is_floating_point() or logits.ndim not in {4, 5} or logits.shape[1] < 2:
            raise ShapeError(
                f"logits are {logits.dtype} of shape {tuple(logits.shape)}: expected floats "
                "(B, C, *space) with two or three spatial axes and C >= 2, background included. "
                "Give a one-channel output x a background: `torch.cat([torch.zeros_like(x), x], 1)`."
            )
        truth = self._truth(logits, target, spacing)
        self._check(logits, truth)
        with torch.autocast(logits.device.type, enabled=False):
            exact = logits if logits.dtype == torch.float64 else logits.float()
            log_p = exact if self.takes == "logits" else exact.log_softmax(1)
            if not isinstance(truth.known, str):
                log_p = _certain_where_unknown(log_p, truth.known)
            value = self.of(log_p, truth)
        # A GPU is not waited for, and a graph not broken: there NaN goes on to the caller.
        if value.device.type == "cpu" and not torch.compiler.is_compiling() and not value.isfinite():
            _refuse_nan(logits)
        return value

    def _truth(self, logits: Tensor, target: Truth | Tensor, spacing: Sequence[float] | Literal["voxels"]) -> Truth:
        if isinstance(target, Truth):
            if spacing != "voxels" and tuple(spacing) != target.spacing:
                raise SpacingError(
                    f"spacing {spacing} contradicts {target.spacing} of the truth: leave it out, "
                    "the truth knows its own."
                )
            return target
        sizes = checked_spacing(spacing, logits.ndim - 2)
        return Truth.of(target, classes=logits.shape[1], spacing=sizes, needs=self.needs)

    def _check(self, logits: Tensor, truth: Truth) -> None:
        expected = (logits.shape[0], *logits.shape[2:])
        if truth.labels.shape != expected or truth.classes != logits.shape[1]:
            raise ShapeError(
                f"logits {tuple(logits.shape)} do not fit labels {tuple(truth.labels.shape)} of "
                f"{truth.classes} classes: expected logits (B, C, *space) for labels (B, *space). Resize "
                "labels with nearest interpolation, or give the network one output a class."
            )
        for need in self.needs:
            if need not in truth.maps:
                raise ShapeError(
                    f"{type(self).__name__} needs the distance map {need}, but the truth carries "
                    f"{[str(key) for key in truth.maps] or 'none'}. Build it: "
                    "`Truth.of(labels, ..., needs=loss.needs)`."
                )


def _at(value: Any, epoch: float) -> Any:
    if isinstance(value, Schedule):
        return value.value(epoch)
    if isinstance(value, tuple):
        moved = tuple(_at(each, epoch) for each in value)
        return value if all(new is old for new, old in zip(moved, value, strict=True)) else moved
    if not is_dataclass(value) or isinstance(value, type):
        return value
    new = {each.name: _at(getattr(value, each.name), epoch) for each in fields(value)}
    changes = {name: each for name, each in new.items() if each is not getattr(value, name)}
    return replace(value, **changes) if changes else value


def _refuse_nan(logits: Tensor) -> None:
    wrong = logits.detach().isnan()
    if wrong.any():
        raise LogitsError(
            f"{int(wrong.sum())} of {logits.numel()} logits are NaN, the first at {tuple(wrong.nonzero()[0].tolist())} "
            "(image, class, voxel). Look for NaN in the images, then lower the learning rate, clip gradients, or "
            "train in float32."
        )


def _certain_where_unknown(log_p: Logits, known: MaskBatch) -> Logits:
    """Background with (almost) probability one, and no gradient, where nobody knows the label."""
    certain = log_p.new_full((1, log_p.shape[1]) + (1,) * (log_p.ndim - 2), -100.0)  # finite: 0 * inf is NaN
    certain[:, 0] = 0
    return log_p.where(known[:, None], certain)
