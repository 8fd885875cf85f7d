"""How long a study takes, and how far its trainings have to be shortened to fit into a given time."""

import heapq
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgewise.errors import StudyError
from edgewise.study.cost import CROWDED, Cost, Seconds
from edgewise.study.settle import FEWEST

REPORTING = 30.0
"""Seconds for the comparison and the report at the end."""
WATCHING = 0.25
"""Where time is short, validations may take this share of the time of the training steps."""


@dataclass(frozen=True, kw_only=True)
class Shortening:
    """How a study is made to fit.

    Attributes:
        factor: of the steps that the experiments ask for; 1 leaves them as they are.
        validations: how many there are in a training at most; 0 leaves everything as it is.
    """

    factor: float = 1.0
    validations: int = 0


def whole(costs: Sequence[Cost], slots: int) -> Seconds:
    """How long parts take, so many at a time, with the report at the end."""
    return _lasting([cost.seconds for cost in costs], slots) + REPORTING


def fitting(costs: Sequence[Cost], slots: int, minutes: float, spent: Seconds) -> Shortening:
    """How far to shorten all trainings alike, so that the study ends in time.

    Args:
        costs: of every part, with the steps that its experiment asks for.
        slots: how many parts are worked on at a time.
        minutes: for everything, from the start of the command.
        spent: seconds that are gone already.

    Raises:
        StudyError: there is no time for training at all; says how much there would have to be.
    """
    time = 60 * minutes - spent - REPORTING
    if not costs or whole(costs, slots) - REPORTING <= time:
        return Shortening()

    def lasting(factor: float) -> Seconds:
        return _lasting(_shortened(costs, factor, _validations(costs, slots, factor)), slots)

    steps = min(cost.steps for cost in costs)
    least = min(FEWEST / steps, 1.0)
    if lasting(least) > time:
        beside = _lasting(_shortened(costs, 0.0, 1), slots)
        needed = math.ceil((spent + REPORTING + lasting(least)) / 60) + 1
        raise StudyError(
            f"{minutes:g} minutes are too few: beside training, its {len(costs)} parts take about {beside / 60:.0f} "
            f"minutes on {slots} at a time, which leaves fewer than {min(FEWEST, steps)} steps for each. Give at least "
            f"{needed} minutes, or fewer rows, folds or seeds."
        )
    factor = _largest(lasting, time, least)
    return Shortening(factor=factor, validations=_validations(costs, slots, factor))


def _largest(lasting: Callable[[float], Seconds], time: Seconds, least: float) -> float:
    """The largest factor up to 1 that fits; `lasting` never falls as it grows, and `least` fits."""
    if lasting(1.0) <= time:
        return 1.0
    too_much = 1.0
    for _ in range(40):
        middle = (least + too_much) / 2
        if lasting(middle) <= time:
            least = middle
        else:
            too_much = middle
    return least


def _validations(costs: Sequence[Cost], slots: int, factor: float) -> int:
    """How many validations a training has: never fewer with more steps."""
    steps, one = (_lasting(times, slots) for times in zip(*((c.moving, c.validation) for c in costs), strict=True))
    affordable = WATCHING * factor * steps / one if one else math.inf
    return int(min(max(affordable, 1), max(cost.validations for cost in costs)))


def _shortened(costs: Sequence[Cost], factor: float, validations: int) -> list[Seconds]:
    return [cost.fixed + factor * cost.moving + validations * cost.validation for cost in costs]


def _lasting(parts: Sequence[Seconds], slots: int) -> Seconds:
    """How long parts take that begin in their order, each in the slot that is free first."""
    free = [0.0] * slots
    for seconds in parts:
        heapq.heappush(free, heapq.heappop(free) + seconds)
    return (CROWDED if slots > 1 else 1.0) * max(free)
