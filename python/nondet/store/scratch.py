"""Records of a scratch folder, which outlives its process so that a computation can resume.

A record is a checksummed JSON file that names itself, the work that it belongs to, and the SHA-256
of the files that it vouches for. The state of a folder is the record that says whose work it holds;
all others name the checksum of the state as their work. What no record vouches for is not used.

    state.json          {"sha256": ..., "file": "state.json", ...}
    model00003.json     {"sha256": ..., "file": "model00003.json", "work": (sha256 of the state),
                         "files": {"model00003.logits.npy": ...}, ...}
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nondet.files import write_atomically
from nondet.json_files import CHECKSUM, format_checksummed, parse_checksummed, parse_json


@dataclass(frozen=True)
class Record:
    """A record as it was read.

    entries: without the file's name and the checksum. checksum: of all entries.
    """

    entries: dict[str, Any]
    checksum: str


def write_record(path: Path, entries: Mapping[str, Any]) -> str:
    """Write a record, atomically, and return its checksum.

    Raises ValueError for values that JSON lacks.
    """
    data = format_record(path.name, entries)
    write_atomically(path, data)
    checksum: str = parse_json(data)[CHECKSUM]
    return checksum


def format_record(name: str, entries: Mapping[str, Any]) -> bytes:
    """Return the contents of a record in a file of this name."""
    return format_checksummed({"file": name, **entries})


def read_record(path: Path) -> Record | None:
    """Return a record, or None if there is no such file.

    Raises ValueError if `write_record` did not write this to a file of this name.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ValueError(str(error.strerror or error)) from None
    try:
        entries = parse_checksummed(data)
    except RecursionError:
        raise ValueError("not JSON that can be read: nested too deeply") from None
    name = entries.pop("file", None)
    if name != path.name:
        raise ValueError(f"it is the record {name!r}")
    return Record(entries, parse_json(data)[CHECKSUM])


def find_record(path: Path, work: str) -> dict[str, Any] | None:
    """Return the other entries of a record of this work; None if there is none, or a damaged one,
    or one of other work.
    """
    try:
        found = read_record(path)
    except ValueError:
        return None
    if found is None or found.entries.pop("work", None) != work:
        return None
    return found.entries


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_records(folder: Path, state: str) -> list[str]:
    """Return what is wrong with a folder of records, a line each beginning with a file's name.

    state: the name of the record that says whose work it is. Files that no record vouches for, and
    missing files, are nothing wrong: they are not used, or computed again. Reads every file whose
    SHA-256 is recorded.
    """
    try:
        found = read_record(folder / state)
    except ValueError as error:
        return [f"{state}: {error}"]
    if found is None:
        return []
    problems = []
    for path in sorted(folder.glob("*.json")):
        if path.name != state:
            problems += [f"{path.name}: {text}" for text in _check_record(path, found.checksum)]
    return problems


def _check_record(path: Path, work: str) -> list[str]:
    try:
        found = read_record(path)
    except ValueError as error:
        return [str(error)]
    if found is None:
        return []
    if found.entries.get("work") != work:
        return ["it belongs to other work"]
    files = found.entries.get("files", {})
    if not isinstance(files, dict):
        return ["its files must be an object"]
    problems = []
    for name, digest in files.items():
        if not is_plain(name):
            problems.append(f"it names the file {name!r}, which is not beside it")
        elif (path.parent / name).is_file() and digest_of(path.parent / name) != digest:
            problems.append(f"{name} does not match its SHA-256")
    return problems


def is_plain(name: str) -> bool:
    """Return True for the name of a file, not a path."""
    return name.isprintable() and "/" not in name and name not in ("", ".", "..")
