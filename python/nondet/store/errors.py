"""Errors of a study's folder."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_ADVICE = {
    errno.ENOSPC: "Free some space there",
    errno.EDQUOT: "Free some of your quota there",
    errno.EROFS: "Make it writable",
    errno.EACCES: "Make it writable",
    errno.EPERM: "Make it writable",
}


class StoreError(Exception):
    """A study's folder cannot be used as asked. The message gives the reason and a remedy."""


class DamagedRunError(StoreError):
    """A stored run does not match its checksums or its address."""


class MixedStudyError(StoreError):
    """A study would mix runs of different environments, or on different data."""


@contextmanager
def in_file(name: str) -> Iterator[None]:
    """Put the name of a file before the message of a ValueError."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Turn errors of reading a folder into a DamagedRunError, or a StoreError if it is undamaged.

    what: its contents, such as "run 12ab".
    """
    try:
        yield
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise DamagedRunError(f"{what} is damaged: {error.filename}: {error.strerror}") from error
    except ValueError as error:
        raise DamagedRunError(f"{what} is damaged: {error}") from error
    except OSError as error:
        raise StoreError(f"{what} cannot be read: {error}") from error


@contextmanager
def writing(content: str, folder: Path) -> Iterator[None]:
    """Turn an OSError into a StoreError that names the content and the folder and suggests a
    remedy.
    """
    try:
        yield
    except OSError as error:
        advice = _ADVICE.get(error.errno or 0, "Fix the cause")
        raise StoreError(
            f"cannot write {content} to {folder}: {error.strerror or error}. {advice}, or choose "
            "another folder with --out. Stored data is intact; the same command resumes the study."
        ) from error
