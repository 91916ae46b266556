"""Folders of files with their checksums: written beside their place and renamed into it, read as
one state even while another process replaces them.
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

CHECKSUMS = "SHA256SUMS"  # in the format of sha256sum, so that `sha256sum -c` checks a run too

_LINE = re.compile(r"([0-9a-f]{64})  ([\w+-][\w.+-]*)")
_PIECE = 1 << 20
_REPLACED = ".replaced"
_PATIENCE = 2.0
_LOOKS = 4
_OCCUPIED = (errno.ENOTEMPTY, errno.EEXIST)

Read = TypeVar("Read")


@dataclass(frozen=True)
class OpenFolder:
    """A folder held open: its files stay those of one state when the folder is replaced."""

    path: Path
    descriptor: int

    def open(self, name: str) -> BinaryIO:
        """One of its files, for reading."""
        descriptor = os.open(name, os.O_RDONLY, dir_fd=self.descriptor)
        return os.fdopen(descriptor, "rb")

    def checksums(self) -> dict[str, str]:
        """SHA-256 by file name, as listed. Raises ValueError where the list is none."""
        found = {}
        with self.open(CHECKSUMS) as file:
            text = file.read().decode()
        for line in text.splitlines():
            match = _LINE.fullmatch(line)
            if match is None:
                raise ValueError(f"{CHECKSUMS} has a line that is none of sha256sum's: {line!r}")
            found[match[2]] = match[1]
        return found

    def read(self, name: str, digest: str) -> bytes:
        """The contents of a file. Raises ValueError where they do not match."""
        with self.open(name) as file:
            data = file.read()
        if hashlib.sha256(data).hexdigest() != digest:
            raise ValueError(f"{name} does not match its SHA-256")
        return data

    def check(self, name: str, digest: str) -> int:
        """Reads a file piece by piece; returns its size in bytes. Raises ValueError where it does
        not match.
        """
        computed, size = hashlib.sha256(), 0
        with self.open(name) as file:
            while piece := file.read(_PIECE):
                computed.update(piece)
                size += len(piece)
        if computed.hexdigest() != digest:
            raise ValueError(f"{name} does not match its SHA-256")
        return size

    def size(self, name: str) -> int:
        """Of a file, in bytes."""
        return os.stat(name, dir_fd=self.descriptor).st_size

    def unlisted(self, listed: Collection[str]) -> list[str]:
        """What lies in it beside the listed files and the list; hidden files are the system's."""
        with os.scandir(self.descriptor) as entries:
            names = {entry.name for entry in entries if not entry.name.startswith(".")}
        return sorted(names - {CHECKSUMS, *listed})


def read_folder(place: Path, read: Callable[[OpenFolder], Read]) -> Read | None:
    """What `read` makes of the folder at `place`, None where there is none. Where another process
    replaces the folder meanwhile it is read again.
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
                if _is_still(place, descriptor):
                    raise
        finally:
            os.close(descriptor)


def write_folder(
    place: Path, contents: Mapping[str, bytes], superseded: Callable[[Path], bool]
) -> None:
    """A folder with these files and the checksums over them, whole or not at all; `superseded` as
    for `publish`. Raises OSError, and nothing is left then.
    """
    sums = "".join(
        f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in contents.items()
    )
    with being_written(place) as begun:
        for name, data in {**contents, CHECKSUMS: sums.encode()}.items():
            write_flushed(begun / name, data)
        flush_folder(begun)
        publish(begun, place, superseded)


@contextmanager
def being_written(place: Path) -> Iterator[Path]:
    """A new folder beside `place`, for this writer alone; what is left of it afterwards goes."""
    begun = unfinished(place)
    begun.mkdir(parents=True)
    try:
        yield begun
    finally:
        shutil.rmtree(begun, ignore_errors=True)


def publish(begun: Path, place: Path, superseded: Callable[[Path], bool]) -> None:
    """Renames a complete folder into its place and flushes the folder around it. Where there is one
    already it is kept, unless `superseded` says of it that the new one is to replace it; readers
    see the one or the other.
    """
    while True:
        try:
            begun.rename(place)
        except OSError as error:
            if error.errno not in _OCCUPIED:
                raise
            if not superseded(place):
                return
            if not _exchange(begun, place):
                continue
        flush_folder(place.parent)
        return


def recover(folder: Path) -> None:
    """Brings back what a crash left in the middle of being replaced, and removes what is left of
    writers that ended. For every folder in which `write_folder` writes.
    """
    for aside in folder.glob(f"*{_REPLACED}.*"):
        place = aside.with_name(aside.name.partition(_REPLACED)[0])
        if is_unfinished(aside) and not place.exists():
            aside.rename(place)
    remove_leftovers(folder)


def _open(place: Path) -> int:
    """A descriptor of the folder. Where folders cannot be exchanged, there is none for a moment."""
    patience, absences = time.monotonic() + _PATIENCE, 0
    while True:
        try:
            return os.open(place, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            # A replacement may end, and another begin, between two looks.
            replaced = any(place.parent.glob(f"{place.name}{_REPLACED}.*"))
            absences = 0 if replaced else absences + 1
            if absences == _LOOKS or time.monotonic() > patience:
                raise
            time.sleep(0.0005)


def _is_still(place: Path, descriptor: int) -> bool:
    try:
        there, read = place.stat(), os.fstat(descriptor)
    except FileNotFoundError:
        return False
    return (there.st_dev, there.st_ino) == (read.st_dev, read.st_ino)


def _exchange(begun: Path, place: Path) -> bool:
    """Lets two folders change places; False where `place` is gone or changed meanwhile."""
    try:
        _rename_exchange(begun, place)
    except FileNotFoundError:
        return False
    except NotImplementedError:
        aside = unfinished(place.with_name(place.name + _REPLACED))
        try:
            place.rename(aside)
        except FileNotFoundError:
            return False
        try:
            begun.rename(place)
        except OSError as error:
            if error.errno in _OCCUPIED:  # another writer was faster
                shutil.rmtree(aside, ignore_errors=True)
                return False
            aside.rename(place)
            raise
        shutil.rmtree(aside, ignore_errors=True)
    return True


def _rename_exchange(one: Path, other: Path) -> None:
    """renameat2(2) with RENAME_EXCHANGE. Raises NotImplementedError where the system or the file
    system does not have it.
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
