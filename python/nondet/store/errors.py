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
