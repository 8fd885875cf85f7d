"""The commands of SLURM that Edgewise and submitit call, over processes of this machine. One file under many names.

The folder of the commands holds what the cluster knows: `ID.pid`, `ID.state` (of a job that ended), `ID.requeue`,
`ID.sh`.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

COMMANDS = ("sbatch", "srun", "squeue", "sacct", "scancel", "scontrol")
PLACE = Path(sys.argv[0]).parent


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def install(folder: Path) -> None:
    folder.mkdir()
    for name in COMMANDS:
        command = folder / name
        command.write_text(f"#!{sys.executable}\n{Path(__file__).read_text(encoding='utf-8')}", encoding="utf-8")
        command.chmod(0o755)


def sbatch(script: str) -> None:
    if "--partition=none" in Path(script).read_text(encoding="utf-8"):
        sys.exit("sbatch: error: invalid partition specified: none")
    job = str(1 + len(list(PLACE.glob("*.sh"))))
    (PLACE / f"{job}.sh").write_text(Path(script).read_text(encoding="utf-8"), encoding="utf-8")
    runner = subprocess.Popen(
        [sys.executable, sys.argv[0], "--run", job],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    (PLACE / f"{job}.pid").write_text(str(runner.pid), encoding="utf-8")
    say(f"Submitted batch job {job}")


def run(job: str) -> None:
    again, code = PLACE / f"{job}.requeue", 0
    while True:
        code = subprocess.call(["bash", str(PLACE / f"{job}.sh")], env={**os.environ, "SLURM_JOB_ID": job})
        if not again.exists():
            break
        again.unlink()
    (PLACE / f"{job}.state").write_text("FAILED" if code else "COMPLETED", encoding="utf-8")


def srun(*arguments: str) -> None:
    given = list(arguments)
    given.remove("--unbuffered")
    for number, option in ((1, "--output"), (2, "--error")):
        at = given.index(option)
        path = given[at + 1].replace("%j", os.environ["SLURM_JOB_ID"]).replace("%t", "0")
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
        del given[at : at + 2]
    os.execvp(given[0], given)


def squeue() -> None:
    for file in PLACE.glob("*.pid"):
        if not file.with_suffix(".state").exists():
            say(file.stem)


def sacct() -> None:
    say("JobID|State|NodeList")
    for file in PLACE.glob("*.state"):
        say(f"{file.stem}|{file.read_text(encoding='utf-8')}|here")


def scancel(job: str, state: str = "CANCELLED by 1000") -> None:
    (PLACE / f"{job}.state").write_text(state, encoding="utf-8")
    os.killpg(int((PLACE / f"{job}.pid").read_text(encoding="utf-8")), signal.SIGKILL)


def scontrol(_: str, job: str) -> None:
    (PLACE / f"{job}.requeue").touch()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--run"]:
        run(sys.argv[2])
    else:
        name, given = Path(sys.argv[0]).name, sys.argv[1:]
        globals()[name](*(given if name in {"sbatch", "srun", "scancel", "scontrol"} else ()))
