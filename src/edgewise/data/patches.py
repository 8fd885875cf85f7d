"""Training patches: which case, which place, and what is cut out there. A patch is a pure function of its number."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset as TorchDataset
from typing_extensions import override

from edgewise.data import augment
from edgewise.data.prepare import PreparedCase, PreparedSet
from edgewise.data.sampling import AnySampling, RandomPlaces
from edgewise.types import Spacing


@dataclass(frozen=True, kw_only=True)
class Patch:
    """One training example.

    Attributes:
        image: (K, *patch) float32.
        labels: (*patch) uint8.
        case: id of the case it was cut from.
    """

    image: NDArray[np.float32]
    labels: NDArray[np.uint8]
    case: str


@dataclass(frozen=True, kw_only=True)
class Patches(TorchDataset[Patch]):
    """An endless, numbered row of patches: number n is the same whenever, wherever and by whichever worker it is made.

    That makes resuming exact: the position in the data is one number, and workers have no state. Within an epoch every
    case comes once, in an order shuffled by the epoch.

    Attributes:
        cases: the prepared cases.
        ids: which of them to draw from.
        patch: patch size along the network's axes; two axes cut slices along the first prepared axis.
        spacing: voxel size along the network's axes, in mm.
        foreground: share of patches that are sure to hold foreground.
        augmentation: what may be changed.
        seed: everything random follows from it and the number.
        sampling: where in a case they are cut.
    """

    cases: PreparedSet
    ids: tuple[str, ...]
    patch: tuple[int, ...]
    spacing: Spacing
    foreground: float
    augmentation: augment.Augmentation
    seed: int
    sampling: AnySampling = RandomPlaces()

    @override
    def __getitem__(self, number: int) -> Patch:
        epoch, place = divmod(number, len(self.ids))
        order = np.random.default_rng((self.seed, 1, epoch)).permutation(len(self.ids))
        rng = np.random.default_rng((self.seed, 2, number))
        case = self.cases.load(self.ids[order[place]])
        change = augment.draw(self.augmentation, self.patch, self.spacing, rng)
        centre = self.sampling.centre(case, self.patch, self.foreground, rng)
        image, labels = self._cut(case, centre, augment.reach(change, self.patch))
        image, labels = augment.apply_spatial(image, labels, change, self.patch)
        return Patch(image=augment.apply_intensity(image, change), labels=labels, case=case.id)

    def _cut(
        self, case: PreparedCase, centre: NDArray[np.float64], reach: tuple[int, ...]
    ) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """The box about `centre`; outside the image it is 0, the mean of a normalised image, and background."""
        image, labels = case.image, case.labels
        if len(self.patch) < labels.ndim:
            image, labels, centre = image[:, int(centre[0])], labels[int(centre[0])], centre[1:]
        start = np.floor(centre - reach).astype(int)
        stop = np.ceil(centre + reach).astype(int) + 1
        inside = tuple(slice(max(a, 0), max(min(b, n), 0)) for a, b, n in zip(start, stop, labels.shape, strict=True))
        pad = [
            (min(max(-a, 0), b - a), min(max(b - n, 0), b - a))
            for a, b, n in zip(start, stop, labels.shape, strict=True)
        ]
        box = np.pad(np.asarray(image[(slice(None), *inside)], np.float32), [(0, 0), *pad])
        return box, np.pad(np.asarray(labels[inside]), pad)
