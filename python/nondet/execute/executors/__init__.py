"""Executors of runs: in this process, in a pool of processes on this machine, or as tasks of Ray.

Every process computes with one thread, so that results depend neither on the number of threads nor
on the number of workers.
"""

import warnings
from typing import Any

from nondet.execute.executors.executor import (
    Executor,
    ExecutorError,
    JobFailedError,
    Retrying,
    Serial,
)
from nondet.execute.executors.local import LocalPool
from nondet.execute.executors.processors import available_processors
from nondet.execute.executors.ray_tasks import RayTasks
from nondet.execute.executors.worker import keep_memory

__all__ = [
    "Executor",
    "ExecutorError",
    "JobFailedError",
    "LocalPool",
    "RayTasks",
    "Retrying",
    "Serial",
    "available_processors",
    "keep_memory",
]


def __getattr__(name: str) -> Any:
    if name == "InProcess":
        warnings.warn(
            "InProcess is deprecated: use nondet.Serial", DeprecationWarning, stacklevel=2
        )
        return Serial
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
