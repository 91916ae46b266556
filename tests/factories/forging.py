"""Edit stored files and renew their checksums, as somebody who means to deceive would."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from nondet.json_files import CHECKSUM, format_checksummed


def renew_checksums(folder: Path) -> None:
    """Write the SHA256SUMS of a folder again, from its files."""
    path = folder / "SHA256SUMS"
    names = [line.split("  ")[1] for line in path.read_text().splitlines()]
    lines = (f"{_sha256(folder / name)}  {name}\n" for name in names)
    path.write_text("".join(lines))


def edit_json(path: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    """Let `edit` change the entries of a JSON file in place, then renew all checksums that name it.

    Its own entry "files" is renewed too, unless `edit` changed it.
    """
    record = json.loads(path.read_bytes())
    checksummed = record.pop(CHECKSUM, None) is not None
    before = json.dumps(record.get("files"))
    edit(record)
    if before == json.dumps(record.get("files")) != "null":
        record["files"] = {name: _sha256(path.parent / name) for name in record["files"]}
    if checksummed:
        path.write_bytes(format_checksummed(record))
    else:
        path.write_text(json.dumps(record))
    if (path.parent / "SHA256SUMS").exists():
        renew_checksums(path.parent)


def edit_arrays(path: Path, edit: Callable[[dict[str, np.ndarray]], object]) -> None:
    """Let `edit` change arrays by name in place, then renew all checksums that name the file."""
    data = path.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    arrays = {name: np.array(array) for name, array in safetensors.numpy.load(data).items()}
    edit(arrays)
    path.write_bytes(safetensors.numpy.save(arrays, metadata=header.get("__metadata__")))
    renew_record(path.parent)


def renew_record(folder: Path) -> None:
    """Renew the checksums of a folder after one of its files has changed."""
    for path in folder.glob("*.json"):
        edit_json(path, lambda record: None)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
