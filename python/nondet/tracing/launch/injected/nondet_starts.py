"""Hand roles down to the children of a process, and note which were started.

A child takes its role from the environment. Functions of Python that start programs are wrapped to
put it there; `subprocess` and `multiprocessing` go through `fork_exec` and `posix_spawn`. Forks
call hooks. An audit hook would see them all too, but it would slow every call of `id`, `open` and
`sys._getframe`, and it could not change the environment of a child.

Where anything of this fails, the child starts as it would have without it.
"""

from __future__ import annotations

import _posixsubprocess
import _thread
import os
import sys

import nondet_commands
from nondet_names import FOLDER, ROLE

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing is slow to load
    from collections.abc import Callable
    from types import FrameType
    from typing import Any

_HERE = os.path.dirname(os.path.abspath(__file__))
_FORKSERVER = "forkserver"

COMPILER = "compiler"
"""The roles of what torch starts to compile: "main/compiler 1". A cache decides if it does."""

_COMPILERS = ("torch._inductor.", "torch.utils.cpp_extension", "triton.")

Environment = dict[bytes, bytes]


class Starts:
    """The wrappers and hooks of a process, and of the children that it forks."""

    def __init__(self, process: Any) -> None:
        self._process = process
        self._local = _thread._local()

    # Programs

    def fork_exec(self, original: Callable[..., int], *args: Any) -> int:
        """Start a program by `_posixsubprocess.fork_exec`, which takes, by place: arguments, paths
        of the program to try, ..., directory (4), list of the environment or None (5), ...
        """
        try:
            folder = os.fsdecode(args[4]) if args[4] is not None else ""
            paths = [os.path.join(folder, os.fsdecode(path)) for path in args[1]]
            path = next(path for path in paths if os.access(path, os.X_OK))
            role, text = self._command(args[0], path)
            environment = None
            if args[5] is not None:
                environment = dict(_split(os.fsencode(variable)) for variable in args[5])
                traced = self._hand_down(environment, role)
                args = (*args[:5], [b"=".join(item) for item in environment.items()], *args[6:])
        except Exception:  # also for a program that does not exist, and so does not start
            return original(*args)
        self._local.executes = True
        try:
            if environment is not None:
                pid = original(*args)
            else:
                with self._process.children.lock:
                    traced = self._put(role)
                    pid = original(*args)
        finally:
            self._local.executes = False
        self._note(role, text, traced)
        return pid

    def posix_spawn(
        self, original: Callable[..., int], path: Any, argv: Any, env: Any, /, **options: Any
    ) -> int:
        """Start a program by `os.posix_spawn` or `os.posix_spawnp`."""
        try:
            argv = list(argv)
            role, text = self._command(argv, path)
            environment = _encoded(env)
            traced = self._hand_down(environment, role)
        except Exception:
            return original(path, argv, env, **options)
        pid = original(path, argv, environment, **options)
        self._note(role, text, traced)
        return pid

    def system(self, original: Callable[..., int], command: Any) -> int:
        """Start a shell by `os.system`."""
        try:
            role, text = self._command(["sh", "-c", command], "/bin/sh")
            with self._process.children.lock:
                traced = self._put(role)
            self._note(role, text, traced)
        except Exception:
            pass
        return original(command)

    def execv(self, original: Callable[..., None], path: Any, argv: Any) -> None:
        """Become another program by `os.execv`."""
        try:
            argv = list(argv)
            role = self._replaced_role
            self._replaced(path, argv, self._put(role))
        except Exception:
            pass
        original(path, argv)

    def execve(self, original: Callable[..., None], path: Any, argv: Any, env: Any) -> None:
        """Become another program by `os.execve`."""
        environment = env
        try:
            argv = list(argv)
            environment = _encoded(env)
            self._replaced(path, argv, self._hand_down(environment, self._replaced_role))
        except Exception:
            environment = env
        original(path, argv, environment)

    def _command(self, argv: Any, path: Any) -> tuple[str, str]:
        """Return the role of a program that is about to start, and a text about it."""
        command = nondet_commands.parse(argv, path)
        children = self._process.children
        if command.helper:
            return children.named(command.helper), command.text
        starting = self._take("starting")
        if starting is None:
            kind = COMPILER if _compiles() else "command"
            starting = children.numbered(" ".join([kind, *command.program]))
        return starting, command.text

    @property
    def _replaced_role(self) -> str:
        return f"{self._process.mark.role}/exec"

    def _replaced(self, path: Any, argv: Any, traced: bool) -> None:
        """Close the streams of this process, which is about to become another program."""
        if isinstance(path, int) or os.access(path, os.X_OK):  # `execvp` tries all folders of PATH
            self._note(self._replaced_role, nondet_commands.parse(argv, path).text, traced)
            self._process.stop()

    # Forks and multiprocessing

    def before_fork(self) -> None:
        """Number the child; not that of `fork_exec`, which only calls `preexec_fn` here."""
        if not getattr(self._local, "executes", False):
            self._local.forking = self._take("starting") or (
                _FORKSERVER if self._is_forkserver else self._process.children.numbered("fork")
            )

    def after_fork_in_parent(self) -> None:
        role = self._take("forking")
        if role is not None and role != _FORKSERVER:
            self._note(role, f"a fork of {self._process.mark.role}", True)

    def after_fork_in_child(self) -> None:
        role = self._take("forking")
        if role == _FORKSERVER:
            self._wait_for_name()
        elif role is not None:
            self._process.forked(role)

    def start(self, original: Callable[..., None], process: Any) -> None:
        """Start a process of multiprocessing."""
        try:
            children = self._process.children
            role = (
                children.named(f"{COMPILER} {process.name}")
                if _compiles()
                else children.of_multiprocessing(process)
            )
        except Exception:
            original(process)
            return
        self._local.starting = role
        self._process.mark.write(process=process.name, role=role)
        try:
            original(process)
            if self._take("starting") is not None:  # the forkserver started it
                self._note(role, f"a fork of {self._process.mark.role}", True)
        finally:
            self._local.starting = None

    @property
    def _is_forkserver(self) -> bool:
        name: str = self._process.mark.role.rpartition("/")[2]
        return name.partition(" #")[0] == _FORKSERVER

    def _wait_for_name(self) -> None:
        """Take a role once the process that asked the forkserver for this one says its name."""
        spawn: Any = sys.modules["multiprocessing.spawn"]
        original = spawn.prepare
        asking = self._process.mark.role.rpartition("/")[0]

        def prepare(data: dict[str, Any], *rest: Any) -> Any:
            spawn.prepare = original
            self._process.forked(self._process.asked_role(asking, data["name"]))
            return original(data, *rest)

        spawn.prepare = prepare

    # The environment

    def _put(self, role: str) -> bool:
        """Put a role where programs inherit it from this process; False if it left the trace."""
        if os.environ.get(FOLDER) != self._process.folder:
            return False
        os.putenv(ROLE, self._process.ticket(role))
        path = os.environ.get("PYTHONPATH", "")
        if not _finds_us(path):
            os.putenv("PYTHONPATH", _with_us(path))
        return True

    def _hand_down(self, environment: Environment, role: str) -> bool:
        """Put a role into the environment of a child; False if it is to leave the trace.

        That is so without the variable that names the trace: an environment made from nothing stays
        as it is. PYTHONPATH is mended: scripts set it for other reasons.
        """
        if environment.get(os.fsencode(FOLDER)) != os.fsencode(self._process.folder):
            return False
        environment[os.fsencode(ROLE)] = os.fsencode(self._process.ticket(role))
        path = os.fsdecode(environment.get(b"PYTHONPATH", b""))
        if not _finds_us(path):
            environment[b"PYTHONPATH"] = os.fsencode(_with_us(path))
        return True

    def _note(self, role: str, text: str, traced: bool) -> None:
        self._process.mark.write(child=role, command=text, cleared=not traced)

    def _take(self, name: str) -> str | None:
        """Return what this thread set, once."""
        value: str | None = getattr(self._local, name, None)
        setattr(self._local, name, None)
        return value


