"""A weighted sum of losses."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from typing_extensions import override

from edgewise.errors import ExperimentError
from edgewise.losses.base import Loss
from edgewise.losses.cross_entropy import CrossEntropy
from edgewise.losses.dice import Dice
from edgewise.maps.base import DistanceMap
from edgewise.truth import Truth
from edgewise.types import Logits, Scalar


@dataclass(frozen=True, kw_only=True)
class Term:
    """One loss of a sum.

    Attributes:
        loss: any loss.
        weight: what it is multiplied with; finite.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}
    loss: Loss
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not math.isfinite(self.weight):
            raise ExperimentError(f"sum: the weight of {self.loss.kind} is {self.weight}, but must be finite.")


@dataclass(frozen=True, kw_only=True)
class Sum(Loss):
    r"""Weighted sum of losses: $L = \sum_i w_i L_i$. It needs the maps of all its terms.

    Attributes:
        terms: the losses and their weights; Dice + cross entropy unless given.
    """

    kind: Literal["sum"] = "sum"
    terms: tuple[Term, ...] = (Term(loss=Dice()), Term(loss=CrossEntropy()))
    source: ClassVar[str] = "Isensee et al. 2021 (Dice + cross entropy), doi:10.1038/s41592-020-01008-z"

    def __post_init__(self) -> None:
        if not self.terms:
            raise ExperimentError("sum: `terms` is empty, but a sum needs at least one loss.")

    @property
    @override
    def needs(self) -> tuple[DistanceMap, ...]:
        """The maps of all terms, each once."""
        return tuple(dict.fromkeys(need for term in self.terms for need in term.loss.needs))

    @override
    def of(self, log_p: Logits, truth: Truth) -> Scalar:
        total = log_p.new_zeros(())
        for term in self.terms:
            total = total + term.weight * term.loss.of(log_p, truth)
        return total
