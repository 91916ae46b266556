"""What can be wrong with the folder of a study, in words."""

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
    """The folder cannot be used as asked; the message says why and what to do."""


class DamagedRunError(StoreError):
    """A stored run does not match its checksums or its address."""


@contextmanager
def writing(what: str, folder: Path) -> Iterator[None]:
    """Turns an OSError into a StoreError that says what could not be written where, and what to do
    about it.
    """
    try:
        yield
    except OSError as error:
        advice = _ADVICE.get(error.errno or 0, "Repair that")
        raise StoreError(
            f"cannot write {what} to {folder}: {error.strerror or error}. {advice}, or choose "
            "another folder with --out; what is there already is unharmed, and the same command "
            "goes on from it."
        ) from error
