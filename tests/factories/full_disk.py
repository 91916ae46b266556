"""Runs a study while the disk is full from some write on.

Usage: python -m factories.full_disk TOML FOLDER EVERY

For every EVERY-th write of the study, in a folder of its own: the disk is full from that write on,
until the command ends; then the same command goes on, with an empty disk. Prints a line for each:
the number of the write, the exit status and the errors of the first command, and the exit status of
the second, as JSON.
"""

import contextlib
import errno
import functools
import io
import json
import os
import sys
from pathlib import Path
from typing import Any

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_CHANGES = {"os.mkdir": 0, "os.rename": 1, "os.link": 1}
"""Events of Python's audit, and which argument is what they make."""


class Disk:
    """A disk that is full after some writes below a folder: after files that are opened for
    writing, folders, links, and names that are given.
    """

    def __init__(self) -> None:
        self.root = ""
        self.left: int | None = None
        self.writes = 0
        self.full = False
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.left is None:
            return
        if event == "open" and arguments[2] & _WRITING:
            path = arguments[0]
        elif event in _CHANGES:
            path = arguments[_CHANGES[event]]
        else:
            return
        if not isinstance(path, str | bytes) or not os.fsdecode(path).startswith(self.root):
            return
        if self.writes >= self.left:
            self.full = True
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        self.writes += 1


def run(*arguments: object) -> tuple[int, str]:
    """Run a command in this process; return its exit status and its errors."""
    from nondet.cli import app

    errors = io.StringIO()
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
        try:
            app([str(each) for each in arguments])
        except SystemExit as end:
            return int(end.code or 0), errors.getvalue()
    raise AssertionError("the command did not end")


def main(study: Path, folder: Path, every: int) -> None:
    """Run the study with a disk that is full from write 0, EVERY, 2 EVERY, ... on."""
    from nondet.execute import jobs
    from nondet.training.checkpoint import Checkpoints

    jobs.Checkpoints = functools.partial(Checkpoints, every_steps=4)  # type: ignore[misc,assignment]
    disk, fitting = Disk(), 0
    while True:
        out = folder / str(fitting) / "out"
        out.parent.mkdir(parents=True)
        command = ("run", study, "--executor", "serial", "--quiet", "--out", out)
        disk.root, disk.left, disk.writes, disk.full = str(out), fitting, 0, False
        status, errors = run(*command)
        disk.left = None
        again = run(*command)
        print(json.dumps([fitting, status, errors, *again]), flush=True)
        if not disk.full:  # all writes were fitting
            return
        fitting += every


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
