"""Read files of a study that no run needs, and that may be absent."""

from pathlib import Path
from typing import Any

from nondet.json_files import parse_checksummed
from nondet.schemas import check
from nondet.store.errors import StoreError


def read_side_file(path: Path, schema: Any) -> Any:
    """Return the entries of a file, of the type `schema`; None if it is not there.

    Raises StoreError if it cannot be read or has other entries.
    """
    try:
        return check(schema, parse_checksummed(path.read_bytes()))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise StoreError(
            f"{path} cannot be read: {error}; no run needs it, remove it to go on without"
        ) from error
