"""Jobs on a SLURM cluster, through submitit."""

import json
import shutil
import signal
import subprocess
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from getpass import getuser
from importlib.util import find_spec
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field
from typing_extensions import override

from edgewise.engines.base import Engine, Outcome, Task
from edgewise.engines.process import TICK, killed, work
from edgewise.errors import EngineError
from edgewise.files import write_json

if TYPE_CHECKING:
    from submitit.core.utils import DelayedSubmission

EVERY = 30.0
"""Seconds between two looks at the queue."""
ABSENCES = 3
"""Looks at the queue that must miss a job before it is given up: its result may arrive late on a shared disk."""
KILL_WAIT = 60.0
"""Seconds in which SLURM follows a signal to a job's processes with the end of the job, at least."""
LOST = -int(signal.SIGKILL)
"""Exit code of a command that nobody saw ending."""
FINAL: Mapping[str, str] = {
    "CANCELLED": "was cancelled",
    "OUT_OF_MEMORY": "ran out of memory; raise memory_gb",
    "FAILED": "failed before its command ended",
    "COMPLETED": "ended without a result",
    "DEADLINE": "met its deadline",
}
"""Ends of a job after which it would end so again, or which somebody wants."""


@dataclass(frozen=True, kw_only=True)
class Slurm(Engine):
    """Jobs on a SLURM cluster, one a part. All machines must have the same files and the same Python environment.

    Jobs outlive the study's process: the same command finds them again, by the files in `logs/jobs`.

    Attributes:
        executor: `slurm`, or `local` for jobs that are processes of this machine, such as to try the settings out.
        partition: where jobs are queued; empty for the cluster's own choice.
        account: who is charged; empty for the cluster's own choice.
        minutes: time limit of a job. One that reaches it is queued again, and goes on from its checkpoint.
        cpus: CPU cores of a job.
        gpus: GPUs of a job; 0 for a partition that has none.
        memory_gb: memory of a job.
        jobs: how many are queued or run at a time.
        restarts: how often a part is begun again after a time limit, a preemption, or the loss of its machine.
        options: what else `sbatch` is to be told, such as `{qos: long, constraint: a100}`.
    """

    kind: Literal["slurm"] = "slurm"
    executor: Literal["slurm", "local"] = "slurm"
    partition: str = ""
    account: str = ""
    minutes: Annotated[float, Field(gt=0)] = 1440.0
    cpus: Annotated[int, Field(ge=1)] = 4
    gpus: Annotated[int, Field(ge=0)] = 1
    memory_gb: Annotated[float, Field(gt=0)] = 16.0
    jobs: Annotated[int, Field(ge=1)] | Literal["all"] = "all"
    restarts: Annotated[int, Field(ge=0)] = 10
    options: Mapping[str, str | int | bool] = field(default_factory=dict)
    source: ClassVar = "Yoo et al. 2003, SLURM: Simple Linux Utility for Resource Management, doi:10.1007/10968987_3"

    @override
    def require(self) -> None:
        if find_spec("submitit") is None:
            raise EngineError("slurm: submitit is not installed. Install it: pip install 'edgewise[slurm]'")
        missing = [name for name in ("sbatch", "srun", "squeue") if shutil.which(name) is None]
        if self.executor == "slurm" and missing:
            raise EngineError(
                f"slurm: there is no `{missing[0]}` here. Start the study on a machine from which jobs are submitted, "
                "or choose the engine `local`."
            )

    @override
    def room(self, tasks: int) -> int:
        return max(tasks if self.jobs == "all" else min(self.jobs, tasks), 1)

    @override
    def threads(self, tasks: int) -> int:
        return self.cpus

    @override
    def outcomes(self, tasks: Sequence[Task], watch: Callable[[], None]) -> Iterator[Outcome]:
        waiting, running = deque(tasks), dict[str, tuple[Task, Any]]()
        room, begun = self.room(len(tasks)), Counter[str]()
        queue = _Queue(self)
        while waiting or running:
            while waiting and len(running) < room:
                task = waiting.popleft()
                begun[task.name] += 1
                running[task.name] = (task, queue.job(task))
            time.sleep(TICK)
            watch()
            for task, job in queue.ended([*running.values()]):
                del running[task.name]
                outcome = queue.outcome(task, job)
                _record(task).unlink(missing_ok=True)
                if outcome is None and begun[task.name] <= self.restarts:
                    waiting.appendleft(task)
                else:
                    yield outcome or Outcome(name=task.name, code=LOST, reason=self._lost(job, begun[task.name]))

    def _lost(self, job: Any, times: int) -> str:
        many = f", the last of {times}," if times > 1 else ""
        return f"its job {job.job_id}{many} vanished: no machine, preempted, or killed at its time limit"


@dataclass(frozen=True)
class Work:
    """What a job does."""

    task: Task

    def __call__(self) -> int:
        """Run the task's command to its end; its exit code."""
        code = work(self.task)
        if code in {-signal.SIGTERM, -signal.SIGUSR2}:
            # SLURM signals every process of a job that it ends, and the command may die first. Its end is no result.
            time.sleep(KILL_WAIT)
        return code

    def checkpoint(self) -> "DelayedSubmission":
        """At the time limit submitit asks what to do in the next job: the same, since a part knows how far it was."""
        from submitit.core.utils import DelayedSubmission

        return DelayedSubmission(self)


