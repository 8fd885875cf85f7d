"""Prepare cases once, keep them as memory-mappable files, and trust only what was finished.

A prepared case is a folder named by the content of the case and the settings. It is written under a temporary
name and takes its place by one rename, so whatever has the final name is whole.
"""

import json
import os
import shutil
import socket
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from functools import lru_cache
from hashlib import sha256
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Thread
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from edgewise.data.case import CaseFiles
from edgewise.data.locations import locations
from edgewise.data.transform import Preparation, Prepared, Undo, restore, transform
from edgewise.errors import DataError, EdgewiseError, OutputError, RunError
from edgewise.files import output_folder
from edgewise.types import Image, Labels, Spacing

__all__ = [
    "Preparation",
    "Prepared",
    "PreparedCase",
    "PreparedSet",
    "Undo",
    "prepare",
    "restore",
    "transform",
]

Progress = Callable[[int, int], None]

_BYTES_A_WORKER = 16 << 20
_ABANDONED_S = 24 * 3600.0


@dataclass(frozen=True, kw_only=True)
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
    """

    id: str
    image: Image
    labels: Labels
    locations: tuple[NDArray[np.int32], ...]
    spacing: Spacing
    undo: Undo


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


def prepare(
    files: Sequence[CaseFiles],
    preparation: Preparation,
    folder: Path,
    *,
    workers: int,
    digests: Mapping[str, str],
    progress: Progress,
) -> PreparedSet:
    """Read, transform and keep every case that is not there yet.

    Stop it at any moment and call it again: it goes on where it was. Several processes may share a folder.
    One worker's memory stays below six float32 volumes.

    Args:
        files: cases with a label.
        preparation: the settings.
        folder: where prepared cases lie; may hold those of other settings and datasets.
        workers: processes at most; 1 works in this one, as do cases so small that starting more costs more.
        digests: what identifies the content of each case's files, by id.
        progress: told (cases done, all cases), first for what was there already.

    Returns:
        All cases.

    Raises:
        DataError: cases failed: every one is named with its file; the other cases are prepared and kept.
        OutputError: `folder` cannot be written.
        RunError: a worker process was killed.
    """
    output_folder(folder)
    _clear_abandoned(folder)
    folders = {case.id: folder / _name(digests[case.id], preparation) for case in files}
    pending = {folders[case.id]: case for case in files if not folders[case.id].is_dir()}
    done = len(files) - len(pending)
    progress(done, len(files))
    tasks = [(case, preparation, target) for target, case in pending.items()]
    failures = []
    with closing(_work(tasks, _worthwhile(tasks, workers))) as outcomes:
        for failure in outcomes:
            done += 1
            failures += [failure] if failure else []
            progress(done, len(files))
    if failures:
        raise DataError(f"{len(failures)} of {len(files)} cases cannot be prepared:\n" + "\n".join(sorted(failures)))
    return PreparedSet(folders=folders)


def _name(content: str, preparation: Preparation) -> str:
    return sha256(f"{content} {preparation.digest()}".encode()).hexdigest()[:32]


# --- one case


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
    )


def _prepare_case(task: tuple[CaseFiles, Preparation, Path]) -> str:
    """Prepare one case; what went wrong, or "" if nothing did."""
    from edgewise.data.images import read_case

    files, preparation, target = task
    try:
        prepared = transform(read_case(files), preparation)
    except (EdgewiseError, OSError, ValueError, RuntimeError, MemoryError) as error:
        name = "" if isinstance(error, EdgewiseError) else f"{type(error).__name__}: "
        return f"case {files.id} ({files.images[0]}): {name}{error}"
    if prepared.labels is None:
        return f"case {files.id} ({files.images[0]}): it has no label. Add one, or leave the case out."
    _keep(prepared, prepared.labels, preparation, target)
    return ""


def _keep(prepared: Prepared, labels: Labels, preparation: Preparation, target: Path) -> None:
    places = locations(labels)
    record = {
        "id": prepared.id,
        "spacing": prepared.spacing,
        "shape": labels.shape,
        "locations": [len(rows) for rows in places],
        "undo": asdict(prepared.undo),
        "preparation": asdict(preparation),
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
                f"cannot write {target}: {error.strerror or error}. Choose a writable folder with space."
            ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _clear_abandoned(folder: Path) -> None:
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
    return True


# --- many cases


def _worthwhile(tasks: Sequence[tuple[CaseFiles, Preparation, Path]], workers: int) -> int:
    """A process a second of work: it takes about that long to start one."""
    paths = {path for case, _, _ in tasks for path in case.images}
    size = sum(path.stat().st_size for path in paths if path.is_file())
    return min(workers, len(tasks), 1 + size // _BYTES_A_WORKER)


def _work(tasks: Sequence[tuple[CaseFiles, Preparation, Path]], workers: int) -> Generator[str]:
    """The outcome of each task, as they finish. Worker processes end with this one, however it ends."""
    if workers <= 1:
        with _one_thread():
            yield from map(_prepare_case, tasks)
        return
    spawn = get_context("spawn")
    lifeline, held = spawn.Pipe(duplex=False)
    pool = ProcessPoolExecutor(workers, mp_context=spawn, initializer=_start_worker, initargs=(lifeline,))
    try:
        for future in as_completed([pool.submit(_prepare_case, task) for task in tasks]):
            yield future.result()
    except BrokenProcessPool as error:
        raise RunError(
            "a process that prepared cases was killed, most likely for lack of memory. "
            "Run again with fewer workers: finished cases are kept."
        ) from error
    except BaseException:
        held.close()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        held.close()
        lifeline.close()


@contextmanager
def _one_thread() -> Iterator[None]:
    """As a worker process has it, for equal numbers; and beside other work, waiting for threads cost 20x."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _start_worker(lifeline: Connection) -> None:
    import signal

    import torch

    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process decides, and closes the lifeline
    Thread(target=_end_with, args=(lifeline,), daemon=True).start()


def _end_with(lifeline: Connection) -> Any:
    """Wait for the end of the other side: its process stopped or was killed, so this work is in vain."""
    try:
        lifeline.recv()
    except (EOFError, OSError):
        os._exit(1)
