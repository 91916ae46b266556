"""Read and write a folder of files with checksums as a unit.

A folder is written under a temporary name and renamed once. From then on it never changes.
"""

import errno
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import TypeVar

from nondet.files import flush_folder, unfinished, write_flushed

CHECKSUMS = "SHA256SUMS"  # in the format of sha256sum: `sha256sum -c` checks a run too

_LINE = re.compile(r"([0-9a-f]{64})  ([\w+-][\w.+-]*)")
_OCCUPIED = (errno.ENOTEMPTY, errno.EEXIST)

Read = TypeVar("Read")


@dataclass(frozen=True)
class OpenFolder:
    """An open folder. Its files can be read even if another process moves the folder."""

    path: Path
    descriptor: int

    def open(self, name: str) -> BufferedReader:
        """Open one of its files for reading."""
        # Without O_NONBLOCK, a named pipe in place of a file would wait for a writer.
        descriptor = os.open(name, os.O_RDONLY | os.O_NONBLOCK, dir_fd=self.descriptor)
        return os.fdopen(descriptor, "rb")

    def checksums(self) -> dict[str, str]:
        """Return the SHA-256 of each file by name, as listed in `CHECKSUMS`.

        Raises ValueError if the list is malformed, or does not list every file.
        """
        checksums = {}
        with self.open(CHECKSUMS) as file:
            text = file.read().decode()
        for line in text.split("\n")[:-1]:
            match = _LINE.fullmatch(line)
            if match is None:
                raise ValueError(f"{CHECKSUMS} has a malformed line: {line!r}")
            checksums[match[2]] = match[1]
        if format_checksums(checksums) != text:
            raise ValueError(f"{CHECKSUMS} has an unfinished line, or lists a file twice")
        if unlisted := self.unlisted(checksums):
            raise ValueError(f"{CHECKSUMS} does not list {', '.join(unlisted)}")
        return checksums

    def read(self, name: str, digest: str) -> bytes:
        """Return the contents of a file. Raises ValueError if they do not match the digest."""
        with self.open(name) as file:
            data = file.read()
        if hashlib.sha256(data).hexdigest() != digest:
            raise ValueError(f"{name} does not match its SHA-256")
        return data

    def check(self, name: str, digest: str) -> int:
        """Check a file against its digest without holding it in memory, and return its size in
        bytes. Raises ValueError if it does not match.
        """
        with self.open(name) as file:
            computed = hashlib.file_digest(file, "sha256").hexdigest()
            size = file.tell()
        if computed != digest:
            raise ValueError(f"{name} does not match its SHA-256")
        return size

    def size(self, name: str) -> int:
        """Return the size of a file in bytes."""
        return os.stat(name, dir_fd=self.descriptor).st_size

    def unlisted(self, listed: Collection[str]) -> list[str]:
        """Return the names of all other entries, sorted, except `CHECKSUMS` and hidden files."""
        with os.scandir(self.descriptor) as entries:
            names = {entry.name for entry in entries if not entry.name.startswith(".")}
        return sorted(names - {CHECKSUMS, *listed})


def format_checksums(checksums: Mapping[str, str]) -> str:
    """Return the contents of `CHECKSUMS` for digests by file name."""
    return "".join(f"{digest}  {name}\n" for name, digest in checksums.items())


def read_folder(place: Path, read: Callable[[OpenFolder], Read]) -> Read | None:
    """Return `read(folder)` for the folder at `place`, or None if there is no folder."""
    try:
        descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return None
    try:
        return read(OpenFolder(place, descriptor))
    finally:
        os.close(descriptor)


def write_folder(place: Path, contents: Mapping[str, bytes]) -> bool:
    """Write a folder with these files and their checksums, atomically, unless there is one already.
    Return True if it was written.

    Raises OSError if it cannot be written; nothing is left behind then.
    """
    sums = {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}
    with temporary_folder(place) as temporary:
        for name, data in {**contents, CHECKSUMS: format_checksums(sums).encode()}.items():
            write_flushed(temporary / name, data)
        return publish(temporary, place)


@contextmanager
def temporary_folder(place: Path) -> Iterator[Path]:
    """Create a temporary folder beside `place`, and its parents; remove it if `publish` has not
    renamed it.
    """
    temporary = unfinished(place)
    temporary.mkdir(parents=True)
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def publish(temporary: Path, place: Path) -> bool:
    """Rename a complete folder to `place`, unless there is one already; flush both to disk. Return
    True if it was renamed.

    The files must have been flushed. A reader sees no folder or the whole folder.
    """
    flush_folder(temporary)
    try:
        # rename(2) never replaces a folder that holds files, so this is atomic on any file system.
        temporary.rename(place)
    except OSError as error:
        if error.errno in _OCCUPIED:
            return False
        raise
    flush_folder(place.parent)
    return True
