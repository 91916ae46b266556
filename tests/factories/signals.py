"""Signals that processes of tests answer, however the tests were started."""

import sys

# Python ignores SIGPIPE and SIGXFSZ itself; `subprocess` gives other programs the default back.
SCRIPT = """
import os, signal, sys
for each in (signal.SIGINT, signal.SIGQUIT, signal.SIGPIPE, signal.SIGXFSZ):
    signal.signal(each, signal.SIG_DFL)
if os.isatty(0):
    os.close(os.open(os.ttyname(0), os.O_RDWR))
os.execvp(sys.argv[1], sys.argv[1:])
"""


def answering_signals(*command: str) -> list[str]:
    """Return a command that runs another one, which will end by SIGINT and SIGQUIT.

    A process inherits which signals are ignored, and shells start those in the background so. The
    terminal at its standard input becomes that of its session, if it starts one. Not done by
    `preexec_fn`: Python code between fork and exec may wait forever for a lock of another thread.
    """
    return [sys.executable, "-I", "-S", "-c", SCRIPT, *command]
