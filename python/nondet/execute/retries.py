"""Tell the user of trainings that crashed and are tried again."""

from typing import Any

from nondet.execute.events import Progress
from nondet.execute.executors import JobFailedError
from nondet.execute.mixing import FATAL
from nondet.execute.prefixes import Prefix
from nondet.execute.repeating import Repeat
from nondet.studies.config import RunConfig
from nondet.studies.job import Job

MOST_MESSAGES = 5
"""Crashes that are told of singly; of more, the number is told at the end."""


class Retries:
    """Counts crashes after which something is tried again, and tells of them."""

    def __init__(self, progress: Progress, tries: int) -> None:
        self.count = 0
        self._progress = progress
        self._tries = tries

    def tell(self, item: Any, error: JobFailedError) -> None:
        """Tell that an item, as an executor got it, is tried again after this error."""
        if error.kind in FATAL:  # it stops the study
            return
        self.count += 1
        if self.count <= MOST_MESSAGES:
            self._progress.message(
                f"{_describe(item)} crashed and is tried again, at most {self._tries} times in "
                f"all: {error}"
            )

    def sum_up(self) -> None:
        """Tell how many crashes there were, if not all were told singly."""
        if self.count > MOST_MESSAGES:
            self._progress.message(f"{self.count} times, a training crashed and was tried again")


def _describe(item: Any) -> str:
    """Return what an item of the executor is, in words."""
    if isinstance(item, Prefix):
        return f"a beginning that runs of {item.job.config.model!r} share"
    if isinstance(item, Repeat):
        return f"a process that repeats a pass of {item.config.model!r}"
    first = item[0] if isinstance(item, tuple) else item
    if isinstance(first, Job):
        return f"a run of {first.config.model!r}"
    if isinstance(first, RunConfig):
        return f"a training of the control of {first.model!r}"
    return "a process"
