"""Writes files and folders atomically, so that a crash leaves no partial ones."""

import os
import re
import secrets
import shutil
import socket
import time
from pathlib import Path

ABANDONED_AFTER = 3600.0
"""Seconds without a change after which the unfinished file of another host counts as abandoned."""

_HOST = re.sub(r"[^A-Za-z0-9]+", "_", socket.gethostname())[:40]
_UNFINISHED = re.compile(r"\.(?P<host>\w+)-(?P<process>\d+)-[0-9a-f]{8}\.tmp$")


def unfinished(path: Path) -> Path:
    """Return a temporary path in the same folder, to be renamed to `path` once it is written.

    No two writers get the same path, not even on different hosts.
    """
    return path.with_name(f"{path.name}.{_HOST}-{os.getpid()}-{secrets.token_hex(4)}.tmp")


def is_unfinished(path: Path) -> bool:
    """Return True if `unfinished` made this path."""
    return _UNFINISHED.search(path.name) is not None


def remove_leftovers(folder: Path) -> None:
    """Remove the unfinished files and folders whose writers have stopped.

    These are processes of this host that no longer run, and all writers that changed nothing for
    `ABANDONED_AFTER`.
    """
    for path in folder.iterdir():
        if is_unfinished(path) and _is_abandoned(path):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def write_atomically(path: Path, data: str | bytes) -> None:
    """Replace a file, so that readers see either the old or the new contents."""
    temporary = unfinished(path)
    try:
        write_flushed(temporary, data.encode() if isinstance(data, str) else data)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    flush_folder(path.parent)


def write_flushed(path: Path, data: bytes) -> None:
    """Write a file and flush it to the disk."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def flush_folder(path: Path) -> None:
    """Flush the list of a folder's files to the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_abandoned(path: Path) -> bool:
    name = _UNFINISHED.search(path.name)
    assert name is not None
    if name["host"] == _HOST and not _is_running(int(name["process"])):
        return True
    try:
        changes = [file.stat().st_mtime for file in (path, *path.glob("*"))]
    except FileNotFoundError:  # its writer has just renamed it
        return False
    return time.time() - max(changes) > ABANDONED_AFTER


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return True
