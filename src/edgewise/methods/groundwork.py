"""What goes before the main training: a network that learns from reference masks alone, and the file that holds it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch

from edgewise.errors import RunError
from edgewise.training import checkpoint
from edgewise.training.learner import Learner
from edgewise.types import Spacing

Laid: TypeAlias = Mapping[str, Mapping[str, Any]]
"""The weights that every groundwork of a method has trained, by its name."""


@dataclass(frozen=True, kw_only=True)
class Groundwork:
    """A training on reference masks alone that goes before the main one.

    Its learner's predictor maps one-hot labels (B, C, *space) to one channel a foreground class, (B, C-1, *space).
    A validation scores the Dice of what lies above `threshold` there with the mask of the class.

    Attributes:
        name: of the network that it trains; the file `checkpoints/NAME.pt` holds its weights.
        about: what the weights are for, as plain data; it lies in the file beside them.
        spacing: voxel size they are trained at, in mm; it lies there, too.
        file: such a file of another run, whose weights are taken instead; `train` trains.
        learner: what is trained.
        steps: training steps at most.
        batch: patches in a batch.
        validate_every: steps between validations.
        threshold: above it a predicted map stands for its class.
        enough: mean validation Dice at which this training ends.
        expected: mean validation Dice below which the user is warned.
    """

    name: str
    about: Mapping[str, Any]
    spacing: Spacing
    file: Path | Literal["train"]
    learner: Learner
    steps: int
    batch: int
    validate_every: int
    threshold: float
    enough: float
    expected: float


@dataclass(frozen=True, kw_only=True)
class Foundation:
    """The network that a groundwork has trained.

    Attributes:
        weights: of the best validation.
        score: its mean validation Dice.
        step: training steps until then.
        about: what the weights are for.
        spacing: voxel size they were trained at, in mm. A run with another may use them.
    """

    weights: Mapping[str, Any]
    score: float
    step: int
    about: Mapping[str, Any]
    spacing: Spacing

    def save(self, path: Path) -> None:
        """Write the file, whole or not at all."""
        checkpoint.save(path, {**vars(self), "spacing": list(self.spacing)})


def read(path: Path, device: torch.device, name: str, about: Mapping[str, Any]) -> Foundation:
    """Read the file of a groundwork.

    Args:
        path: the file, `checkpoints/NAME.pt` of a run.
        device: where to.
        name: of the groundwork.
        about: what the weights must be for.

    Raises:
        RunError: there is no such file, it holds something else, or weights for another purpose; says for which.
    """
    if not path.is_file():
        raise RunError(f"there is no {name} at {path}. Pass the checkpoints/{name}.pt of a run that has trained one.")
    content = checkpoint.load(path, device)
    if content.keys() != {each.name for each in fields(Foundation)}:
        raise RunError(f"{path} holds no {name}. Pass the checkpoints/{name}.pt of a run that has trained one.")
    found = Foundation(**{**content, "spacing": tuple(content["spacing"])})
    wrong = list(_differences(found.about, about))
    if wrong:
        raise RunError(
            f"{path} does not fit this run: it holds a {name} with {'; '.join(wrong)}. It reached a Dice of "
            f"{found.score:.3f} on its validation masks. Pass one that fits, change the settings, or train one "
            "(`method.file: train`)."
        )
    return found


def _differences(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[str]:
    for key in {**wanted, **found}:
        has, needs = _plain(found.get(key, "not said")), _plain(wanted.get(key, "not said"))
        if has != needs:
            yield f"{key} {has}, where {needs} is needed"


def _plain(value: Any) -> Any:
    """Without the difference between tuples and lists."""
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value
