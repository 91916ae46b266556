"""Append blocks to a file; after the first failure, nothing more."""

import errno
import os
from collections.abc import Iterable
from pathlib import Path

from nondet.tracing.format.blocks import BlockKind, Chain


class BlockFile:
    """A new file to which blocks are appended, each of them in the file when `append` returns."""

    def __init__(self, path: Path, header: bytes) -> None:
        self._path = path.absolute()  # the process may change its directory
        self._chain = Chain(header)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
        self._descriptor = os.open(path, flags, 0o666)
        status = os.fstat(self._descriptor)
        self._identity = status.st_dev, status.st_ino
        self._size = 0
        self._begin = header

    def append(self, blocks: Iterable[tuple[BlockKind, bytes]]) -> None:
        """Append blocks, given as kinds and payloads. Raises OSError if they cannot be written."""
        parts = [self._begin]
        for kind, payload in blocks:
            frame, checksum = self._chain.frame(kind, payload)
            parts += frame, payload, checksum
        data = b"".join(parts)
        self._check()
        written = os.write(self._descriptor, data)
        while written < len(data):
            written += os.write(self._descriptor, memoryview(data)[written:])
        self._size += len(data)
        self._begin = b""

    def close(self, *, cut: bool) -> None:
        """Close the file; with `cut`, drop a part of a block that was written in vain."""
        if not self._is_open():
            return
        if cut and os.fstat(self._descriptor).st_size > self._size:
            os.ftruncate(self._descriptor, self._size)
        os.close(self._descriptor)

    def _check(self) -> None:
        """Raise OSError unless the descriptor is the file's, and the file as it was left."""
        if not self._is_open():
            raise OSError(errno.EBADF, "the traced program closed the file", str(self._path))
        size = os.fstat(self._descriptor).st_size
        if size != self._size:
            problem = f"something else changed the file: {size} bytes in place of {self._size}"
            raise OSError(errno.EIO, problem, str(self._path))

    def _is_open(self) -> bool:
        # A program that closes descriptors it did not open may have got this one for a file of its
        # own.
        try:
            status = os.fstat(self._descriptor)
        except OSError:
            return False
        return (status.st_dev, status.st_ino) == self._identity
