"""The files that a command names, by which a later run tells whether they are still the same."""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypedDict

_LARGEST = 64 << 20
"""Bytes of a file whose contents are hashed; of a larger one, only the size is compared."""


class File(TypedDict):
    """A file: its size in bytes, and the SHA-256 of its contents, None for large ones."""

    size: int
    sha256: str | None


def describe_files(arguments: Iterable[str], folder: Path) -> dict[str, File]:
    """Return the files that arguments of a command name, as `train.py` and `--config=a.yaml` do.

    folder: in which the command runs. Files that cannot be read are left out.
    """
    found: dict[str, File] = {}
    for name in dict.fromkeys(_names(arguments)):
        if (described := describe_file(folder / name)) is not None:
            found[name] = described
    return found


def describe_file(path: Path) -> File | None:
    """Return size and digest of a file; None for what is none, or cannot be read."""
    try:
        if not path.is_file():
            return None
        with path.open("rb") as file:
            size = path.stat().st_size
            digest = hashlib.file_digest(file, "sha256") if size <= _LARGEST else None
    except (OSError, ValueError):
        return None
    return {"size": size, "sha256": None if digest is None else digest.hexdigest()}


def _names(arguments: Iterable[str]) -> Iterator[str]:
    for each in arguments:
        yield each
        if each.startswith("-") and "=" in each:
            yield each.partition("=")[2]
