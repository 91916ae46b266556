"""Records that were made after their run, by a later training that ended in the same bits.

    DIR/records/<address>/<name>/    <name>.safetensors, record.json, SHA256SUMS

record.json names the run, its hashes and the environment, so that a record of another run is
noticed. Like a run, a record never changes once it is written.
"""

import hashlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from nondet.files import is_unfinished
from nondet.json_files import format_checksummed, parse_checksummed
from nondet.schemas import check
from nondet.store.arrays import ARRAYS, Arrays
from nondet.store.errors import DamagedRunError, in_file, reading
from nondet.store.folder import CHECKSUMS, OpenFolder, read_folder, write_folder
from nondet.store.formats import format_arrays
from nondet.store.schemas import FORMAT, LaterRecordEntries
from nondet.studies.row import KEEPS

_RECORD = "record.json"


def write_record(
    folder: Path,
    address: str,
    name: str,
    arrays: Arrays,
    hashes: Mapping[str, str],
    environment: Mapping[str, Any],
) -> None:
    """Write a record of a stored run, unless it is there already.

    folder: DIR/records. address, hashes: of the run. Raises OSError if it cannot be written.
    """
    data = format_arrays(arrays, address)
    file = f"{name}{ARRAYS}"
    entries = {
        "format": FORMAT,
        "run": address,
        "record": name,
        "hashes": dict(hashes),
        "environment": dict(environment),
        "files": {file: hashlib.sha256(data).hexdigest()},
    }
    write_folder(folder / address / name, {_RECORD: format_checksummed(entries), file: data})


def read_records(
    folder: Path, address: str, hashes: Mapping[str, str] | None
) -> dict[str, tuple[Path, str]]:
    """Return the later records of a run, by name: the folder of each and its SHA-256, checked.

    hashes: of the run, None if it failed. Raises DamagedRunError for a record that is damaged or
    belongs to another run.
    """
    found: dict[str, tuple[Path, str]] = {}
    for name in KEEPS:
        place = folder / address / name
        read = partial(_read, address=address, name=name, hashes=hashes)
        with reading(f"record {name} of run {address}"):
            digest = read_folder(place, read)
        if digest is not None:
            found[name] = place, digest
    return found


def names_of(folder: Path, address: str) -> frozenset[str]:
    """Return the names of the later records of a run, without reading them."""
    return frozenset(name for name in KEEPS if (folder / address / name).is_dir())


def _read(folder: OpenFolder, address: str, name: str, hashes: Mapping[str, str] | None) -> str:
    """Check everything about a record but the form of its arrays, and return their SHA-256."""
    files = folder.checksums()
    if _RECORD not in files:
        raise ValueError(f"{CHECKSUMS} does not list {_RECORD}")
    data = folder.read(_RECORD, files[_RECORD])
    with in_file(_RECORD):
        entries = check(LaterRecordEntries, parse_checksummed(data))
        if (entries["run"], entries["record"]) != (address, name):
            raise ValueError(f"it is of the record {entries['record']} of run {entries['run']}")
        if entries["hashes"] != hashes:
            raise ValueError("it was made by a training that ended in other bits than the run")
        if entries["files"] != {each: sha for each, sha in files.items() if each != _RECORD}:
            raise ValueError(f"its files are not those of {CHECKSUMS}")
        file = f"{name}{ARRAYS}"
        if list(entries["files"]) != [file]:
            raise ValueError(f"files are {', '.join(entries['files'])}; it must be {file}")
    folder.check(file, files[file])
    return files[file]


def check_names(folder: Path, address: str) -> None:
    """Raise DamagedRunError if the folder of a run's later records holds anything else."""
    unknown = sorted(
        path.name
        for path in (folder / address).iterdir()
        if path.name not in KEEPS and not is_unfinished(path) and not path.name.startswith(".")
    )
    if unknown:
        raise DamagedRunError(f"the records of run {address} have no {', '.join(unknown)}")
