"""What applying a network to a prepared volume gives."""

from dataclasses import dataclass

from numpy import float16
from numpy.typing import NDArray

from edgewise.detection.boxes import Box


@dataclass(frozen=True, kw_only=True)
class Region:
    """A part of a volume that a locator found, and that was then segmented.

    Attributes:
        box: around the object, in voxels of the prepared volume; a slice is a box one voxel thick.
        roi: what was segmented, the margin included; it may reach beyond the volume.
        kind: number of the kind of object.
        score: its probability, as the locator says.
    """

    box: Box
    roi: Box
    kind: int
    score: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Heat:
    """How sure a locator is of an object, coarser than the volume.

    Attributes:
        values: (*cells) float16 in [0, 1], three axes.
        step: voxels of the volume from one cell to the next, by axis.
    """

    values: NDArray[float16]
    step: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Prediction:
    """What applying a network to a prepared volume gives.

    Attributes:
        probabilities: (C, *volume) float16 in [0, 1].
        regions: where a two-stage network looked; empty where it found nothing, and for all other networks.
        heat: of a two-stage network's locator; `None` for all other networks.
    """

    probabilities: NDArray[float16]
    regions: tuple[Region, ...] = ()
    heat: Heat | None = None

    @property
    def blank(self) -> bool:
        """Whether a locator has looked, and found nothing."""
        return self.heat is not None and not self.regions
