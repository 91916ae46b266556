"""What a trace does in a Python process: a mark at its start, the recorder once torch is imported.

Every Python process of a traced command loads this module, torch or no torch, so it imports little.
"""

from __future__ import annotations

import atexit
import os
import sys

import nondet_imports
import nondet_marks
import nondet_recorder
import nondet_starts
from nondet_children import Children
from nondet_names import FOLDER, OPTIONS, ROLE

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing is slow to load
    from collections.abc import Callable
    from typing import Any


class Process:
    """This process: its mark, the roles of its children, and the session of its recorder."""

    def __init__(self, folder: str, role: str, given: str) -> None:
        """Take a role; `given` is the one handed down.

        Raises OSError if the folder of the trace cannot be written.
        """
        self.folder = folder
        self._settings = os.environ.get(OPTIONS, "{}")
        self.session: Any = None
        self._become(role, given)

    def _become(self, role: str, given: str) -> None:
        self.children = Children(role)
        self._rank = os.environ.get("RANK", "")
        self.mark = nondet_marks.claim(self.folder, role, given)
        self.children = Children(self.mark.role)
        # Children that no one numbers, such as those of a C library, take this role.
        os.environ[ROLE] = self.ticket(f"{self.mark.role}/command")

    def ticket(self, role: str) -> str:
        """Return what tells a child its role."""
        return f"{self._rank}:{role}"

    def forked(self, role: str) -> None:
        """Go on as the child that a fork made of this process, with streams of its own."""
        try:
            self._become(role, role)
        except OSError as error:
            self.session = None  # its files are those of the parent
            self._complain(f"cannot write to {self.folder}: {error.strerror}")
            return
        if self.session is not None:
            self._guard(self._record_fork)

    def asked_role(self, asking: str, name: str) -> str:
        """Return the role that another process gave to the multiprocessing process of a name."""
        return nondet_marks.given_role(self.folder, asking, name) or f"{asking}/process {name}"

    def torch_imported(self) -> None:
        """Start the recorder."""
        if f"/{nondet_starts.COMPILER} " in self.mark.role:
            self.mark.write(torch="compiles")
        elif hasattr(sys.modules["torch"], "Tensor"):  # else it is a module of the user's
            self._guard(self._record)

    def _record(self) -> None:
        self.session = nondet_recorder.start(self.folder, self._settings, self.mark.role)
        self.mark.write(torch="recorded")
        atexit.register(self.stop)
        nondet_recorder.stop_before_exit(self)

    def _record_fork(self) -> None:
        self.session.after_fork(self.mark.role)
        self.mark.write(torch="recorded")

    def stop(self) -> None:
        """Close the streams of this process, if it has any. Raises nothing."""
        session, self.session = self.session, None
        if session is not None:
            self._guard(session.stop)

    def end(self) -> None:
        """Note at the end of the process if torch was imported and no one noticed."""
        if not self.mark.knows_torch and hasattr(sys.modules.get("torch"), "Tensor"):
            self.mark.write(torch="missed", problem="torch was imported by unusual means")

    def _guard(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as error:
            self.session = None
            self._complain(f"{type(error).__name__}: {error}")

    def _complain(self, problem: str) -> None:
        self.mark.write(torch="failed", problem=problem)
        if nondet_marks.is_first(self.folder, "complained"):
            nondet_marks.say(f"{self.mark.role} ({sys.executable}) is not recorded: {problem}")


def prepare() -> None:
    """Prepare this process if it belongs to a trace."""
    folder = os.environ.get(FOLDER)
    if not folder:
        return
    parent_rank, _, given = os.environ.get(ROLE, ":main").partition(":")
    rank = os.environ.get("RANK", "")
    role = f"rank {rank}" if rank and rank != parent_rank else given
    try:
        process = Process(folder, role, given)
    except OSError as error:
        nondet_marks.say(f"{role} ({sys.executable}) is not recorded: {error}")
        return
    atexit.register(process.end)
    starts = nondet_starts.install(process)
    nondet_imports.watch(
        {
            "torch": process.torch_imported,
            "multiprocessing.process": lambda: nondet_starts.wrap_multiprocessing(starts),
        }
    )
