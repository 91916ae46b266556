"""Small JSON files that carry their own checksum, name themselves, and name the work that they
belong to.

The first entry is the SHA-256 of the JSON of all others. A scratch folder outlives its process, so
that anything may have happened to its files: whatever `write` did not write counts as absent.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

_CHECKSUM = "sha256"


def write(path: Path, record: dict[str, Any]) -> str:
    """Write a record with the file's name, atomically, and return its checksum."""
    named = {"file": path.name, **record}
    checksum = _digest(named)
    unfinished = path.with_name(f"{path.name}.tmp")
    unfinished.write_bytes(_format({_CHECKSUM: checksum, **named}))
    unfinished.replace(path)
    return checksum


def read(path: Path) -> tuple[dict[str, Any], str] | None:
    """Return the record that `write` wrote to this path, and its checksum; None if there is no such
    file or it holds anything else.
    """
    try:
        data = path.read_bytes()
        record = json.loads(data.decode())
        if not isinstance(record, dict) or _CHECKSUM not in record:
            return None
        checksum = record.pop(_CHECKSUM)
        if _format({_CHECKSUM: _digest(record), **record}) != data:
            return None
    except (OSError, ValueError, RecursionError):
        return None
    return (record, checksum) if record.pop("file", None) == path.name else None


def _digest(record: dict[str, Any]) -> str:
    return hashlib.sha256(_format(record)).hexdigest()


def _format(record: dict[str, Any]) -> bytes:
    return (json.dumps(record, indent=2, allow_nan=False) + "\n").encode()
