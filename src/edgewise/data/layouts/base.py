"""What a layout is, and what a look at a folder gives."""

from collections.abc import Callable
from dataclasses import dataclass

from edgewise.data.case import Dataset
from edgewise.data.folders import Defect, Folder


@dataclass(frozen=True, kw_only=True)
class Scan:
    """What a look at a dataset's folders and `dataset.json` gives: labelled pairs, and all that is none."""

    dataset: Dataset
    defects: tuple[Defect, ...]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """One way to lay out a dataset.

    Attributes:
        name: for records.
        describe: what a user must have for it, for messages.
        fits: is the folder laid out so?
        scan: reads it.
    """

    name: str
    describe: str
    fits: Callable[[Folder], bool]
    scan: Callable[[Folder], Scan]
