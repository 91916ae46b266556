"""Run items as tasks of Ray, on this machine or on a cluster."""

import importlib.util
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from nondet.execute.executors.executor import ExecutorError, Workers
from nondet.execute.executors.processors import available_processors
from nondet.execute.executors.worker import (
    ONE_THREAD,
    JobFailedError,
    keep_memory,
    to_job_failed,
    try_call,
)
from nondet.files import unfinished

_PROBE_TIMEOUT = 120.0  # seconds


class RayTasks(Workers):
    """Processes items as Ray tasks with one processor and `gpus_per_run` GPUs each, on a cluster or
    on a local Ray that starts and ends with the context.

    address: of the cluster, as for `ray.init` ("auto", "HOST:PORT"); by default $RAY_ADDRESS. If
    that is not set either, or for "local", a local Ray is started. If this process is already
    connected to Ray, that connection is used. workers: the number of items that are processed at a
    time; by default as many as the resources allow. gpus_per_run: may be a fraction, so that
    several runs share a GPU. folder: the folder that the items write to. Entering the context
    raises ExecutorError if a node cannot access it; on a node that joins later, items fail.

    Tasks compute with one thread, in the working directory of this process if it exists on their
    node. An item whose worker or node is lost is retried like one that raises. Raises ImportError
    if Ray is not installed.
    """

    def __init__(
        self,
        address: str | None = None,
        workers: int | None = None,
        gpus_per_run: float = 0.0,
        folder: Path | None = None,
    ) -> None:
        if workers is not None and workers < 1:
            raise ValueError(f"workers is {workers}; it must be at least 1")
        if not gpus_per_run >= 0 or (gpus_per_run > 1 and gpus_per_run != int(gpus_per_run)):
            raise ValueError(
                f"gpus_per_run is {gpus_per_run}; it must be 0, a fraction of 1, or a whole number"
            )
        if importlib.util.find_spec("ray") is None:
            raise ImportError("Ray is not installed; pip install 'nondet[ray]' installs it")
        address = address or os.environ.get("RAY_ADDRESS") or "local"
        self.address = None if address == "local" else address
        self.gpus_per_run = gpus_per_run
        self._requested = workers
        self._folder = folder
        self._token: Path | None = None
        self._started = False

    @cached_property
    def _ray(self) -> Any:
        # Ray reads these when it is imported: send no usage reports, and leave CUDA_VISIBLE_DEVICES
        # of tasks without GPUs as it is.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        import ray

        return ray

    def __enter__(self) -> Self:
        self._connect()
        try:
            self._check_gpus()
            if self._folder is not None:
                self._check_folder(self._folder)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        if self._token is not None:
            self._token.unlink(missing_ok=True)
            self._token = None
        if self._started:
            self._ray.shutdown()
            self._started = False

    @property
    def workers(self) -> int:  # type: ignore[override]
        """Return the number of items that can be processed at a time, as far as is known now."""
        if not self._ray.is_initialized():
            return self._requested or 1
        resources = self._ray.cluster_resources()
        slots = resources.get("CPU", 1.0)
        if self.gpus_per_run > 0:
            slots = min(slots, resources.get("GPU", 0.0) / self.gpus_per_run)
        return min(max(int(slots), 1), self._requested or int(slots) or 1)

    def _connect(self) -> None:
        if self._ray.is_initialized():
            return
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        if self.address is None:
            processors = self._requested or available_processors()
            where = {"address": "local", "num_cpus": processors, "include_dashboard": False}
        else:
            where = {"address": self.address}
        try:
            self._ray.init(**where, **quiet)
        except (OSError, RuntimeError, ValueError) as error:
            place = f"no Ray at {self.address!r}" if self.address else "cannot start Ray"
            raise ExecutorError(f"{place}: {error}") from error
        self._started = True

    def _check_gpus(self) -> None:
        if self.gpus_per_run > self._ray.cluster_resources().get("GPU", 0.0):
            raise ExecutorError(
                f"gpus_per_run is {self.gpus_per_run:g}, but the nodes of Ray have "
                f"{self._ray.cluster_resources().get('GPU', 0.0):g} GPUs"
            )

    def _check_folder(self, folder: Path) -> None:
        """Raise ExecutorError if a node that can run tasks cannot access the folder."""
        token = unfinished(folder.absolute() / "seen-by-ray")
        try:
            token.touch(exist_ok=False)
        except OSError as error:
            raise ExecutorError(f"cannot write to {folder}: {error.strerror or error}") from error
        self._token = token
        pin = self._ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
        nodes = {}
        for node in self._ray.nodes():
            if node["Alive"] and node["Resources"].get("CPU", 0) > 0:
                task = self._ray.remote(_can_access).options(
                    num_cpus=0, max_retries=0, scheduling_strategy=pin(node["NodeID"], soft=False)
                )
                nodes[task.remote(token)] = node
        if not nodes:
            raise ExecutorError("no node of Ray has a processor for tasks")
        self._ray.wait(list(nodes), num_returns=len(nodes), timeout=_PROBE_TIMEOUT)
        for task, node in nodes.items():
            name = f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"
            try:
                accessible = self._ray.get(task, timeout=0)
            except self._ray.exceptions.RayError as error:
                raise ExecutorError(f"node {name} cannot run tasks of nondet: {error}") from error
            if not accessible:
                raise ExecutorError(
                    f"node {name} cannot access the study's folder {folder.absolute()}, to which "
                    "every node writes its runs. Choose a folder that all nodes share with --out."
                )

    def _capacity(self) -> int:
        # Queued tasks start as soon as others end, and make an autoscaling cluster grow.
        return self._requested or 2 * self.workers

    def _start(self, function: Callable[[Any], Any], item: Any) -> Any:
        variables = dict(ONE_THREAD)
        if "NONDET_DATA" in os.environ:
            variables["NONDET_DATA"] = str(Path(os.environ["NONDET_DATA"]).absolute())
        task = self._ray.remote(_run_item).options(
            num_cpus=1,
            num_gpus=self.gpus_per_run,
            max_retries=0,
            runtime_env={"env_vars": variables},
        )
        return task.remote(function, item, self._token, Path.cwd())

    def _wait(self, handles: list[Any]) -> Iterator[tuple[Any, Any]]:
        ready, _ = self._ray.wait(handles, num_returns=1)
        for task in ready:
            try:
                value = self._ray.get(task)
            except self._ray.exceptions.RayTaskError as error:  # it could not be unpickled there
                value = to_job_failed(error.cause)
            except self._ray.exceptions.RayError as error:
                summary = str(error).strip().partition("\n")[0].partition(". ")[0]
                value = JobFailedError(f"the process or its node was lost: {summary}")
            yield task, value

    def _cancel(self, handle: Any) -> None:
        if self._ray.is_initialized():
            self._ray.cancel(handle, force=True)


def _can_access(token: Path) -> bool:
    """Return True if this node can access a file of the driver. Runs in a task."""
    return token.is_file()


def _run_item(
    function: Callable[[Any], Any], item: Any, token: Path | None, directory: Path
) -> Any:
    """Return the value of an item, or a JobFailedError. Runs in a task."""
    if token is not None and not _can_access(token):
        return JobFailedError(
            f"node {socket.gethostname()} cannot access the study's folder {token.parent}",
            "ExecutorError",
        )
    keep_memory()
    with suppress(OSError):
        os.chdir(directory)
    return try_call(function, item)
