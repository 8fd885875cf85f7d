"""Prepare cases once, in several processes, and keep them under the name of their content and the settings."""

import os
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from hashlib import sha256
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Thread
from typing import Any

from edgewise.data.case import CaseFiles
from edgewise.data.prepared_cases import PreparedCase, PreparedSet, clear_abandoned, keep
from edgewise.data.transform import Preparation, Prepared, Undo, restore, transform
from edgewise.errors import DataError, EdgewiseError, RunError
from edgewise.files import output_folder

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
    clear_abandoned(folder)
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
    keep(prepared, prepared.labels, preparation, target)
    return ""


# --- many cases


def _worthwhile(tasks: Sequence[tuple[CaseFiles, Preparation, Path]], workers: int) -> int:
    """A process a second of work: it takes about that long to start one."""
    if any(preparation.bias_field != "none" for _, preparation, _ in tasks):  # seconds a case, however small
        return min(workers, len(tasks))
    from edgewise.data.volumes import files_of

    paths = {path for case, _, _ in tasks for path in case.images}
    size = sum(file.stat().st_size for path in paths if path.exists() for file in files_of(path))
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
