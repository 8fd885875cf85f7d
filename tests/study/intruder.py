"""Something that happens to one part of a study at a place in the code: it is killed, or held up there.

Lies as `sitecustomize.py` on the path of a study's processes, and acts in those of the part that `INTRUDER` names:
`ROW NAME COUNT kill|hold MARK`. When a file NAME is about to appear for the COUNT-th time, the file MARK gets the
process's number, and then the process is killed, or waits there for ever.
"""

import os
import signal
import sys
import time
from pathlib import Path


def watching(name, count, act, mark):
    """An audit hook. Every file appears by a rename, see `edgewise.files.atomic`; python tells of it before."""
    left = [int(count)]

    def watch(event, details):
        if event != "os.rename" or Path(os.fsdecode(details[1])).name != name:
            return
        left[0] -= 1
        if left[0]:
            return
        Path(f"{mark}.new").write_text(str(os.getpid()), "utf-8")
        Path(f"{mark}.new").replace(mark)
        if act == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        while True:
            time.sleep(60)

    return watch


if "INTRUDER" in os.environ and "edgewise.study.part" in sys.orig_argv:
    _row, *_rest = os.environ["INTRUDER"].split()
    if sys.orig_argv[-1].startswith(_row):
        sys.addaudithook(watching(*_rest))
