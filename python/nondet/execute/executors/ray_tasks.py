"""Run items as tasks of Ray, on this machine or on a cluster."""

import itertools
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Self

from nondet.execute.executors.deadlines import causes_of
from nondet.execute.executors.executor import ExecutorError, Workers
from nondet.execute.executors.ray_connection import Connection, check_installed
from nondet.execute.executors.worker import (
    ONE_THREAD,
    JobFailedError,
    keep_memory,
    to_job_failed,
    try_call,
)
from nondet.files import unfinished

FRESH = "NONDET_FRESH"
"""The variable of workers that end after one item."""

_NODE_SECONDS = 120.0  # for which a node may start a process that looks for a folder
_ANSWER_SECONDS = 30.0  # for which Ray may think about a question or a task
_RESULT_SECONDS = 300.0  # for which the result of a task may be fetched
_PAUSE_SECONDS = 1.0  # of waiting for tasks; Ctrl-C waits for the end of a pause
_PAUSES = 10  # after which Ray is asked if it is still there


class RayTasks(Workers):
    """Processes items as Ray tasks with one processor and `gpus_per_run` GPUs each, on a cluster or
    on a local Ray that starts and ends with the context.

    address: of the cluster, as for `ray.init` ("auto", "HOST:PORT"); by default $RAY_ADDRESS. If
    that is not set either, or for "local", a local Ray is started. If this process is already
    connected to Ray, that connection is used. workers: the number of items that are processed at a
    time; by default as many as the resources allow. gpus_per_run: may be a fraction, so that
    several runs share a GPU. folder: the folder that the items write to. Entering the context
    raises ExecutorError if a node cannot access it; on a node that joins later, items fail.

    A Ray that is started listens on the loopback interface alone and asks for a token. Whatever Ray
    is asked has a deadline; if it does not answer, or refuses, ExecutorError says what it said.

    Tasks compute with one thread, in the working directory of this process if it exists on their
    node. An item whose worker or node is lost is retried like one that raises. Raises ImportError
    if Ray is not installed, or a version that asks for no token.
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
        check_installed()
        address = address or os.environ.get("RAY_ADDRESS") or "local"
        self.address = None if address == "local" else address
        self.gpus_per_run = gpus_per_run
        self._requested = workers
        self._folder = folder
        self._token: Path | None = None
        self._connection = Connection(self.address, workers)

    @property
    def _ray(self) -> Any:
        return self._connection.ray

    def __enter__(self) -> Self:
        self._connection.open()
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
        self._connection.close()

    @property
    def workers(self) -> int:  # type: ignore[override]
        """Return the number of items that can be processed at a time, as far as is known now."""
        if not self._ray.is_initialized():
            return self._requested or 1
        resources = self._resources()
        slots = resources.get("CPU", 1.0)
        if self.gpus_per_run > 0:
            slots = min(slots, resources.get("GPU", 0.0) / self.gpus_per_run)
        return min(max(int(slots), 1), self._requested or int(slots) or 1)

    def _resources(self) -> dict[str, float]:
        found: dict[str, float] = self._ask("its resources", self._ray.cluster_resources)
        return found

    def _ask(self, what: str, question: Callable[[], Any], seconds: float | None = None) -> Any:
        """Return the answer to a question, or raise ExecutorError with the reason why there is
        none, after `_ANSWER_SECONDS` or as many as are given.
        """
        seconds = _ANSWER_SECONDS if seconds is None else seconds
        try:
            return self._within(seconds, f"asking for {what}", question)
        except (self._ray.exceptions.RayError, RuntimeError, OSError) as error:
            raise ExecutorError(f"{self._connection.name}: {causes_of(error)}") from error

    def _within(self, seconds: float, doing: str, call: Callable[[], Any]) -> Any:
        try:
            return self._connection.within(seconds, doing, call)
        except ExecutorError as error:
            self._connection.lost = True
            raise ExecutorError(f"{self._connection.name} does not answer: {error}") from error

    def _check_gpus(self) -> None:
        gpus = self._resources().get("GPU", 0.0)
        if self.gpus_per_run > gpus:
            raise ExecutorError(
                f"gpus_per_run is {self.gpus_per_run:g}, but the nodes of Ray have {gpus:g} GPUs"
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
        for node in self._ask("its nodes", self._ray.nodes):
            if node["Alive"] and node["Resources"].get("CPU", 0) > 0:
                task = self._ray.remote(_can_access).options(
                    num_cpus=0, max_retries=0, scheduling_strategy=pin(node["NodeID"], soft=False)
                )
                nodes[self._ask("a task", partial(task.remote, token))] = node
        if not nodes:
            raise ExecutorError("no node of Ray has a processor for tasks")
        self._ask(
            "an answer of every node",
            partial(self._ray.wait, list(nodes), num_returns=len(nodes), timeout=_NODE_SECONDS),
            _NODE_SECONDS + _ANSWER_SECONDS,
        )
        for task, node in nodes.items():
            name = f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"
            try:
                accessible = self._ray.get(task, timeout=0)
            except self._ray.exceptions.GetTimeoutError:
                raise ExecutorError(
                    f"node {name} has not run a task of nondet within {_NODE_SECONDS:g} s"
                ) from None
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
        return self._submit(self._ray.remote(_run_item), {}, function, item)

    def _start_fresh(self, function: Callable[[Any], Any], item: Any) -> Any:
        # The worker ends after one call, and with this variable Ray gives it no other items.
        task = self._ray.remote(max_calls=1)(_run_item)
        return self._submit(task, {FRESH: "1"}, function, item)

    def _submit(
        self, task: Any, own: Mapping[str, str], function: Callable[[Any], Any], item: Any
    ) -> Any:
        """Submit an item to a remote function; return its handle. own: further variables."""
        variables = {**ONE_THREAD, **own}
        if "NONDET_DATA" in os.environ:
            variables["NONDET_DATA"] = str(Path(os.environ["NONDET_DATA"]).absolute())
        task = task.options(
            num_cpus=1,
            num_gpus=self.gpus_per_run,
            max_retries=0,
            runtime_env={"env_vars": variables},
        )
        return self._ask("a task", partial(task.remote, function, item, self._token, Path.cwd()))

    def _wait(self, handles: list[Any]) -> Iterator[tuple[Any, Any]]:
        ready: list[Any] = []
        for pause in itertools.count(1):
            ready, _ = self._ask(
                "the tasks that ended",
                partial(self._ray.wait, handles, num_returns=1, timeout=_PAUSE_SECONDS),
                _PAUSE_SECONDS + _ANSWER_SECONDS,
            )
            if ready:
                break
            if pause % _PAUSES == 0:  # runs may take days, but a cluster may be gone
                self._ask("its nodes", self._ray.nodes)
        for task in ready:
            try:
                value = self._within(
                    _RESULT_SECONDS + _ANSWER_SECONDS,
                    "fetching a result",
                    partial(self._ray.get, task, timeout=_RESULT_SECONDS),
                )
            except self._ray.exceptions.RayTaskError as error:  # it could not be unpickled there
                value = to_job_failed(error.cause)
            except self._ray.exceptions.RayError as error:
                summary = str(error).strip().partition("\n")[0].partition(". ")[0]
                value = JobFailedError(f"the process or its node was lost: {summary}")
            yield task, value

    def _cancel(self, handle: Any) -> None:
        if self._ray.is_initialized() and not self._connection.lost:
            with suppress(ExecutorError):
                self._ask("the end of a task", partial(self._ray.cancel, handle, force=True))


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
