"""Lock a study's folder, so that one process at a time has it open for a plan.

DIR/.lock    who holds the lock, with a checksum; empty if nobody does
"""

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

from nondet.json_files import format_checksummed, parse_checksummed
from nondet.store.errors import StoreError, writing

LOCK = ".lock"


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """Hold the lock of a folder, which is created if there is none.

    Raises StoreError if another process holds it, or the folder cannot be written.
    """
    with writing("the study", root):
        root.mkdir(parents=True, exist_ok=True)
        # Without a buffer, of which a rest would be written again when the file is closed.
        lock = (root / LOCK).open("a+b", buffering=0)
    with lock:
        try:
            # The kernel releases the lock when the process ends for whatever reason.
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreError(
                f"{root} is in use by another process ({_owner(lock)}). Wait for it, end it, or "
                "choose another folder with --out."
            ) from None
        with writing("the study", root):
            lock.truncate(0)
            owner = {"process": os.getpid(), "host": socket.gethostname()}
            lock.write(format_checksummed(owner))
        try:
            yield
        finally:
            lock.truncate(0)


def check_lock(root: Path) -> None:
    """Raise ValueError if the lock's file is damaged."""
    path = root / LOCK
    data = path.read_bytes() if path.exists() else b""
    if not data:
        return
    try:
        parse_checksummed(data)
    except ValueError as error:
        if path.read_bytes() == data:  # else a study is being opened or closed
            raise ValueError(f"{path} {error}; the next run of the study writes it again") from None


def _owner(lock: FileIO) -> str:
    """Return who holds the lock, in words."""
    try:
        lock.seek(0)
        entries = parse_checksummed(lock.read())
        return f"process {entries['process']} on {entries['host']}"
    except (ValueError, KeyError):
        return "unknown"
