"""What travels through the data pipeline."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edgewise.types import Affine, Image, Labels, Spacing


@dataclass(frozen=True, kw_only=True)
class CaseFiles:
    """Where one case lies on disk.

    Attributes:
        id: unique name within the dataset.
        images: one file for each channel, in channel order (or one file that holds all channels); the image of a
            DICOM series is its folder.
        label: the reference mask; `None` where there is none (a case to predict).
        values: the value that each class is stored under in the mask, such as (0, 1, 2, 4); () where each is stored
            under its number.
    """

    id: str
    images: tuple[Path, ...]
    label: Path | None = None
    values: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A folder of cases, as its layout describes it.

    Attributes:
        root: the folder.
        layout: which layout was recognised.
        name: name of the dataset.
        cases: labelled cases, sorted by id.
        classes: class names; the index is the label and class 0 is the background.
        channels: channel names, such as `("CT",)` or `("T1", "T2")`.
    """

    root: Path
    layout: str
    name: str
    cases: tuple[CaseFiles, ...]
    classes: tuple[str, ...]
    channels: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The grid a file was stored on, so that a prediction can go back onto exactly that grid.

    Attributes:
        path: what it was read from; decides the format of what is written.
        shape: stored shape, (x, y, z).
        affine: stored voxel-to-world matrix (RAS+, mm).
    """

    path: Path
    shape: tuple[int, ...]
    affine: Affine


@dataclass(frozen=True, kw_only=True)
class Case:
    """One image with its reference, axes turned to the closest canonical orientation (RAS+).

    Attributes:
        id: unique name within the dataset.
        image: (K, x, y, z) float32.
        labels: (x, y, z) uint8; `None` where there is no reference.
        spacing: voxel size along x, y, z in mm.
        affine: voxel-to-world matrix of the canonical array.
        grid: the stored grid.
    """

    id: str
    image: Image
    labels: Labels | None
    spacing: Spacing
    affine: Affine
    grid: Grid
    notes: Mapping[str, str] = field(default_factory=dict)
