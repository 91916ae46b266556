"""Files and folders that are there whole or not at all, also after a crash."""

import os
import re
import secrets
import shutil
import socket
import time
from pathlib import Path

ABANDONED_AFTER = 3600.0
"""Seconds without a change after which an unfinished file counts as left behind, where its writer
cannot be asked because it ran elsewhere.
"""

_HOST = re.sub(r"[^A-Za-z0-9]+", "_", socket.gethostname())[:40]
_UNFINISHED = re.compile(r"\.(?P<host>\w+)-(?P<process>\d+)-[0-9a-f]{8}\.tmp$")


def unfinished(path: Path) -> Path:
    """A name beside `path` under which it can be written before it is renamed: no two writers, be
    they on other hosts, get the same.
    """
    return path.with_name(f"{path.name}.{_HOST}-{os.getpid()}-{secrets.token_hex(4)}.tmp")


def is_unfinished(path: Path) -> bool:
    """Whether this is a name that `unfinished` gave."""
    return _UNFINISHED.search(path.name) is not None


def remove_leftovers(folder: Path) -> None:
    """Removes what writers left unfinished that are no longer at work: processes of this host that
    ended, and any that changed nothing for `ABANDONED_AFTER`.
    """
    for path in folder.iterdir():
        if is_unfinished(path) and _is_left_behind(path):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def write_atomically(path: Path, data: str | bytes) -> None:
    """Replaces a file as a whole: readers see the old contents or the new, nothing in between."""
    begun = unfinished(path)
    try:
        write_flushed(begun, data.encode() if isinstance(data, str) else data)
        begun.replace(path)
    except BaseException:
        begun.unlink(missing_ok=True)
        raise
    flush_folder(path.parent)


def write_flushed(path: Path, data: bytes) -> None:
    """Writes a file to the disk, not only to the system's memory."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def flush_folder(path: Path) -> None:
    """Writes to the disk which files a folder holds."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_left_behind(path: Path) -> bool:
    name = _UNFINISHED.search(path.name)
    assert name is not None
    if name["host"] == _HOST and not _is_running(int(name["process"])):
        return True
    try:
        changes = [one.stat().st_mtime for one in (path, *path.glob("*"))]
    except FileNotFoundError:  # its writer is finishing it this moment
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
