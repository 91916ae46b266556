"""What a running study tells of its progress."""

import logging
from collections.abc import Collection, Mapping
from typing import Protocol

from nondet.execute.jobs import Outcome
from nondet.studies.job import Job
from nondet.studies.study import Plan


class Progress(Protocol):
    """Receives messages and events of a running study."""

    def message(self, text: str) -> None:
        """Show a message to the user."""

    def proving(self) -> None:
        """Show that the control is being verified."""

    def start(
        self,
        plan: Plan,
        done: Mapping[Job, Outcome],
        workers: int,
        share: Collection[Job] | None = None,
    ) -> None:
        """Show that the runs start, `workers` at a time; `done` are stored already. share: the runs
        of a shard, if this process trains no more than these.
        """

    def finished(self, job: Job, outcome: Outcome) -> None:
        """Show that a run ended."""


class LoggedProgress:
    """Logs messages as warnings of the logger "nondet" and ignores all other events."""

    def message(self, text: str) -> None:
        """Log a warning."""
        logging.getLogger("nondet").warning("%s", text)

    def proving(self) -> None:
        """Do nothing."""

    def start(
        self,
        plan: Plan,
        done: Mapping[Job, Outcome],
        workers: int,
        share: Collection[Job] | None = None,
    ) -> None:
        """Do nothing."""

    def finished(self, job: Job, outcome: Outcome) -> None:
        """Do nothing."""
