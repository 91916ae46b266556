"""Crashes of runs: trainings that raised or were killed, which may succeed the next time.

    DIR/crashes/<address>-<number>.json    job, environment, reason; numbers from 1

A crash never changes once it is written. It is a run's result until the run is stored.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nondet.files import flush_folder, unfinished, write_flushed
from nondet.json_files import format_checksummed, parse_checksummed
from nondet.schemas import check
from nondet.store.errors import in_file, reading
from nondet.store.schemas import FORMAT, CrashEntries
from nondet.studies.job import address_of

NAME = re.compile(r"(?P<address>[0-9a-f]{32})-(?P<number>[1-9][0-9]{0,8})\.json")


def write_crash(
    folder: Path,
    identity: Mapping[str, Any],
    failure: Mapping[str, Any],
    environment: Mapping[str, Any],
) -> None:
    """Write a crash of the run with this identity. Raises OSError if it cannot be written."""
    entries = {
        "format": FORMAT,
        "job": dict(identity),
        "environment": dict(environment),
        "failure": dict(failure),
    }
    folder.mkdir(exist_ok=True)
    address = address_of(identity)
    temporary = unfinished(folder / address)
    try:
        write_flushed(temporary, format_checksummed(entries))
        number = len(_paths(folder, address)) + 1
        while not _link(temporary, folder / f"{address}-{number}.json"):
            number += 1
    finally:
        temporary.unlink(missing_ok=True)
    flush_folder(folder)


def last_crash(folder: Path, address: str) -> dict[str, Any] | None:
    """Return the entries of a run's last crash; None if it has not crashed.

    Raises DamagedRunError if it is damaged.
    """
    paths = _paths(folder, address)
    return read_crash(paths[-1]) if paths else None


def read_crash(path: Path) -> dict[str, Any]:
    """Return the entries of a crash. Raises DamagedRunError if it is damaged."""
    with reading(f"the crash {path}"), in_file(path.name):
        entries: dict[str, Any] = check(CrashEntries, parse_checksummed(path.read_bytes()))
        name = NAME.fullmatch(path.name)
        if name is None or address_of(entries["job"]) != name["address"]:
            raise ValueError("it belongs to another run")
        return entries


def _paths(folder: Path, address: str) -> list[Path]:
    """Return the files of a run's crashes, in order."""
    found = {
        int(name["number"]): path
        for path in folder.glob(f"{address}-*.json")
        if (name := NAME.fullmatch(path.name))
    }
    return [found[number] for number in sorted(found)]


def _link(temporary: Path, path: Path) -> bool:
    """Give a file its name unless there is one of that name; return True if it was given."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError:  # a file system without links; the study is locked, so no other writer comes
        if path.exists():
            return False
        temporary.rename(path)
    return True
