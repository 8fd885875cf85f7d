"""`edgewise ARGUMENTS`, killed by itself when a file is about to appear: `python dying.py NAME COUNT ARGUMENTS`.

Not at a moment but at a place, so that the tests do not depend on how fast the machine is.
"""

import os
import signal
import sys
from pathlib import Path


def watching(name, count):
    """An audit hook. Every file appears by a rename, see `edgewise.files.atomic`; python tells of it before."""
    left = [count]

    def watch(event, details):
        if event == "os.rename" and Path(os.fsdecode(details[1])).name == name:
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)

    return watch


if __name__ == "__main__":
    from edgewise.cli import main

    sys.addaudithook(watching(sys.argv[1], int(sys.argv[2])))
    main(sys.argv[3:])
