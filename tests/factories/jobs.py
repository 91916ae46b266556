"""Functions that tests run in other processes, which import them from this module."""

import os
import signal
import time
from pathlib import Path

import torch

from nondet.execute.jobs import Outcome, run_job
from nondet.execute.mixing import Environments
from nondet.store import Store
from nondet.studies.job import Job
from nondet.studies.row import Keep

VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NONDET_DATA")


def process_item(folder: Path, item: str) -> str:
    """Append this process's ID to a file named after the item; return the item in upper case.

    In its first N attempts, "raise N" raises IndexError and "kill N" kills the process.
    """
    log = folder / item
    with log.open("a") as file:
        file.write(f"{os.getpid()}\n")
    kind, _, attempts = item.partition(" ")
    if attempts and len(processes(log)) <= int(attempts):
        if kind == "raise":
            raise IndexError("not now")
        os.kill(os.getpid(), signal.SIGKILL)
    return item.upper()


def processes(log: Path) -> list[int]:
    """Return the IDs of the processes that attempted an item."""
    return [int(line) for line in log.read_text().split()]


def describe_process(_: object) -> tuple[int, Path, int, dict[str, str]]:
    """Return the ID, working directory, number of threads and variables of this process."""
    variables = {name: os.environ[name] for name in VARIABLES}
    return os.getpid(), Path.cwd(), torch.get_num_threads(), variables


def run_job_until_killed(
    log: Path,
    store: Store,
    expected: Environments | None,
    task: tuple[Job, frozenset[Keep]],
) -> Outcome:
    """Run a job. The first attempt of the run with shuffle seed 2 instead writes the ID of its
    process to the file `log` and waits to be killed.
    """
    job, _ = task
    if job.seeds.shuffle == 2 and job.seeds.init == 1 and not log.exists():
        log.with_suffix(".part").write_text(str(os.getpid()))
        log.with_suffix(".part").rename(log)
        time.sleep(600)
    return run_job(store, expected, task)
