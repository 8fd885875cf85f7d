"""One network, one loss: ordinary supervised training."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from typing_extensions import override

from edgewise.data.batches import Batch
from edgewise.losses.base import Loss
from edgewise.losses.deep_supervision import DeepSupervision
from edgewise.methods.base import Method
from edgewise.training.learner import Learner, Setting
from edgewise.training.optimise import Rate
from edgewise.truth import Truth


@dataclass(frozen=True, kw_only=True)
class Supervised(Method):
    """Minimise one loss over the weights of one network; predict with a moving average of the weights.

    The average follows the weights closely at first and slowly later: its decay is min(average, (1 + n) / (10 + n))
    after n steps.

    Attributes:
        deep_supervision: how the coarse outputs of a network that has them are compared with the labels: labels
            resized to the output, or the output upsampled to the labels.
    """

    kind: Literal["supervised"] = "supervised"
    deep_supervision: Literal["resized_labels", "upsampled_outputs"] = "resized_labels"
    source: ClassVar = "Polyak and Juditsky 1992, doi:10.1137/0330046 (averaging)"

    @override
    def learner(self, setting: Setting) -> Learner:
        return _Learner(setting, self.deep_supervision)


class _Learner:
    def __init__(self, setting: Setting, reading: Literal["resized_labels", "upsampled_outputs"]) -> None:
        self._setting, self._reading = setting, reading
        network = setting.network.build(setting.topology)
        self._network = setting.arithmetic.placed(network, setting.device, setting.topology.dims).train()
        self._average = deepcopy(self._network).eval().requires_grad_(requires_grad=False)
        self._optimiser = setting.optimiser.build(self._network.parameters())
        self._rate = Rate(self._optimiser, setting.schedule, setting.steps)
        self._scaler = torch.GradScaler(setting.device.type, enabled=setting.arithmetic.precision == "fp16")
        self.rate = 0.0

    def step(self, batch: Batch, step: int) -> float:
        setting, batch = self._setting, batch.to(self._setting.device)
        self.rate = self._rate.at(step)
        with setting.arithmetic.autocast(setting.device):
            logits = self._network(setting.arithmetic.arrange(batch.image))
        loss = self._loss(logits, batch.labels, setting.loss.at(step / setting.epoch))
        self._optimiser.zero_grad(set_to_none=True)
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self._scaler.unscale_(self._optimiser)
        clip_grad_norm_(self._network.parameters(), setting.clip)
        self._scaler.step(self._optimiser)
        self._scaler.update()
        self._follow(step)
        return float(loss.detach())

    def _loss(self, logits: Tensor | Sequence[Tensor], labels: Tensor, loss: Loss) -> Tensor:
        classes, spacing = self._setting.topology.classes, self._setting.spacing
        if isinstance(logits, Tensor):
            logits = (logits,)
        if len(logits) > 1:
            return DeepSupervision(loss=loss, reading=self._reading)(logits, labels, spacing=spacing)
        return loss(logits[0], Truth.of(labels, classes=classes, spacing=spacing, needs=loss.needs))

    @torch.no_grad()
    def _follow(self, step: int) -> None:
        decay = min(self._setting.average, (1 + step) / (10 + step))
        mean: list[Tensor] = list(self._average.parameters())
        now: list[Tensor] = list(self._network.parameters())
        torch._foreach_lerp_(mean, now, 1 - decay)
        for old, new in zip(self._average.buffers(), self._network.buffers(), strict=True):
            old.copy_(new)

    def observe(self, score: float) -> None:
        self._rate.observe(score)

    @property
    def predictor(self) -> nn.Module:
        return self._average

    def state(self) -> dict[str, Any]:
        return {
            "network": self._network.state_dict(),
            "average": self._average.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "rate": self._rate.state(),
            "scaler": self._scaler.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        self._network.load_state_dict(state["network"])
        self._average.load_state_dict(state["average"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._rate.restore(state["rate"])
        self._scaler.load_state_dict(state["scaler"])
