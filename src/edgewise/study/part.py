"""One part of a study, in a process of its own: `python -m edgewise.study.part STUDY_FOLDER RUN_FOLDER_NAME`.

An engine runs this, on whatever machine; all it needs is in `study.yaml` and `place.json`. A part that is finished is
left as it is, one that was begun goes on, and one that another process works on is waited for.
"""

import os
import signal
import sys
from pathlib import Path
from threading import Thread

from edgewise.exits import exit_code, named
from edgewise.run.fit import Workplace, run
from edgewise.study.file import load
from edgewise.study.folder import StudyFolder


def work(folder: StudyFolder, name: str) -> int:
    """Train and evaluate one part; the exit code of `edgewise fit`."""
    place = folder.read_place()
    part = next(part for part in load(folder.study).parts if part.folder == name)
    own = Workplace(
        data=Path(place["data"]), out=folder.run(part).path, cache=Path(place["cache"]), command=place["command"]
    )
    with folder.held_part(name):
        state = folder.state(part)
        if state == "done":
            return 0
        return named(run(part.experiment, own, resume=state == "begun"))


def _end_with_its_keeper() -> None:
    """Wait for the end of the pipe from who began this process: that stopped or was killed, and so does this one.

    It is the study, or a job on a cluster, which may outlive the study.
    """
    # Not through `sys.stdin`: who holds its lock while a worker is forked keeps the worker waiting for ever.
    while os.read(0, 1024):
        pass
    if os.getpgrp() == os.getpid():  # the engine made it so: the processes that prepare and load cases go, too
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


if __name__ == "__main__":
    Thread(target=_end_with_its_keeper, daemon=True).start()
    sys.exit(exit_code(lambda: work(StudyFolder(path=Path(sys.argv[1])), sys.argv[2])))
