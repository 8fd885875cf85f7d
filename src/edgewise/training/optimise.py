"""Optimisers and learning-rate schedules: settings that build torch's own."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

import torch
from torch import nn
from torch.optim import Optimizer


@dataclass(frozen=True, kw_only=True)
class AdamW:
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019, arXiv:1711.05101)."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}
    kind: Literal["adamw"] = "adamw"
    rate: float = 2e-3
    weight_decay: float = 1e-2
    betas: tuple[float, float] = (0.9, 0.99)

    def build(self, parameters: Iterable[nn.Parameter]) -> Optimizer:
        """Torch's optimiser over `parameters`."""
        return torch.optim.AdamW(parameters, lr=self.rate, weight_decay=self.weight_decay, betas=self.betas, fused=True)


@dataclass(frozen=True, kw_only=True)
class Adam:
    """Adam with L2 weight decay (Kingma and Ba 2015, arXiv:1412.6980)."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}
    kind: Literal["adam"] = "adam"
    rate: float = 1e-3
    weight_decay: float = 0.0

    def build(self, parameters: Iterable[nn.Parameter]) -> Optimizer:
        """Torch's optimiser over `parameters`."""
        return torch.optim.Adam(parameters, lr=self.rate, weight_decay=self.weight_decay, fused=True)


@dataclass(frozen=True, kw_only=True)
class SGD:
    """Stochastic gradient descent with Nesterov momentum (Sutskever et al. 2013)."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}
    kind: Literal["sgd"] = "sgd"
    rate: float = 1e-2
    momentum: float = 0.99
    weight_decay: float = 3e-5

    def build(self, parameters: Iterable[nn.Parameter]) -> Optimizer:
        """Torch's optimiser over `parameters`."""
        return torch.optim.SGD(
            parameters,
            lr=self.rate,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            nesterov=self.momentum > 0,
            fused=True,
        )


AnyOptimiser: TypeAlias = AdamW | Adam | SGD


@dataclass(frozen=True, kw_only=True)
class Poly:
    """rate · (1 − step/steps)^power after a linear warm-up (Chen et al. 2018, arXiv:1606.00915)."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}
    kind: Literal["poly"] = "poly"
    power: float = 0.9
    warm_up: int = 0

    def factor(self, step: int, steps: int) -> float:
        """Share of the initial rate at `step` of `steps`."""
        if step < self.warm_up:
            return (step + 1) / (self.warm_up + 1)
        return float(max(1 - (step - self.warm_up) / max(steps - self.warm_up, 1), 0.0) ** self.power)


@dataclass(frozen=True, kw_only=True)
class Step:
    """rate · factor^⌊step/every⌋."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}
    kind: Literal["step"] = "step"
    every: int = 10_000
    drop: float = 0.2

    def factor(self, step: int, steps: int) -> float:  # noqa: ARG002 - every schedule is asked alike
        """Share of the initial rate at `step`; `steps` does not matter."""
        return float(self.drop ** (step // self.every))


@dataclass(frozen=True, kw_only=True)
class Plateau:
    """rate · drop each time the validation score has not improved for `patience` validations."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}
    kind: Literal["plateau"] = "plateau"
    drop: float = 0.5
    patience: int = 5

    def factor(self, step: int, steps: int) -> float:  # noqa: ARG002 - every schedule is asked alike
        """1: the drops follow from the scores, see `Rate`."""
        return 1.0


AnySchedule: TypeAlias = Poly | Step | Plateau


class Rate:
    """The learning rate of an optimiser: a schedule of the step, and drops on a plateau of the validation score."""

    def __init__(self, optimiser: Optimizer, schedule: AnySchedule, steps: int) -> None:
        self._optimiser, self._schedule, self._steps = optimiser, schedule, steps
        self._initial = [float(group["lr"]) for group in optimiser.param_groups]
        self._best, self._since, self._drops = float("-inf"), 0, 0

    def at(self, step: int) -> float:
        """Set the rate for `step`; return that of the first parameter group."""
        factor = self._schedule.factor(step, self._steps)
        if isinstance(self._schedule, Plateau):
            factor *= self._schedule.drop**self._drops
        for group, initial in zip(self._optimiser.param_groups, self._initial, strict=True):
            group["lr"] = initial * factor
        return self._initial[0] * factor

    def observe(self, score: float) -> None:
        """Tell the schedule a validation score (higher is better)."""
        self._since = 0 if score > self._best else self._since + 1
        self._best = max(score, self._best)
        if isinstance(self._schedule, Plateau) and self._since > self._schedule.patience:
            self._since, self._drops = 0, self._drops + 1

    def state(self) -> dict[str, float]:
        """Everything needed to go on exactly."""
        return {"best": self._best, "since": self._since, "drops": self._drops}

    def restore(self, state: dict[str, float]) -> None:
        """Go on from `state`."""
        self._best, self._since, self._drops = state["best"], int(state["since"]), int(state["drops"])
