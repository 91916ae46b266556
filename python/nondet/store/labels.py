"""Store the test labels of a data set, once per study.

labels.safetensors   "labels", (test examples,) int64
labels.json          the name of the data set and the SHA-256 of its contents, and notes
SHA256SUMS           the checksums of both
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nondet.json_files import format_checksummed, parse_checksummed, parse_json
from nondet.schemas import check
from nondet.store.errors import StoreError, in_file
from nondet.store.folder import CHECKSUMS, OpenFolder, read_folder
from nondet.store.formats import format_arrays, parse_arrays
from nondet.store.schemas import FORMAT, LabelEntries

_LABELS, _RECORD = "labels.safetensors", "labels.json"


@dataclass(frozen=True, eq=False)
class Labels:
    """Test labels of a data set, (test examples,) int64, notes that a report shows, and the SHA-256
    of the data set ("" if it was not recorded).
    """

    labels: np.ndarray
    notes: tuple[str, ...] = ()
    data: str = ""


def folder_name(dataset: str) -> str:
    """Return the name of a data set's folder of labels.

    A data set may be named by a path: characters that a file name cannot hold are replaced, and a
    hash keeps different names apart.
    """
    digest = hashlib.sha256(dataset.encode()).hexdigest()[:8]
    return f"{re.sub(r'[^A-Za-z0-9-]+', '_', dataset)[-60:]}-{digest}"


def format_labels(
    dataset: str, labels: np.ndarray, notes: Sequence[str], data: str
) -> dict[str, bytes]:
    """Return the contents of the files by name."""
    arrays = format_arrays({"labels": labels.astype(np.int64)}, folder_name(dataset))
    entries = {
        "format": FORMAT,
        "dataset": dataset,
        "data": data,
        "notes": list(notes),
        "files": {_LABELS: hashlib.sha256(arrays).hexdigest()},
    }
    return {_RECORD: format_checksummed(entries), _LABELS: arrays}


def read_labels(place: Path) -> Labels | None:
    """Return the labels in a folder, or None if there is no folder.

    Raises StoreError if they are damaged.
    """

    def read(folder: OpenFolder) -> Labels:
        files = folder.checksums()
        for name in (_RECORD, _LABELS):
            if name not in files:
                raise ValueError(f"{CHECKSUMS} does not list {name}")
        data = folder.read(_RECORD, files[_RECORD])
        with in_file(_RECORD):
            entries = parse_json(data)
            former = isinstance(entries, dict) and "format" not in entries
            entries = check(LabelEntries, entries if former else parse_checksummed(data))
            if not former and (
                entries.get("files") != {_LABELS: files[_LABELS]} or "data" not in entries
            ):
                raise ValueError(f"its files are not those of {CHECKSUMS}")
            if folder_name(entries["dataset"]) != place.name:
                raise ValueError(f"they belong to {entries['dataset']!r}")
        data = folder.read(_LABELS, files[_LABELS])
        with in_file(_LABELS):
            arrays = parse_arrays(data, None if former else place.name)
            labels = arrays.get("labels", np.zeros(0))
            if list(arrays) != ["labels"] or labels.dtype != np.int64 or labels.ndim != 1:
                raise ValueError("it must hold labels, (examples,) int64, and nothing else")
            if labels.size and labels.min() < 0:
                raise ValueError("it holds negative labels")
        return Labels(labels, tuple(entries["notes"]), entries.get("data", ""))

    try:
        return read_folder(place, read)
    except (OSError, ValueError) as error:
        raise StoreError(
            f"the test labels in {place} are damaged: {error}. "
            "The command that started the study writes them again."
        ) from error
