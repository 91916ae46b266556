"""Run a command as a shell would: its streams, its signals and its exit code are its own."""

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

NOT_EXECUTABLE = 126
NOT_FOUND = 127
KILLED = 128
"""Exit codes of shells: for a program that cannot be executed, for none of that name, and 128 + n
for one that signal n ended.
"""

_FORWARDED = (
    *(signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT),
    *(signal.SIGUSR1, signal.SIGUSR2),
)
_FROM_KERNEL = 0x80  # SI_KERNEL: the terminal sent the signal, to the command as well


class CommandError(Exception):
    """A command cannot be started.

    Attributes:
        exit_code: That of a shell that was told to start it.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def find_program(name: str, environment: Mapping[str, str], folder: Path = Path()) -> str:
    """Return the path of a program, as a shell in a folder finds it. Raises CommandError."""
    known = str(folder / name) if os.sep in name else name
    path = shutil.which(known, path=environment.get("PATH"))
    if path is not None:
        return path
    if not ((folder / name).exists() and (os.sep in name or name.endswith(".py"))):
        raise CommandError(f"there is no program {name!r}", NOT_FOUND)
    hint = f"; did you mean `python {name}`?" if name.endswith(".py") else ""
    raise CommandError(f"{name!r} is not a program that can be executed{hint}", NOT_EXECUTABLE)


def run_command(program: str, arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run a program to its end and return its exit code, 128 + n if signal n ended it.

    arguments: with the name of the program first. A signal that is sent to this process is sent on.
    One that the terminal sends reaches both: no one sends it twice. Raises CommandError if the
    program cannot be executed.
    """
    # A parent may have had this one ignore it; then no one would learn of the end of the command.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD, *_FORWARDED})
    try:
        try:
            # Signals that Python ignores are not ignored in the child: `restore_signals`.
            child = subprocess.Popen(
                list(arguments),
                executable=program,
                env=environment,
                close_fds=False,
                preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_SETMASK, before),
            )
        except OSError as error:
            raise CommandError(
                f"cannot execute {program}: {error.strerror}", NOT_EXECUTABLE
            ) from None
        return _wait(child)
    finally:
        # Signals that came after the end have no one to go to.
        while signal.sigtimedwait(_FORWARDED, 0) is not None:
            pass
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _wait(child: "subprocess.Popen[bytes]") -> int:
    """Wait for the end of a child, with the signals to send on blocked; return its exit code."""
    while True:
        code = child.poll()
        if code is not None:
            return code if code >= 0 else KILLED - code
        came = signal.sigwaitinfo({signal.SIGCHLD, *_FORWARDED})
        if came.si_signo != signal.SIGCHLD and came.si_code != _FROM_KERNEL:
            child.send_signal(came.si_signo)
