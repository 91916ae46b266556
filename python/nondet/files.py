"""Files that are there whole or not at all, also after a crash."""

import os
from pathlib import Path


def write_atomically(path: Path, data: str | bytes) -> None:
    """Replaces a file as a whole: readers see the old contents or the new, nothing in between."""
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        write_flushed(unfinished, data.encode() if isinstance(data, str) else data)
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
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
