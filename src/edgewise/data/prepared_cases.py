"""Prepared cases on disk: memory-mappable files in folders that are whole or absent.

A case's folder is written under a temporary name and takes its place by one rename.
"""

import json
import os
import shutil
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from edgewise.data.locations import locations
from edgewise.data.transform import Preparation, Prepared, Undo
from edgewise.errors import DataError, OutputError
from edgewise.types import Image, Labels, Spacing

_ABANDONED_S = 24 * 3600.0


# Compared and hashed as an object, because arrays are not: what is known of a case can be kept by the case.
@dataclass(frozen=True, kw_only=True, eq=False)
class PreparedCase:
    """A prepared case on disk; `image` and `labels` are memory-mapped and read only.

    Attributes:
        id: the case.
        image: (K, *space) float32, axes in prepared order.
        labels: (*space) uint8.
        locations: (n, 3) int32 voxel indices of each class, by label; at most 10,000 a class (see
            `data.locations`). A label beyond the end, or with no rows, does not occur in the case.
        spacing: voxel size in mm, in prepared axis order.
        undo: the way back to the canonical grid.
        notes: what could not be done to it, and why.
    """

    id: str
    image: Image
    labels: Labels
    locations: tuple[NDArray[np.int32], ...]
    spacing: Spacing
    undo: Undo
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class PreparedSet:
    """Prepared cases by id. Cheap to send to another process: it holds paths only.

    Attributes:
        folders: where each case lies.
    """

    folders: Mapping[str, Path]

    def load(self, id: str) -> PreparedCase:  # noqa: A002 (what the field is called everywhere)
        """Open one case; opening it again costs nothing.

        Raises:
            DataError: it is not in the set.
        """
        if id not in self.folders:
            raise DataError(f"case {id} is not among the {len(self.folders)} prepared cases.")
        return _open(id, self.folders[id])

    def warnings(self) -> tuple[str, ...]:
        """What could not be done to cases, one sentence for all cases of which it is true."""
        by_note: dict[str, list[str]] = {}
        for name in self.folders:
            for note in self.load(name).notes:
                by_note.setdefault(note, []).append(name)
        return tuple(f"{_listed(names)}: {note}" for note, names in by_note.items())


def keep(prepared: Prepared, labels: Labels, preparation: Preparation, target: Path) -> None:
    """Write a prepared case with its labels as the folder `target`.

    Raises:
        OutputError: it cannot be written.
    """
    places = locations(labels)
    record = {
        "id": prepared.id,
        "spacing": prepared.spacing,
        "shape": labels.shape,
        "locations": [len(rows) for rows in places],
        "undo": asdict(prepared.undo),
        "preparation": asdict(preparation),
        "notes": prepared.notes,
    }
    with _whole_folder(target) as folder:
        np.save(folder / "image.npy", prepared.image)
        np.save(folder / "labels.npy", labels)
        np.save(folder / "locations.npy", np.concatenate(places))
        (folder / "case.json").write_text(json.dumps(record, indent=1), encoding="utf-8")


@contextmanager
def _whole_folder(target: Path) -> Iterator[Path]:
    """Give a temporary folder that becomes `target` by one rename, unless another process was faster."""
    name = f".{socket.gethostname()}.{os.getpid()}.partial.{uuid4().hex[:8]}.{target.name}"
    temporary = target.with_name(name)
    try:
        temporary.mkdir()
        yield temporary
        for path in temporary.iterdir():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        if not target.is_dir():
            temporary.replace(target)
    except OSError as error:
        if not target.is_dir():
            raise OutputError(
                f"cannot write {target}: {error.strerror or error}. Make space, or choose a writable folder."
            ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def clear_abandoned(folder: Path) -> None:
    """Remove temporary folders whose process is gone; of another machine's, those that are a day old."""
    for path in folder.glob(".*.partial.*"):
        host, _, pid = path.name[1:].partition(".partial.")[0].rpartition(".")
        try:
            old = time.time() - path.stat().st_mtime > _ABANDONED_S
        except OSError:  # its owner was faster
            continue
        if old or (host == socket.gethostname() and pid.isdigit() and not _runs(int(pid))):
            shutil.rmtree(path, ignore_errors=True)


def _runs(pid: int) -> bool:
    if os.name != "posix":
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return not _ended(pid)


def _ended(pid: int) -> bool:
    """Whether a process has ended though nobody has asked how: in a container that may stay so for ever."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return False


@lru_cache(maxsize=4096)
def _open(name: str, folder: Path) -> PreparedCase:
    record = json.loads((folder / "case.json").read_text(encoding="utf-8"))
    undo = record["undo"]
    places = np.asarray(np.load(folder / "locations.npy", mmap_mode="r"))
    ends = np.cumsum(record["locations"])
    return PreparedCase(
        id=name,
        image=np.load(folder / "image.npy", mmap_mode="r"),
        labels=np.load(folder / "labels.npy", mmap_mode="r"),
        locations=tuple(np.split(places, ends[:-1])),
        spacing=tuple(record["spacing"]),
        undo=Undo(
            shape=tuple(undo["shape"]),
            axes=tuple(undo["axes"]),
            box=tuple(tuple(edges) for edges in undo["box"]),
        ),
        notes=tuple(record["notes"]),
    )


def _listed(names: list[str]) -> str:
    if len(names) == 1:
        return f"case {names[0]}"
    more = f" and {len(names) - 5} more" if len(names) > 6 else ""
    return f"{len(names)} cases ({', '.join(names[:5] if more else names)}{more})"
