"""What `edgewise study --dry-run` prints: the parts, and what they will take."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from edgewise.study.budget import whole
from edgewise.study.cost import Cost, Seconds
from edgewise.study.file import Study
from edgewise.study.folder import StudyFolder


def show(study: Study, folder: StudyFolder, costs: Mapping[str, Cost], slots: int) -> None:
    """Print every part with its state, and the time and disk that the open ones take, on standard output."""
    states = {part.folder: folder.state(part) for part in study.parts}
    width = max(len(part.experiment.name) for part in study.parts)
    rows = [f"{'part':{width}}  state     steps      time      disk"]
    for part in study.parts:
        cost = costs[part.row]
        rows.append(
            f"{part.experiment.name:{width}}  {states[part.folder]:8}{cost.steps:7}  {_time(cost.seconds):>8}  "
            f"{_size(cost.disk):>8}"
        )
    open_ = [costs[part.row] for part in study.parts if states[part.folder] != "done"]
    done = len(study.parts) - len(open_)
    needed = sum(cost.disk for cost in open_)
    rows += [
        "",
        f"{len(study.parts)} parts, {done} done, {slots} at a time: about {_time(whole(open_, slots))}, and "
        f"{_size(needed)} of {_size(free(folder.path))} that are free.",
    ]
    print("\n".join(rows))  # noqa: T201 - the result


def free(path: Path) -> int:
    """Bytes that are free where a folder is, or will be."""
    there = next(each for each in (path.absolute(), *path.absolute().parents) if each.exists())
    return shutil.disk_usage(there).free


def _time(seconds: Seconds) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _size(amount: int) -> str:
    return f"{amount / 1e9:.1f} GB" if amount >= 1e9 else f"{amount / 1e6:.1f} MB"
