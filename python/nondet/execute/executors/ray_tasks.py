"""Runs as tasks of Ray, on this machine or on a cluster."""

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
from nondet.execute.executors.worker import ONE_THREAD, JobFailedError, failed, keep_memory, outcome
from nondet.files import unfinished

_PROBE_SECONDS = 120.0


class RayTasks(Workers):
    """Items as Ray tasks of one processor each and `gpus_per_run` GPUs, on an existing cluster or
    on a Ray that is started on this machine and ends with the context.

    address: of the cluster, in the words of `ray.init` ("auto", "HOST:PORT"); $RAY_ADDRESS if not
    given; a Ray of one's own where that is not set either, or "local". A Ray that this process is
    connected to already is used as it is. workers: how many items are worked on at a time; if not
    given, as many as there is room for. gpus_per_run: may be a fraction, so that several runs share
    a GPU. folder: the folder that the items write to. A node that does not see it is named in an
    ExecutorError on entering the context, or costs the items tried on it if it joins later.

    Tasks compute with one thread, in the working directory of this process where their node has it.
    An item whose worker or node is lost is tried again as one that raises. Raises ImportError where
    Ray is not installed.
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
        self._asked = workers
        self._folder = folder
        self._token: Path | None = None
        self._started = False

    @cached_property
    def _ray(self) -> Any:
        # Read when Ray is imported: no reports of use, and devices are hidden from tasks as they
        # are without Ray.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        import ray

        return ray

    def __enter__(self) -> Self:
        self._connect()
        try:
            self._check_gpus()
            if self._folder is not None:
                self._probe(self._folder)
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
        """How many items can be worked on at a time, as far as it is known."""
        if not self._ray.is_initialized():
            return self._asked or 1
        there = self._ray.cluster_resources()
        slots = there.get("CPU", 1.0)
        if self.gpus_per_run > 0:
            slots = min(slots, there.get("GPU", 0.0) / self.gpus_per_run)
        return min(max(int(slots), 1), self._asked or int(slots) or 1)

    def _connect(self) -> None:
        if self._ray.is_initialized():
            return
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        if self.address is None:
            processors = self._asked or available_processors()
            where = {"address": "local", "num_cpus": processors, "include_dashboard": False}
        else:
            where = {"address": self.address}
        try:
            self._ray.init(**where, **quiet)
        except (OSError, RuntimeError, ValueError) as error:
            place = f"no Ray at {self.address!r}" if self.address else "Ray does not start here"
            raise ExecutorError(f"{place}: {error}") from error
        self._started = True

    def _check_gpus(self) -> None:
        if self.gpus_per_run > self._ray.cluster_resources().get("GPU", 0.0):
            raise ExecutorError(
                f"gpus_per_run is {self.gpus_per_run:g}, but the nodes of Ray have "
                f"{self._ray.cluster_resources().get('GPU', 0.0):g} GPUs"
            )

    def _probe(self, folder: Path) -> None:
        """Raises ExecutorError where a node that can run tasks does not see the folder."""
        token = unfinished(folder.absolute() / "seen-by-ray")
        try:
            token.touch(exist_ok=False)
        except OSError as error:
            raise ExecutorError(f"cannot write to {folder}: {error.strerror or error}") from error
        self._token = token
        pin = self._ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
        asked = {}
        for node in self._ray.nodes():
            if node["Alive"] and node["Resources"].get("CPU", 0) > 0:
                task = self._ray.remote(_sees).options(
                    num_cpus=0, max_retries=0, scheduling_strategy=pin(node["NodeID"], soft=False)
                )
                asked[task.remote(token)] = node
        if not asked:
            raise ExecutorError("no node of Ray has a processor for tasks")
        self._ray.wait(list(asked), num_returns=len(asked), timeout=_PROBE_SECONDS)
        for task, node in asked.items():
            name = f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"
            try:
                seen = self._ray.get(task, timeout=0)
            except self._ray.exceptions.RayError as error:
                raise ExecutorError(f"node {name} does not run nondet's tasks: {error}") from error
            if not seen:
                raise ExecutorError(
                    f"node {name} does not see the study folder {folder.absolute()}: every node "
                    "writes its runs there. Choose a folder that all nodes share with --out."
                )

    def _room(self) -> int:
        # Waiting ones are at hand when a task ends, and tell a cluster that grows to grow.
        return self._asked or 2 * self.workers

    def _begin(self, function: Callable[[Any], Any], item: Any) -> Any:
        variables = dict(ONE_THREAD)
        if "NONDET_DATA" in os.environ:
            variables["NONDET_DATA"] = str(Path(os.environ["NONDET_DATA"]).absolute())
        task = self._ray.remote(_work).options(
            num_cpus=1,
            num_gpus=self.gpus_per_run,
            max_retries=0,
            runtime_env={"env_vars": variables},
        )
        return task.remote(function, item, self._token, Path.cwd())

    def _finished(self, handles: list[Any]) -> Iterator[tuple[Any, Any]]:
        ready, _ = self._ray.wait(handles, num_returns=1)
        for task in ready:
            try:
                value = self._ray.get(task)
            except self._ray.exceptions.RayTaskError as error:  # it could not even be read there
                value = failed(error.cause)
            except self._ray.exceptions.RayError as error:
                summary = str(error).strip().partition("\n")[0].partition(". ")[0]
                value = JobFailedError(f"the process or its node was lost: {summary}")
            yield task, value

    def _abandon(self, handle: Any) -> None:
        if self._ray.is_initialized():
            self._ray.cancel(handle, force=True)


def _sees(token: Path) -> bool:
    """Whether this node sees a file of the driver's. Runs in a task."""
    return token.is_file()


def _work(function: Callable[[Any], Any], item: Any, token: Path | None, directory: Path) -> Any:
    """The outcome of one item. Runs in a task."""
    if token is not None and not _sees(token):
        return JobFailedError(
            f"node {socket.gethostname()} does not see the study folder {token.parent}",
            "ExecutorError",
        )
    keep_memory()
    with suppress(OSError):
        os.chdir(directory)
    return outcome(function, item)