class _Queue:
    """The jobs of a study, in SLURM's queue or as processes of this machine."""

    def __init__(self, engine: Slurm) -> None:
        self._engine = engine
        self._absences = Counter[str]()
        self._looked = time.monotonic()

    def job(self, task: Task) -> Any:
        """The job of a task: one that an earlier process of the study began and that is still there, or a new one."""
        import submitit

        record = _record(task)
        try:
            known = json.loads(record.read_text(encoding="utf-8"))["job"] if record.exists() else ""
        except (OSError, ValueError, KeyError):
            known = ""
        if known:
            kind = submitit.SlurmJob if self._engine.executor == "slurm" else submitit.LocalJob
            job = kind(record.parent, known)
            if known in self._present([job]) and not job.paths.result_pickle.exists():
                return job
        job = self._submitted(task, record.parent)
        write_json(record, {"job": job.job_id})
        return job

    def ended(self, running: Sequence[tuple[Task, Any]]) -> list[tuple[Task, Any]]:
        """Those whose result is there, or whose job has been gone for a while."""
        if time.monotonic() - self._looked >= EVERY:
            present = self._present([job for _, job in running])
            self._looked = time.monotonic()
            for _, job in running:
                gone = job.job_id not in present
                self._absences[job.job_id] = self._absences[job.job_id] + 1 if gone else 0
        return [
            (task, job)
            for task, job in running
            if job.paths.result_pickle.exists() or self._absences[job.job_id] >= ABSENCES
        ]

    def outcome(self, task: Task, job: Any) -> Outcome | None:
        """Of a job that ended; `None` if it was lost and may be tried again."""
        if not job.paths.result_pickle.exists():
            state = job.watcher.get_state(job.job_id, "force") if self._engine.executor == "slurm" else "UNKNOWN"
            end = FINAL.get(state.split()[0])
            log = f" ({job.paths.stderr} may say more)"
            return Outcome(name=task.name, code=LOST, reason=f"its job {job.job_id} {end}{log}") if end else None
        error = job.exception()
        if error is None:
            code = int(job.result())
            return Outcome(name=task.name, code=code, reason=killed(code))
        if "timed-out too many times" in str(error):
            limit = f"reached its time limit of {self._engine.minutes:g} minutes too often; raise minutes or restarts"
            return Outcome(name=task.name, code=LOST, reason=f"its job {job.job_id} {limit}")
        return Outcome(name=task.name, code=LOST, reason=f"its job {job.job_id} failed ({job.paths.stderr} says more)")

    def _submitted(self, task: Task, folder: Path) -> Any:
        import submitit

        engine = self._engine
        for old in folder.glob("*_result.pkl"):  # a new job may have the number of an old one: it may be a process id
            old.unlink()
        # Time for submitit to queue the job again before the limit, but not all the time there is.
        warning = max(min(90, int(engine.minutes * 15)), 1)
        try:
            if engine.executor == "local":
                local = submitit.LocalExecutor(folder, max_num_timeout=engine.restarts)
                local.update_parameters(timeout_min=engine.minutes, gpus_per_node=engine.gpus, signal_delay_s=warning)
                return local.submit(Work(task))
            cluster = submitit.SlurmExecutor(folder, max_num_timeout=engine.restarts)
            cluster.update_parameters(**_sbatch(engine), job_name=task.name, signal_delay_s=warning)
            with submitit.helpers.clean_env():  # the study itself may be a job
                return cluster.submit(Work(task))
        except (RuntimeError, OSError, subprocess.SubprocessError) as error:
            raise EngineError(
                f"slurm: the job of {task.name} was refused: {' '.join(str(error).split())} Change the engine's "
                "settings; parts that are done stay done."
            ) from error

    def _present(self, jobs: Sequence[Any]) -> Collection[str]:
        """The ids of the jobs that are queued or run; of all if that cannot be found out now."""
        if self._engine.executor == "local":
            return [job.job_id for job in jobs if not job.done() or _controls(job.job_id)]
        try:
            lines = subprocess.run(
                ("squeue", "--noheader", "--user", getuser(), "--format", "%A"),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=True,
                timeout=60,
            )
        except (OSError, subprocess.SubprocessError):  # the controller is busy or restarts; jobs run on meanwhile
            return [job.job_id for job in jobs]
        return {line.strip() for line in lines.stdout.splitlines()}


def _record(task: Task) -> Path:
    """The file that says which job works on a task; beside those of submitit."""
    return task.log.parent / "jobs" / task.name / "job.json"


def _sbatch(engine: Slurm) -> dict[str, Any]:
    """What `sbatch` is told, in submitit's words."""
    named = {"partition": engine.partition, "account": engine.account, "gpus_per_node": engine.gpus}
    return {
        **{key: value for key, value in named.items() if value},
        "time": ceil(engine.minutes),
        "mem": f"{ceil(engine.memory_gb * 1024)}M",
        "cpus_per_task": engine.cpus,
        "additional_parameters": {key.replace("_", "-"): value for key, value in engine.options.items()},
    }


def _controls(job: str) -> bool:
    """Whether a process of this machine is the one that began a local job, and not another with its number."""
    found = subprocess.run(("ps", "-ww", "-o", "command=", "-p", job), capture_output=True, text=True, check=False)
    return "submitit.local._local" in found.stdout
