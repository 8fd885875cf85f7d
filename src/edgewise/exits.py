"""How a program of Edgewise ends: its exit codes, and what it says on the way out."""

import os
import sys
from collections.abc import Callable, Mapping

from edgewise.console import say
from edgewise.errors import EdgewiseError

DONE, SOME_FAILED, WRONG_INPUT, INTERRUPTED = 0, 1, 2, 130


def named(failures: Mapping[str, str]) -> int:
    """Name what failed; return the exit code."""
    for name, reason in sorted(failures.items()):
        say(f"failed: {name}: {reason}")
    return SOME_FAILED if failures else DONE


def exit_code(work: Callable[[], int]) -> int:
    """Do the work; the exit code it returns, or that of the error that ended it, which is said."""
    try:
        code = work()
        sys.stdout.flush()
    except EdgewiseError as error:
        say(f"edgewise: {error}")
        code = WRONG_INPUT
    except BrokenPipeError:  # who reads the output, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = DONE
    except KeyboardInterrupt:
        say("edgewise: interrupted. Nothing is lost: a study goes on with the same command, a training with --resume.")
        code = INTERRUPTED
    return code
