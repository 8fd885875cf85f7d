"""How long a study takes, and how far its trainings have to be shortened to fit into a given time."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edgewise.errors import StudyError
from edgewise.study.cost import CROWDED, Cost, Seconds
from edgewise.study.settle import FEWEST

REPORTING = 30.0
"""Seconds for the comparison and the report at the end."""
WATCHING = 0.2
"""Share of the time that validations may take where time is short."""


@dataclass(frozen=True, kw_only=True)
class Shortening:
    """How a study is made to fit.

    Attributes:
        factor: of the steps that the experiments ask for; 1 leaves them as they are.
        validations: how many there are in a training; 0 leaves them as they are.
    """

    factor: float = 1.0
    validations: int = 0


def whole(costs: Sequence[Cost], slots: int) -> Seconds:
    """How long parts take, so many at a time, with the report at the end."""
    return _shared(sum(cost.seconds for cost in costs), max((cost.seconds for cost in costs), default=0.0), slots)


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
    if whole(costs, slots) + spent <= 60 * minutes:
        return Shortening()
    crowded = CROWDED if slots > 1 else 1.0
    # The last round of parts may leave slots empty.
    rounds = math.ceil(len(costs) / slots) * slots / len(costs)
    fixed, moving, watching = (
        crowded * rounds * sum(each) / slots
        for each in zip(*((c.fixed, c.moving, c.validation) for c in costs), strict=True)
    )
    left = 60 * minutes - spent - REPORTING - fixed
    most = max(cost.validations for cost in costs)
    validations = max([v for v in range(1, most + 1) if v * watching <= WATCHING * left], default=1)
    factor = (left - validations * watching) / moving
    least = min(cost.steps for cost in costs)
    if factor * least < FEWEST:
        needed = math.ceil((spent + REPORTING + fixed + watching + moving * FEWEST / least) / 60) + 1
        raise StudyError(
            f"{minutes:g} minutes are too few: beside training, its {len(costs)} parts take about "
            f"{(fixed + watching) / 60:.0f} minutes on {slots} at a time, which leaves fewer than {FEWEST} steps for "
            f"each. Give at least {needed} minutes, or fewer rows, folds or seeds."
        )
    return Shortening(factor=min(factor, 1.0), validations=validations)


def _shared(total: Seconds, longest: Seconds, slots: int) -> Seconds:
    crowded = CROWDED if slots > 1 else 1.0
    return max(crowded * total / slots, crowded * longest) + REPORTING
