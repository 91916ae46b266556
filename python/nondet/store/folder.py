"""Read and write a folder of files with checksums as a unit.

A folder is written under a temporary name and renamed; a reader sees one consistent state even
while another process replaces the folder.
"""

import ctypes
import errno
import hashlib
import os
import re
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar

from nondet.files import flush_folder, is_unfinished, remove_leftovers, unfinished, write_flushed

CHECKSUMS = "SHA256SUMS"  # in the format of sha256sum: `sha256sum -c` checks a run too

_LINE = re.compile(r"([0-9a-f]{64})  ([\w+-][\w.+-]*)")
_CHUNK_BYTES = 1 << 20
_REPLACED = ".replaced"
_TIMEOUT = 2.0  # seconds
_MAX_ABSENCES = 4
_OCCUPIED = (errno.ENOTEMPTY, errno.EEXIST)

Read = TypeVar("Read")


@dataclass(frozen=True)
class OpenFolder:
    """An open folder. Its files stay the same when another process replaces the folder."""

    path: Path
    descriptor: int

    def open(self, name: str) -> BinaryIO:
        """Open one of its files for reading."""
        descriptor = os.open(name, os.O_RDONLY, dir_fd=self.descriptor)
        return os.fdopen(descriptor, "rb")

    def checksums(self) -> dict[str, str]:
        """Return the SHA-256 of each file by name, as listed in `CHECKSUMS`.

        Raises ValueError if the list has a malformed line.
        """
        checksums = {}
        with self.open(CHECKSUMS) as file:
            text = file.read().decode()
        for line in text.splitlines():
            match = _LINE.fullmatch(line)
            if match is None:
                raise ValueError(f"{CHECKSUMS} has a malformed line: {line!r}")
            checksums[match[2]] = match[1]
        return checksums

    def read(self, name: str, digest: str) -> bytes:
        """Return the contents of a file. Raises ValueError if they do not match the digest."""
        with self.open(name) as file:
            data = file.read()
        if hashlib.sha256(data).hexdigest() != digest:
            raise ValueError(f"{name} does not match its SHA-256")
        return data

    def check(self, name: str, digest: str) -> int:
        """Check a file against its digest, reading it in chunks, and return its size in bytes.

        Raises ValueError if it does not match.
        """
        computed, size = hashlib.sha256(), 0
        with self.open(name) as file:
            while chunk := file.read(_CHUNK_BYTES):
                computed.update(chunk)
                size += len(chunk)
        if computed.hexdigest() != digest:
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


def read_folder(place: Path, read: Callable[[OpenFolder], Read]) -> Read | None:
    """Return `read(folder)` for the folder at `place`, or None if there is no folder.

    If `read` fails because another process replaced the folder meanwhile, it is called again.
    """
    while True:
        try:
            descriptor = _open(place)
        except FileNotFoundError:
            return None
        try:
            try:
                return read(OpenFolder(place, descriptor))
            except Exception:
                if _is_same(place, descriptor):
                    raise
        finally:
            os.close(descriptor)


def write_folder(
    place: Path, contents: Mapping[str, bytes], superseded: Callable[[Path], bool]
) -> None:
    """Write a folder with these files and their checksums, atomically. superseded: see `publish`.

    Raises OSError if it cannot be written; nothing is left behind then.
    """
    sums = "".join(
        f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in contents.items()
    )
    with temporary_folder(place) as temporary:
        for name, data in {**contents, CHECKSUMS: sums.encode()}.items():
            write_flushed(temporary / name, data)
        flush_folder(temporary)
        publish(temporary, place, superseded)


@contextmanager
def temporary_folder(place: Path) -> Iterator[Path]:
    """Create a new folder next to `place`; remove it afterwards if it still exists."""
    temporary = unfinished(place)
    temporary.mkdir(parents=True)
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def publish(temporary: Path, place: Path, superseded: Callable[[Path], bool]) -> None:
    """Rename a complete folder to `place` and flush the parent folder to disk.

    An existing folder is kept, unless `superseded(place)` returns True: then the new folder
    replaces it. Readers see either the old or the new folder.
    """
    while True:
        try:
            temporary.rename(place)
        except OSError as error:
            if error.errno not in _OCCUPIED:
                raise
            if not superseded(place):
                return
            if not _exchange(temporary, place):
                continue
        flush_folder(place.parent)
        return


def recover(folder: Path) -> None:
    """Restore folders whose replacement was interrupted by a crash, and remove unfinished folders
    of writers that no longer run. Call it once for every parent folder of `write_folder`.
    """
    for aside in folder.glob(f"*{_REPLACED}.*"):
        place = aside.with_name(aside.name.partition(_REPLACED)[0])
        if is_unfinished(aside) and not place.exists():
            aside.rename(place)
    remove_leftovers(folder)


def _open(place: Path) -> int:
    """Open a folder and return its descriptor.

    On file systems that cannot exchange two folders, a folder is absent for a moment while it is
    replaced; this waits for the replacement.
    """
    deadline, absences = time.monotonic() + _TIMEOUT, 0
    while True:
        try:
            return os.open(place, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            # One replacement may end and another begin between two tests.
            replaced = any(place.parent.glob(f"{place.name}{_REPLACED}.*"))
            absences = 0 if replaced else absences + 1
            if absences == _MAX_ABSENCES or time.monotonic() > deadline:
                raise
            time.sleep(0.0005)


def _is_same(place: Path, descriptor: int) -> bool:
    """Return True if `place` is still the folder that was opened as `descriptor`."""
    try:
        current, opened = place.stat(), os.fstat(descriptor)
    except FileNotFoundError:
        return False
    return (current.st_dev, current.st_ino) == (opened.st_dev, opened.st_ino)


def _exchange(temporary: Path, place: Path) -> bool:
    """Exchange two folders; return False if `place` was removed or replaced meanwhile."""
    try:
        _rename_exchange(temporary, place)
    except FileNotFoundError:
        return False
    except NotImplementedError:
        aside = unfinished(place.with_name(place.name + _REPLACED))
        try:
            place.rename(aside)
        except FileNotFoundError:
            return False
        try:
            temporary.rename(place)
        except OSError as error:
            if error.errno in _OCCUPIED:  # another writer was faster
                shutil.rmtree(aside, ignore_errors=True)
                return False
            aside.rename(place)
            raise
        shutil.rmtree(aside, ignore_errors=True)
    return True


def _rename_exchange(one: Path, other: Path) -> None:
    """Exchange two paths by renameat2(2) with RENAME_EXCHANGE.

    Raises NotImplementedError if the system or the file system does not support it.
    """
    function = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if function is None:
        raise NotImplementedError
    at_fdcwd, rename_exchange = -100, 2
    if function(at_fdcwd, os.fsencode(one), at_fdcwd, os.fsencode(other), rename_exchange) == 0:
        return
    number = ctypes.get_errno()
    if number in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
        raise NotImplementedError
    raise OSError(number, os.strerror(number), str(other))
