"""Open the files of a folder that anybody may have made."""

import os
import stat
from pathlib import Path
from typing import BinaryIO

from nondet.tracing.format.errors import TraceError


def open_file(path: Path) -> BinaryIO:
    """Open a regular file for reading.

    Raises TraceError for one that cannot be opened, for a symbolic link, which may lead out of the
    trace, and for pipes, folders and devices.
    """
    try:
        # Without O_NONBLOCK, a named pipe would wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError as error:
        linked = path.is_symlink()
        problem = "is a symbolic link" if linked else f"cannot be read: {error.strerror}"
        raise TraceError(path, problem) from None
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    raise TraceError(path, "is no regular file")
