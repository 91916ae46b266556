"""Lock a study's folder: for one process that trains the whole study, or for several that train
shards of it.

DIR/.lock    locked by the kernel; says, under a checksum, who trains the whole study, and is empty
             otherwise
"""

import fcntl
import math
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Any

from nondet.json_files import format_checksummed, parse_checksummed
from nondet.store.errors import StoreError, writing

LOCK = ".lock"

_PAUSE, _LONG_PAUSE = 0.05, 1.0  # seconds between two attempts at a lock: soon free, or at last


@contextmanager
def locked(
    root: Path,
    *,
    shared: bool = False,
    wait: bool = False,
    others: Callable[[], str] = lambda: "",
) -> Iterator[None]:
    """Hold the lock of a folder, which is created if there is none.

    shared: with other processes that share it, but with none that has it alone. wait: for as long
    as another process holds it. others: returns, in words, who shares it.

    Raises StoreError if another process holds it, or the folder cannot be written.
    """
    with writing("the study", root):
        root.mkdir(parents=True, exist_ok=True)
        # Without a buffer, of which a rest would be written again when the file is closed.
        lock = (root / LOCK).open("a+b", buffering=0)
    with lock:
        if not acquire(lock, shared=shared, seconds=math.inf if wait else 0.0):
            raise StoreError(
                f"{root} is in use by {others() or f'another process ({owner_of(lock)})'}. Wait "
                "for it, end it, or choose another folder with --out."
            )
        if shared:
            yield
            return
        with writing("the study", root):
            write_owner(lock)
        try:
            yield
        finally:
            lock.truncate(0)


def acquire(file: FileIO, *, shared: bool = False, seconds: float = 0.0) -> bool:
    """Lock an open file, alone or shared; return False if others hold it for all these seconds.

    The kernel releases the lock when the file is closed or the process ends for whatever reason.
    Raises StoreError if the file system has no locks.
    """
    end = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end:
                return False
            time.sleep(_PAUSE if seconds < math.inf else _LONG_PAUSE)
        except OSError as error:
            raise StoreError(
                f"cannot lock {file.name}: {error.strerror or error}. Choose a folder on a file "
                "system with locks (flock) with --out."
            ) from error
        else:
            return True


def write_owner(file: FileIO, **more: Any) -> None:
    """Write that this process holds the lock of a file, and more. Raises OSError."""
    file.truncate(0)
    owner = {"process": os.getpid(), "host": socket.gethostname(), **more}
    file.write(format_checksummed(owner))


def read_owner(file: FileIO) -> Mapping[str, Any] | None:
    """Return what `write_owner` wrote; None for an empty file. Raises ValueError for others."""
    file.seek(0)
    data = file.read()
    return parse_checksummed(data) if data else None


def owner_of(file: FileIO) -> str:
    """Return who holds the lock of a file, in words."""
    try:
        owner = read_owner(file) or {}
        return f"process {owner['process']} on {owner['host']}"
    except (ValueError, KeyError):
        return "unknown"


def check_owner(path: Path) -> None:
    """Raise ValueError if the file of a lock is damaged."""
    data = path.read_bytes() if path.exists() else b""
    if not data:
        return
    try:
        parse_checksummed(data)
    except ValueError as error:
        if path.read_bytes() == data:  # else a study is being opened or closed
            raise ValueError(f"{path} {error}; the next run of the study writes it again") from None
