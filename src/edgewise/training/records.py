"""What a training run says while it goes: plain records, written by the shell as JSON lines."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

UNITS = {"seconds": "s", "loss": "1", "rate": "1", "dice": "1", "mean_dice": "1", "samples_per_second": "1/s"}
"""Units of the records' fields; the journal's first line."""


@dataclass(frozen=True, kw_only=True)
class Trained:
    """Some training steps are done.

    Attributes:
        step: steps done since the start of training.
        seconds: time spent training and validating so far, over all sessions of a resumed run.
        loss: mean loss of the steps since the last such record.
        rate: learning rate of the last step.
    """

    event: ClassVar[str] = "train"
    step: int
    seconds: float
    loss: float
    rate: float


@dataclass(frozen=True, kw_only=True)
class Validated:
    """The averaged network was tried on the validation cases.

    Attributes:
        step: steps done.
        seconds: as in `Trained`.
        dice: mean Dice over cases, by class.
        mean_dice: mean over foreground classes.
        best: whether no earlier validation was better.
    """

    event: ClassVar[str] = "validation"
    step: int
    seconds: float
    dice: Mapping[str, float]
    mean_dice: float
    best: bool


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The averaged network of this moment is to be kept.

    Attributes:
        step: steps done; 0 before the first.
        seconds: as in `Trained`.
    """

    event: ClassVar[str] = "snapshot"
    step: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Ended:
    """Training is over.

    Attributes:
        step: steps done.
        seconds: as in `Trained`.
        reason: why it ended.
        best_step: step of the best validation.
        best_mean_dice: its score.
    """

    event: ClassVar[str] = "end"
    step: int
    seconds: float
    reason: str
    best_step: int
    best_mean_dice: float


@dataclass(frozen=True, kw_only=True)
class Diverged:
    """A step spoilt the weights, which are not saved: training stops.

    Attributes:
        step: the step that did it, counted from 1.
        seconds: as in `Trained`.
        cases: ids of the cases in its batch.
        reason: what is no longer finite.
    """

    event: ClassVar[str] = "diverged"
    step: int
    seconds: float
    cases: tuple[str, ...]
    reason: str


Record: TypeAlias = Trained | Validated | Snapshot | Ended | Diverged
