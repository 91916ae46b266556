"""Record the threads that a script starts."""

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from nondet.tracing.record.patches import Patches

if TYPE_CHECKING:
    from nondet.tracing.record.recorder import Recorder


class Session(Protocol):
    """What threads need of a session."""

    stopped: bool

    def find_recorder(self) -> Any:
        """Return the recorder of this thread."""

    def name_role(self, role: str) -> str:
        """Return a role that no other stream has."""

    def begin_thread(self, role: str) -> "Recorder":
        """Give this thread a recorder."""

    def end_thread(self, recorder: "Recorder") -> None:
        """Close the stream of this thread."""


def follow_threads(session: Session, patches: Patches) -> None:
    """Give each thread that starts from now on a recorder of its own."""

    def make(original: Callable[..., None]) -> Callable[..., None]:
        def start(self: threading.Thread) -> None:
            parent = session.find_recorder()
            if parent is not None and not session.stopped and not _is_of_library(self):
                role = session.name_role(f"{parent.stream.role}/thread {self.name}")
                _wrap_run(self, session, role)
            original(self)

        return start

    patches.wrap(threading.Thread, "start", make)


def _is_of_library(thread: threading.Thread) -> bool:
    """Return True for the threads that move data of queues."""
    target = getattr(thread, "_target", None)
    return getattr(target, "__module__", "").split(".")[0] == "multiprocessing"


def _wrap_run(thread: threading.Thread, session: Session, role: str) -> None:
    """Replace `run` of a thread, whatever its class."""
    run = thread.run

    def run_recorded() -> None:
        del thread.run
        recorder = session.begin_thread(role)
        try:
            run()
        finally:
            session.end_thread(recorder)

    thread.run = run_recorded  # type: ignore[method-assign]
