"""Start the recorder of nondet in a process that has imported torch, and stop it in time.

Modules are imported where they are needed: processes without torch load this one too.
"""

from __future__ import annotations

import _thread
import os
import sys

import nondet_marks

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing is slow to load
    from typing import Any

EXIT_SECONDS = 10.0
"""How long `os._exit` waits for files to be closed: another thread may hold the recorder up."""


class _Packages:
    """A finder behind all others: packages of the nondet that traces, for a Python without it."""

    def __init__(self, folders: dict[str, str]) -> None:
        self._folders = folders

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        from importlib.machinery import PathFinder

        folder = self._folders.get(name)
        return None if folder is None else PathFinder.find_spec(name, [folder])


def start(folder: str, settings: str, role: str) -> Any:
    """Start a session that records this process.

    settings: JSON with "options", "version" and "packages", the folders of nondet's packages.
    Raises ImportError if nondet cannot be imported, or is of another version; what the recorder
    raises.
    """
    import importlib.util
    import json
    from pathlib import Path

    given = json.loads(settings)
    if "nondet" not in sys.modules:
        spec = importlib.util.find_spec("nondet")
        if spec is None or spec.origin is None:
            finder: Any = _Packages(given["packages"])
            sys.meta_path.append(finder)
    import nondet

    found = Path(nondet.__file__).parent
    ours = Path(given["packages"]["nondet"]) / "nondet"
    if found.resolve() != ours.resolve() and nondet.__version__ != given["version"]:
        raise ImportError(
            f"nondet {nondet.__version__} in {found} is not nondet {given['version']} that traces"
        )
    try:
        from nondet.tracing.options import Options
        from nondet.tracing.record import session
    except ImportError as error:
        raise ImportError(f"the recorder in {found} cannot be imported: {error}") from error

    options = given["options"]
    steps = options["steps"]
    options["steps"] = None if steps is None else tuple(steps)
    return _start(session, Path(folder), Options(**options), role)


def _start(session: Any, folder: Any, options: Any, role: str) -> Any:
    """Start a session, also from a thread that imports torch in place of the main one.

    Threads that ran before are not seen: a recorder can only be given to a thread from inside.
    """
    import threading

    from nondet.tracing.records import Unseen

    this, main = threading.current_thread(), threading.main_thread()
    if this is main:
        started = session.start(folder, options, role)
    else:
        started = session.start(folder, options, f"{role}/thread {this.name}")
        _call_in_main_thread(lambda: started.begin_thread(started.name_role(role)))
    for thread in threading.enumerate():
        if thread not in (this, main):
            what = f"{role}/thread {thread.name} ran before torch was imported"
            started.find_recorder().stream.unseen(Unseen("thread", what))
    return started


def _call_in_main_thread(call: Any) -> None:
    """Call a function in the main thread before that executes more of Python."""
    import ctypes

    def pending(_: Any) -> int:
        _calls.clear()
        try:
            call()
        except Exception as error:
            nondet_marks.say(f"the main thread is not recorded: {error}")
        return 0

    function = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)(pending)
    _calls.append(function)  # lives until it is called
    if ctypes.pythonapi.Py_AddPendingCall(function, None):
        raise RuntimeError("the main thread cannot be recorded: too many calls wait for it")


_calls: list[Any] = []


def stop_before_exit(process: Any) -> None:
    """Close the streams of a process before `os._exit` ends it, as multiprocessing ends forks."""
    original = os._exit

    def close(closed: Any) -> None:
        process.stop()
        closed.release()

    def _exit(status: int) -> Any:
        if process.session is not None:
            try:
                closed = _thread.allocate_lock()
                closed.acquire()
                _thread.start_new_thread(close, (closed,))
                closed.acquire(timeout=EXIT_SECONDS)
            except Exception:
                pass
        original(status)

    _exit.__doc__ = original.__doc__
    os._exit = _exit
