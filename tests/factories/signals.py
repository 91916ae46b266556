"""Signals that processes of tests answer, however the tests were started."""

import signal


def answer_signals() -> None:
    """Let a new process end by SIGINT and SIGQUIT: pass this as `preexec_fn`.

    A process inherits which signals are ignored, and shells start those in the background so.
    """
    for number in (signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
