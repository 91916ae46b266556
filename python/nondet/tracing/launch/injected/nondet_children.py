"""The roles of the children of a process, numbered in the order in which they start."""

from __future__ import annotations

import _thread
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing is slow to load
    from typing import Any


class Children:
    """The roles that a process has given; the child of a fork begins anew.

    lock: held while a role stands in the environment of this process for a child to inherit.
    """

    def __init__(self, role: str) -> None:
        self._role = role
        self._counts: dict[str, int] = {}
        self._loaders: list[Any] = []
        self.lock = _thread.allocate_lock()

    def numbered(self, kind: str) -> str:
        """Return the role of the next child of a kind that has no names: "main/command 2"."""
        return f"{self._role}/{kind} {self._count(kind)}"

    def named(self, name: str) -> str:
        """Return the role of a child with a name, which may repeat: "main/process A #2"."""
        count = self._count(name)
        return f"{self._role}/{name}" + (f" #{count}" if count > 1 else "")

    def of_multiprocessing(self, process: Any) -> str:
        """Return the role of a process of multiprocessing that is about to start."""
        worker = _loader_worker(process)
        if worker is None:
            return self.named(f"process {process.name}")
        number, mark = worker
        if not any(known is mark for known in self._loaders):
            self._loaders.append(mark)  # kept: a later object could get its address
        [place] = [place for place, known in enumerate(self._loaders, 1) if known is mark]
        return self.named(f"loader {place} worker {number}")

    def _count(self, what: str) -> int:
        self._counts[what] = self._counts.get(what, 0) + 1
        return self._counts[what]


def _loader_worker(process: Any) -> tuple[int, Any] | None:
    """Return the number of a DataLoader's worker and an object that its iterator alone has."""
    module: Any = sys.modules.get("torch.utils.data._utils.worker")
    if module is None or process._target is not module._worker_loop:
        return None
    code = module._worker_loop.__code__
    given = dict(zip(code.co_varnames[: code.co_argcount], process._args, strict=False))
    given.update(process._kwargs)
    number, event = given.get("worker_id"), given.get("done_event")
    return None if number is None or event is None else (number, event)
