"""Where runs run: in this process, in a pool of processes on this machine, or as tasks of Ray.

Every process computes with one thread, so that neither the number of threads nor the number of
workers can reach a result.
"""

from nondet.execute.executor import Executor, ExecutorError, InProcess, JobFailedError
from nondet.execute.local import LocalPool
from nondet.execute.processors import available_processors
from nondet.execute.ray_tasks import RayTasks
from nondet.execute.worker import keep_memory

__all__ = [
    "Executor",
    "ExecutorError",
    "InProcess",
    "JobFailedError",
    "LocalPool",
    "RayTasks",
    "available_processors",
    "keep_memory",
]
