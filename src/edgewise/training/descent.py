"""The learner that most methods need: gradient descent on one objective."""

import math
from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from edgewise.data.batches import Batch
from edgewise.errors import DivergedError, LogitsError
from edgewise.losses.base import Loss
from edgewise.losses.deep_supervision import DeepSupervision
from edgewise.maps.base import DistanceMap
from edgewise.training.learner import Setting
from edgewise.training.optimise import Rate
from edgewise.truth import Truth

Reading: TypeAlias = Literal["resized_labels", "upsampled_outputs"]
Objective: TypeAlias = Callable[[nn.Module, Batch, int], Tensor]
"""(the trained module, a batch on its device, the step) -> a scalar to minimise."""
SMALLEST_SCALE = 2.0**-14
"""Of a gradient in float16: its smallest normal number."""


@dataclass(frozen=True, kw_only=True)
class Turn:
    """A part of a training step: one objective, and what moves to lower it.

    Of several processes each takes it on its share of the batch; what moves the weights is the mean of their gradients.

    Attributes:
        objective: what is minimised; one without any gradient (an image without objects, say) moves nothing.
        over: names of the parts of the trained module that move, such as `locate`; each has its own optimiser, and
            `""` is the whole module.
    """

    objective: Objective
    over: tuple[str, ...] = ("",)


