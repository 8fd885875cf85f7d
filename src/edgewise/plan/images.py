"""The rules that decide what is done to images before a network sees them: each gives a value and its reason."""

from dataclasses import replace

from edgewise.data.bias_field import AnyBiasField
from edgewise.data.crop import AnyCrop, LabelRange
from edgewise.data.fingerprint import Fingerprint
from edgewise.data.intensity import AnyIntensity, ClipZScore, PercentileZScore
from edgewise.errors import ExperimentError
from edgewise.plan.records import PlanSettings

SET = "set by the experiment"
"""The reason of what nobody had to decide."""


def crop(settings: PlanSettings, classes: tuple[str, ...]) -> tuple[AnyCrop, str]:
    """What is cut away, with label values for the names of classes."""
    if isinstance(settings.crop, LabelRange):
        chosen = settings.crop.known(classes)
        return chosen, f"{SET}; where there is no reference to go by, and for validation, crop is {chosen.within}"
    if settings.crop == "body":
        return "body", "voxels around the body carry no information; decided from the image"
    return settings.crop, SET


def bias_field(settings: PlanSettings, channels: tuple[str, ...]) -> tuple[AnyBiasField, str]:
    """Which channels are corrected: those that were named, or all but CT."""
    n4 = settings.bias_field
    if n4 == "none":
        return "none", "images are corrected only where the experiment says so"
    chosen = tuple(c for c, name in enumerate(channels) if not is_ct(name)) if n4.channels == "auto" else n4.channels
    beyond = [c for c in chosen if c >= len(channels)]
    if beyond:
        raise ExperimentError(
            f"plan.bias_field.channels holds {beyond[0]}, but the channels are numbered 0 to {len(channels) - 1}."
        )
    if not chosen or any(is_ct(channels[c]) for c in chosen):
        raise ExperimentError(
            f"plan.bias_field: n4 corrects the coils of MR scanners, but CT channels ({', '.join(channels)}) have "
            "calibrated units and no such field. Leave it out, or name the MR channels in plan.bias_field.channels."
        )
    names = ", ".join(channels[c] for c in chosen)
    return replace(n4, channels=chosen), SET if n4.channels != "auto" else f"every channel that is not CT: {names}"


def intensity(
    settings: PlanSettings, fingerprint: Fingerprint, channels: tuple[str, ...]
) -> tuple[tuple[AnyIntensity, ...], str]:
    """One normalisation for each channel."""
    given = settings.intensity
    if given != "auto":
        if len(given) != len(channels):
            raise ExperimentError(
                f"plan.intensity has {len(given)} entries, but the images have {len(channels)} channels "
                f"({', '.join(channels)}). Give one for each channel."
            )
        return given, SET
    reason = (
        "CT channels: clip to the foreground's 0.5-99.5 percentiles over the dataset, then z-score with the "
        "foreground's mean and deviation; other channels: clip to the image's own percentiles, then z-score"
    )
    return tuple(_normalisation(fingerprint, number, name) for number, name in enumerate(channels)), reason


def is_ct(name: str) -> bool:
    """Whether a channel of this name holds Hounsfield units."""
    return name.strip().upper() in {"CT", "CTA", "HU"}


def _normalisation(fingerprint: Fingerprint, number: int, name: str) -> AnyIntensity:
    if not is_ct(name):
        return PercentileZScore()
    if not fingerprint.channels:
        raise ExperimentError(
            f"no case has foreground, so there is nothing to normalise channel {name} by. Set plan.intensity."
        )
    facts = fingerprint.channels[number]
    if facts.p005 >= facts.p995:
        raise ExperimentError(
            f"the foreground of channel {name} has the single value {facts.p005:g}: it cannot be told apart from "
            "anything. Check the images, or set plan.intensity."
        )
    return ClipZScore(lower=facts.p005, upper=facts.p995, mean=facts.mean, std=max(facts.std, 1e-3))
