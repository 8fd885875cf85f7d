"""Tasks on a Ray cluster."""

import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field
from typing_extensions import override

from edgewise.engines.base import Engine, Outcome, Task
from edgewise.engines.process import PATIENCE, TICK, killed, work
from edgewise.errors import EngineError
from edgewise.machine import cores

STORE = 80 * 2**20
"""Bytes of shared memory for results on a cluster of one machine; they are single numbers, and this is Ray's least."""
REACHED = 10.0
"""Seconds in which a cluster must answer."""
LOST = -9
"""Exit code of a command that nobody saw ending."""


@dataclass(frozen=True, kw_only=True)
class Ray(Engine):
    """Tasks on a Ray cluster, one a part. All machines must have the same files and the same Python environment.

    A part whose worker or machine is lost begins again elsewhere, from its checkpoint. Parts end with the study.

    Attributes:
        address: `auto` for the cluster that runs on this machine or that `RAY_ADDRESS` names, `host:port` of a
            cluster's head, or `local` for one of this machine alone that ends with the study.
        cpus: CPU cores of a part.
        gpus: GPUs of a part, also a fraction; `auto` is one where the cluster has any.
        memory_gb: memory of a part, as far as Ray keeps count of it; 0 does not ask for any.
        restarts: how often a part is begun again after the loss of its worker or machine.
    """

    kind: Literal["ray"] = "ray"
    address: Annotated[str, Field(min_length=1)] = "auto"
    cpus: Annotated[float, Field(gt=0)] = 1.0
    gpus: Annotated[float, Field(ge=0)] | Literal["auto"] = "auto"
    memory_gb: Annotated[float, Field(ge=0)] = 3.0
    restarts: Annotated[int, Field(ge=0)] = 10
    source: ClassVar = "Moritz et al. 2018, Ray: A Distributed Framework for Emerging AI Applications, arXiv:1712.05889"

    @override
    def require(self) -> None:
        if find_spec("ray") is None:
            raise EngineError("ray: Ray is not installed. Install it: pip install 'edgewise[ray]'")
        with self._cluster() as ray:
            if not self._places(ray):
                asked = ", ".join(f"{name} {amount:g}" for name, amount in self._asked(ray).items())
                raise EngineError(
                    f"ray: no machine of the cluster has what a part asks for: {asked}. Lower cpus, gpus or memory_gb."
                )

    @override
    def room(self, tasks: int) -> int:
        with self._cluster() as ray:
            return max(min(self._places(ray), tasks), 1)

    @override
    def threads(self, tasks: int) -> int:
        return max(int(self.cpus), 1)

    @override
    def outcomes(self, tasks: Sequence[Task], watch: Callable[[], None]) -> Iterator[Outcome]:
        with self._cluster() as ray:
            asked, remote = self._asked(ray), ray.remote(work)
            running = {
                remote.options(
                    name=task.name,
                    num_cpus=asked["CPU"],
                    num_gpus=asked["GPU"],
                    memory=asked["memory"],
                    max_retries=self.restarts,
                    scheduling_strategy="SPREAD",
                ).remote(task): task
                for task in tasks
            }
            try:
                while running:
                    ended, _ = ray.wait([*running], timeout=TICK)
                    watch()
                    for each in ended:
                        yield _outcome(ray, running.pop(each), each)
            finally:
                _cancel(ray, [*running])

    def _asked(self, ray: Any) -> dict[str, float]:
        """The resources of one part."""
        gpus = float(ray.cluster_resources().get("GPU", 0) >= 1) if self.gpus == "auto" else self.gpus
        return {"CPU": float(self.cpus), "GPU": float(gpus), "memory": float(int(self.memory_gb * 2**30))}

    def _places(self, ray: Any) -> int:
        """How many parts fit on the cluster's machines at a time."""
        asked = {name: amount for name, amount in self._asked(ray).items() if amount}
        machines = [machine["Resources"] for machine in ray.nodes() if machine["Alive"]]
        return sum(min(int(has.get(name, 0) // amount) for name, amount in asked.items()) for has in machines)

    @contextmanager
    def _cluster(self) -> Iterator[Any]:
        """Ray, connected; a connection that was there before is used and kept.

        It is short, because a process that holds one should not fork, as those that read images do.
        """
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would send a report of each use
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        import ray

        if ray.is_initialized():
            yield ray
            return
        try:
            if self.address == "local":
                ray.init(
                    num_cpus=cores(), include_dashboard=False, object_store_memory=STORE, **_QUIET, address="local"
                )
            else:
                _require_an_answer(self.address)
                ray.init(address=self.address, **_QUIET)
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            raise EngineError(
                f"ray: there is no cluster at {self.address!r}: {' '.join(str(error).split())[:300]} "
                "Start one with `ray start --head`, name its host:port, or set the address to `local`."
            ) from error
        try:
            yield ray
        finally:
            ray.shutdown()


_QUIET: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}


def _require_an_answer(address: str) -> None:
    """Ray itself tries for a quarter of an hour."""
    host, _, port = address.rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.removeprefix("ray://"), int(port)), timeout=REACHED).close()


def _outcome(ray: Any, task: Task, result: Any) -> Outcome:
    try:
        code = ray.get(result)
    except ray.exceptions.RayError as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()
        return Outcome(name=task.name, code=LOST, reason=f"Ray lost it: {type(error).__name__}: {said}")
    return Outcome(name=task.name, code=code, reason=killed(code))


def _cancel(ray: Any, running: list[Any]) -> None:
    """Stop tasks: gently, so that each worker stops its process, then by ending the workers."""
    for each in running:
        ray.cancel(each)
    if running:
        _, stubborn = ray.wait(running, num_returns=len(running), timeout=PATIENCE + 5)
        for each in stubborn:
            ray.cancel(each, force=True)
