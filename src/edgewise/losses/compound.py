"""A weighted sum of losses."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from typing_extensions import override

from edgewise.errors import ExperimentError
from edgewise.losses.base import Loss
from edgewise.losses.cross_entropy import CrossEntropy
from edgewise.losses.dice import Dice
from edgewise.losses.schedules import Complement, Linear, Schedule
from edgewise.maps.base import DistanceMap
from edgewise.truth import Truth
from edgewise.types import Logits, Scalar


@dataclass(frozen=True, kw_only=True)
class Term:
    """One loss of a sum.

    Attributes:
        loss: any loss.
        weight: what it is multiplied with: a finite number, or a schedule of such numbers over the epochs.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}
    loss: Loss
    weight: float | Schedule = 1.0

    def __post_init__(self) -> None:
        if not isinstance(self.weight, Schedule) and not math.isfinite(self.weight):
            raise ExperimentError(f"sum: the weight of {self.loss.kind} is {self.weight}, but must be finite.")


@dataclass(frozen=True, kw_only=True)
class Sum(Loss):
    r"""Weighted sum of losses: $L = \sum_i w_i(e)\, L_i$. It needs the maps of all its terms.

    A weight is a number, or a schedule over the epochs $e$; `loss.at(epoch)` gives the sum at a moment. A term
    whose weight is 0 is not computed.

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
            weight = term.weight.value(0.0) if isinstance(term.weight, Schedule) else term.weight
            if weight != 0:
                total = total + weight * term.loss.of(log_p, truth)
        return total


def equal(region: Loss, boundary: Loss) -> Sum:
    r"""Both terms count one: $L = L_r + L_b$."""
    return Sum(terms=(Term(loss=region), Term(loss=boundary)))


def gradual(region: Loss, boundary: Loss, *, epochs: float = 100.0, floor: float = 0.01) -> Sum:
    r"""From the region to the boundary: $L = \alpha L_r + (1 - \alpha) L_b$, $\alpha = \max(1 - e/E, \text{floor})$.

    Source: Valverde & Tohka 2022, doi:10.1016/j.patcog.2022.109208.

    Args:
        region: $L_r$, such as Dice or cross entropy.
        boundary: $L_b$, such as `Boundary` or `RegionWise`.
        epochs: $E$.
        floor: the smallest weight of the region.
    """
    alpha = Linear(start=1.0, end=floor, epochs=epochs * (1 - floor))
    return Sum(terms=(Term(loss=region, weight=alpha), Term(loss=boundary, weight=Complement(to=alpha))))


def rebalance(region: Loss, boundary: Loss, *, epochs: float = 100.0, floor: float = 0.01) -> Sum:
    r"""As `gradual`, but neither term ever vanishes: $\alpha$ falls from $1 - \text{floor}$ to the floor.

    Source: Kervadec et al. 2021, doi:10.1016/j.media.2020.101851.
    """
    alpha = Linear(start=1.0 - floor, end=floor, epochs=epochs * (1 - 2 * floor))
    return Sum(terms=(Term(loss=region, weight=alpha), Term(loss=boundary, weight=Complement(to=alpha))))


def increase(region: Loss, boundary: Loss, *, epochs: float = 100.0, floor: float = 0.01) -> Sum:
    r"""The boundary is added: $L = L_r + \beta L_b$, $\beta$ rising from the floor to 1 by $1/E$ an epoch.

    Source: Kervadec et al. 2021, doi:10.1016/j.media.2020.101851.
    """
    beta = Linear(start=floor, end=1.0, epochs=epochs * (1 - floor))
    return Sum(terms=(Term(loss=region), Term(loss=boundary, weight=beta)))