class Descent:
    """Minimises objectives in turns over the weights of one module; predicts with a moving average of a part of it.

    The average follows the weights closely at first and slowly later: its decay is min(average, (1 + n) / (10 + n))
    after n steps (Polyak and Juditsky 1992, doi:10.1137/0330046).

    Args:
        setting: optimiser, schedule, arithmetic, device.
        module: everything that is trained.
        turns: what is minimised, one after the other in every step.
        part: the part of `module` that predicts; it shares the weights.
    """

    def __init__(
        self,
        setting: Setting,
        module: nn.Module,
        turns: Sequence[Turn],
        part: Callable[[nn.Module], nn.Module] = lambda module: module,
    ) -> None:
        self._setting, self._turns = setting, turns
        self._module = setting.arithmetic.placed(module, setting.device, setting.topology.dims).train()
        self._part = part(self._module)
        setting.group.spread(self._module)
        self._average = deepcopy(self._part).eval().requires_grad_(requires_grad=False)
        names = dict.fromkeys(name for turn in turns for name in turn.over)
        self._moving = {name: _Moving(self._module.get_submodule(name), setting) for name in names}
        self._judged = [
            *(weight for each in self._moving.values() for weight in each.weights),
            *(each for each in self._module.buffers() if each.is_floating_point()),
        ]
        self._scaler = torch.GradScaler(setting.device.type, enabled=setting.arithmetic.precision == "fp16")
        self.rate = 0.0

    def step(self, batch: Batch, step: int) -> float:
        """Learn from one batch; return the loss, the sum over the turns.

        Raises:
            DivergedError: the loss, the gradient or a weight is not finite. With float16 an infinite gradient is
                normal: the step is left out and the gradient scaled down, until it is as small as float16 can be.
        """
        self.rate, *_ = [each.rate.at(step) for each in self._moving.values()]
        batch = batch.to(self._setting.device)
        taken = [self._take(turn, batch, step) for turn in self._turns]
        self._setting.group.average_statistics(self._module)
        losses, norms = zip(*taken, strict=True)
        value = self._finite(torch.stack(losses).sum(), torch.stack(norms).sum())
        self._follow(step)
        return value

    def _take(self, turn: Turn, batch: Batch, step: int) -> tuple[Tensor, Tensor]:
        """Take one turn; the loss, and the norm of its gradient."""
        moving = [self._moving[name] for name in turn.over]
        loss = self._backward(turn.objective, batch, step)
        loss, learns = self._setting.group.average_gradient(loss, [each for part in moving for each in part.weights])
        norm = torch.zeros((), device=loss.device)
        if learns:
            for each in moving:
                self._scaler.unscale_(each.optimiser)
                norm = norm + clip_grad_norm_(each.weights, self._setting.clip)
                self._scaler.step(each.optimiser)
            self._scaler.update()
        return loss, norm.float()

    def _backward(self, objective: Objective, batch: Batch, step: int) -> Tensor:
        """The loss of this process's share of the batch; its gradient lies in the weights."""
        self._module.zero_grad(set_to_none=True)
        try:
            loss = objective(self._module, batch, step)
        except LogitsError:
            if self._setting.group.alone:
                raise
            # All processes must come to the same end: the mean of their losses, which all of them look at, is NaN.
            return torch.full((), math.nan, device=self._setting.device)
        if loss.requires_grad:
            self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        return loss

    def observe(self, score: float) -> None:
        """Take note of a validation score (higher is better)."""
        for each in self._moving.values():
            each.rate.observe(score)

    @property
    def predictor(self) -> nn.Module:
        """The averaged part, in evaluation mode."""
        return self._average

    def state(self) -> dict[str, Any]:
        """Everything needed to go on exactly: tensors and plain values only."""
        return {
            "network": self._module.state_dict(),
            "average": self._average.state_dict(),
            "optimiser": {name: each.optimiser.state_dict() for name, each in self._moving.items()},
            "rate": {name: each.rate.state() for name, each in self._moving.items()},
            "scaler": self._scaler.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        self._module.load_state_dict(state["network"])
        self._average.load_state_dict(state["average"])
        for name, each in self._moving.items():
            each.optimiser.load_state_dict(state["optimiser"][name])
            each.rate.restore(state["rate"][name])
        self._scaler.load_state_dict(state["scaler"])

    @torch.no_grad()
    def _finite(self, loss: Tensor, norm: Tensor) -> float:
        """The loss, once it, the gradient's norm and all weights are known to be finite; one wait for a GPU."""
        # A sum is finite only if all its terms are, and takes a twentieth of a norm's time on a CPU.
        total = torch.stack([each.sum() for each in self._judged]).sum()
        value, slope, weights = torch.stack([each.detach().float() for each in (loss, norm, total)]).tolist()
        left_out = self._scaler.is_enabled() and self._scaler.get_scale() >= SMALLEST_SCALE
        if not math.isfinite(value):
            raise DivergedError(f"the loss became {value}")
        if not math.isfinite(slope) and not left_out:
            raise DivergedError(f"the gradient became {slope}")
        if not math.isfinite(weights):
            raise DivergedError(f"a weight became {weights}")
        return float(value)

    @torch.no_grad()
    def _follow(self, step: int) -> None:
        decay = min(self._setting.average, (1 + step) / (10 + step))
        mean: list[Tensor] = list(self._average.parameters())
        now: list[Tensor] = list(self._part.parameters())
        torch._foreach_lerp_(mean, now, 1 - decay)
        for old, new in zip(self._average.buffers(), self._part.buffers(), strict=True):
            old.copy_(new)


class _Moving:
    """Weights that move together: their optimiser and its rate."""

    def __init__(self, module: nn.Module, setting: Setting) -> None:
        self.weights = [each for each in module.parameters() if each.requires_grad]
        self.optimiser = setting.optimiser.build(self.weights)
        self.rate = Rate(self.optimiser, setting.schedule, setting.steps)


def outputs_of(network: nn.Module, image: Tensor, setting: Setting) -> Sequence[Tensor]:
    """Every output of a network in training mode, the full resolution first."""
    with setting.arithmetic.autocast(setting.device):
        outputs = network(setting.arithmetic.arrange(image))
    return (outputs,) if isinstance(outputs, Tensor) else outputs


def truth_of(batch: Batch, setting: Setting, needs: Iterable[DistanceMap]) -> Truth:
    """The reference of a batch, with every map that some term needs, built once."""
    once = tuple(dict.fromkeys(needs))
    return Truth.of(batch.labels, classes=setting.topology.classes, spacing=setting.spacing, needs=once)


def segmentation_loss(logits: Sequence[Tensor], truth: Truth, loss: Loss, reading: Reading) -> Tensor:
    """The loss of one output, or of all outputs under deep supervision.

    Args:
        logits: every output, full resolution first.
        truth: at full resolution, with the maps that `loss` needs; others are not built for coarser levels.
        loss: the segmentation loss.
        reading: what coarse outputs are compared with.
    """
    if len(logits) == 1:
        return loss(logits[0], truth)
    own = replace(truth, maps={need: truth.maps[need] for need in loss.needs})
    return DeepSupervision(loss=loss, reading=reading)(logits, own)