def install(process: Any) -> Starts:
    """Wrap the functions that start programs, and register the hooks of forks."""
    starts = Starts(process)
    fork_exec = _wrap(_posixsubprocess, "fork_exec", starts.fork_exec)
    subprocess: Any = sys.modules.get("subprocess")
    if subprocess is not None:
        subprocess._fork_exec = fork_exec
    for name in ("posix_spawn", "posix_spawnp"):
        if hasattr(os, name):
            _wrap(os, name, starts.posix_spawn)
    for name in ("execv", "execve", "system"):
        _wrap(os, name, getattr(starts, name))
    os.register_at_fork(
        before=starts.before_fork,
        after_in_parent=starts.after_fork_in_parent,
        after_in_child=starts.after_fork_in_child,
    )
    return starts


def wrap_multiprocessing(starts: Starts) -> None:
    """Wrap the start of processes of multiprocessing, once that is imported."""
    _wrap(sys.modules["multiprocessing.process"].BaseProcess, "start", starts.start)


def _wrap(owner: Any, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    original = getattr(owner, name)

    def wrapper(*args: Any, **options: Any) -> Any:
        return call(original, *args, **options)

    wrapper.__name__ = original.__name__
    wrapper.__qualname__ = original.__qualname__
    wrapper.__doc__ = original.__doc__
    wrapper.__module__ = getattr(owner, "__module__", owner.__name__)  # where pickle finds it
    wrapper.__wrapped__ = original  # type: ignore[attr-defined]
    setattr(owner, name, wrapper)
    return wrapper


def _compiles() -> bool:
    """Return True if the caller is called by a compiler of torch."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if str(frame.f_globals.get("__name__")).startswith(_COMPILERS):
            return True
        frame = frame.f_back
    return False


def _finds_us(path: str) -> bool:
    return _HERE in path.split(os.pathsep)


def _with_us(path: str) -> str:
    return _HERE + os.pathsep + path if path else _HERE


def _split(variable: bytes) -> tuple[bytes, bytes]:
    name, _, value = variable.partition(b"=")
    return name, value


def _encoded(environment: Any) -> Environment:
    return {os.fsencode(name): os.fsencode(value) for name, value in environment.items()}
