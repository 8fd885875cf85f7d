"""What a dataset is like, in numbers: sizes, spacings, class volumes, intensities. Plans are made of it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgewise.data.case import Case, CaseFiles
from edgewise.data.volumes import files_of
from edgewise.types import Spacing

# Per case, so that a dataset of any size fits in memory and a large case does not drown the small ones.
SAMPLE = 10_000


@dataclass(frozen=True, kw_only=True)
class CaseFacts:
    """One case in numbers, axes in canonical order.

    Attributes:
        id: unique name within the dataset.
        shape: voxels along x, y, z.
        spacing: voxel size along x, y, z in mm.
        voxels: how many voxels each label value has; the index is the value.
        digest: of the bytes of its files.
    """

    id: str
    shape: tuple[int, ...]
    spacing: Spacing
    voxels: tuple[int, ...]
    digest: str


@dataclass(frozen=True, kw_only=True)
class ChannelFacts:
    """Intensities of the foreground voxels of one channel over all cases, in the units of the image.

    `minimum` and `maximum` are exact; the others are estimates from at most 10,000 random voxels a case.
    """

    mean: float
    std: float
    p005: float
    p995: float
    minimum: float
    maximum: float


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """A dataset in numbers.

    Attributes:
        cases: sorted by id.
        channels: one entry a channel; empty if no case has foreground.
        digest: of ids and contents of all cases.
    """

    cases: tuple[CaseFacts, ...]
    channels: tuple[ChannelFacts, ...]
    digest: str

    @property
    def median_spacing(self) -> Spacing:
        """Median voxel size along each canonical axis, in mm."""
        return tuple(float(size) for size in np.median([case.spacing for case in self.cases], axis=0))

    @property
    def median_shape(self) -> tuple[int, ...]:
        """Median number of voxels along each canonical axis, rounded."""
        return tuple(round(float(size)) for size in np.median([case.shape for case in self.cases], axis=0))

    def dump(self) -> dict[str, Any]:
        """As plain JSON data, for `load`."""
        return asdict(self)

    @classmethod
    def load(cls, data: Mapping[str, Any]) -> "Fingerprint":
        """From what `dump` gave, also after a detour through JSON."""
        cases = tuple(
            CaseFacts(
                id=case["id"],
                shape=tuple(case["shape"]),
                spacing=tuple(case["spacing"]),
                voxels=tuple(case["voxels"]),
                digest=case["digest"],
            )
            for case in data["cases"]
        )
        channels = tuple(ChannelFacts(**channel) for channel in data["channels"])
        return cls(cases=cases, channels=channels, digest=data["digest"])


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What one case contributes to the fingerprint.

    Attributes:
        facts: the case in numbers.
        sample: (K, n) float32 intensities of n ≤ 10,000 foreground voxels, without replacement.
        ranges: (K, 2) float32 minimum and maximum of the foreground; (K, 0) where there is none.
    """

    facts: CaseFacts
    sample: NDArray[np.float32]
    ranges: NDArray[np.float32]


def observe(case: Case, classes: int, digest: str) -> Observation:
    """Count and sample one labelled case; the same case always gives the same sample.

    Args:
        case: with labels.
        classes: number of classes, so that absent ones are counted as 0.
        digest: of the files of the case, see `content_digest`.
    """
    labels = np.zeros(0, dtype=np.uint8) if case.labels is None else case.labels
    foreground = np.flatnonzero(labels)
    values = case.image.reshape(len(case.image), -1)
    inside = values[:, foreground]
    ranges = np.stack([inside.min(axis=1), inside.max(axis=1)], axis=1) if foreground.size else inside
    if foreground.size > SAMPLE:
        inside = inside[:, np.random.default_rng(0).choice(foreground.size, SAMPLE, replace=False)]
    facts = CaseFacts(
        id=case.id,
        shape=case.image.shape[1:],
        spacing=case.spacing,
        voxels=tuple(int(count) for count in np.bincount(labels.ravel(), minlength=classes)),
        digest=digest,
    )
    return Observation(facts=facts, sample=inside, ranges=ranges)


def pool(observations: Sequence[Observation]) -> Fingerprint:
    """The fingerprint of all cases; their order does not matter."""
    ordered = sorted(observations, key=lambda observation: observation.facts.id)
    whole = blake2b(digest_size=16)
    for one in ordered:
        whole.update(f"{one.facts.id}\0{one.facts.digest}\0".encode())
    seen = [one for one in ordered if one.sample.size]
    channels: tuple[ChannelFacts, ...] = ()
    if seen:
        sample = np.concatenate([one.sample for one in seen], axis=1, dtype=np.float64)
        ranges = np.concatenate([one.ranges for one in seen], axis=1)
        channels = tuple(_channel(s, r) for s, r in zip(sample, ranges, strict=True))
    return Fingerprint(cases=tuple(one.facts for one in ordered), channels=channels, digest=whole.hexdigest())


def content_digest(files: CaseFiles) -> str:
    """blake2b of the bytes of all files of a case, whatever their names and times, and of what its labels stand for."""
    whole = blake2b(digest_size=16)
    for path in (*files.images, *([files.label] if files.label else [])):
        if path.is_dir():
            # Slices are sorted by their positions on reading, so that their names mean nothing here.
            for digest in sorted(blake2b(b"".join(_blocks(part))).digest() for part in files_of(path)):
                whole.update(digest)
        else:
            for block in (block for part in files_of(path) for block in _blocks(part)):
                whole.update(block)
        whole.update(b"\0")
    whole.update(bytes(files.values))
    return whole.hexdigest()


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from iter(lambda: file.read(1 << 20), b"")


def _channel(sample: NDArray[np.float64], ranges: NDArray[np.float32]) -> ChannelFacts:
    low, high = np.percentile(sample, [0.5, 99.5])
    return ChannelFacts(
        mean=float(sample.mean()),
        std=float(sample.std()),
        p005=float(low),
        p995=float(high),
        minimum=float(ranges.min()),
        maximum=float(ranges.max()),
    )
