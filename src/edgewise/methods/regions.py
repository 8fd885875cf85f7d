"""The segmentation loss on regions, as methods with two stages need it."""

from collections.abc import Sequence

import torch
from torch import Tensor

from edgewise.detection.boxes import Grouping
from edgewise.training.descent import Reading, segmentation_loss
from edgewise.training.learner import Setting
from edgewise.truth import Truth

APART = 20.0
"""How far below the others the logit of a class lies that is not asked for: its probability is below 1e-8."""


def region_loss(
    logits: Sequence[Tensor], labels: Tensor, kinds: Sequence[int], setting: Setting, step: int, reading: Reading
) -> Tensor:
    """The segmentation loss on regions, with whatever maps it needs.

    Args:
        logits: (N, C, *size) and coarser ones.
        labels: (N, *size).
        kinds: the kind of object in each region; all but its class is background there, see `asked`. None of them
            where regions hold the whole foreground.
        setting: loss and spacing.
        step: of the training.
        reading: how coarse outputs are compared.
    """
    if kinds:
        labels = labels.where(labels == _classes(kinds, labels), torch.zeros_like(labels))
        logits = [asked(each, kinds) for each in logits]
    truth = Truth.of(labels, classes=setting.topology.classes, spacing=setting.spacing, needs=setting.loss.needs)
    return segmentation_loss(logits, truth, setting.loss.at(step / setting.epoch), reading)


def asked(logits: Tensor, kinds: Sequence[int]) -> Tensor:
    """Logits of regions in which only the class of the object and the background are asked for.

    What an object is, the locator has said; in a region that it fills, the second network could not always tell.

    Args:
        logits: (N, C, *size).
        kinds: the kind of object in each, its class less one.

    Returns:
        The logits; those of all other classes lie `APART` below the smaller of the two.
    """
    own = _classes(kinds, logits)
    pair = torch.cat((logits[:, :1], logits.gather(1, own.expand(-1, 1, *logits.shape[2:]))), dim=1)
    least = pair.detach().amin(dim=1, keepdim=True) - APART
    numbers = torch.arange(logits.shape[1], device=logits.device).reshape(1, -1, *(1,) * (logits.ndim - 2))
    return logits.where((numbers == 0) | (numbers == own), least)


def kinds_of(chosen: Sequence[int], grouping: Grouping) -> Sequence[int]:
    """The kinds that regions are segmented for; none where a region holds the whole foreground."""
    return () if grouping == "foreground" else chosen


def _classes(kinds: Sequence[int], like: Tensor) -> Tensor:
    own = torch.tensor([kind + 1 for kind in kinds], device=like.device)
    return own.reshape(-1, *(1,) * (like.ndim - 1))
