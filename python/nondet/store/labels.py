"""Store the test labels of a data set, once per study.

labels.safetensors   "labels", (test examples,) int64
labels.json          the name of the data set, and notes
SHA256SUMS           the checksums of both
"""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nondet.store.errors import StoreError
from nondet.store.folder import CHECKSUMS, OpenFolder, read_folder
from nondet.store.formats import format_arrays, format_json, parse_arrays

_LABELS = "labels.safetensors"


@dataclass(frozen=True, eq=False)
class Labels:
    """Test labels of a data set, (test examples,) int64, and notes that a report shows."""

    labels: np.ndarray
    notes: tuple[str, ...] = ()


def folder_name(dataset: str) -> str:
    """Return the name of a data set's folder of labels.

    A data set may be named by a path: characters that a file name cannot hold are replaced, and a
    hash keeps different names apart.
    """
    digest = hashlib.sha256(dataset.encode()).hexdigest()[:8]
    return f"{re.sub(r'[^A-Za-z0-9-]+', '_', dataset)[-60:]}-{digest}"


def format_labels(dataset: str, labels: np.ndarray, notes: Sequence[str]) -> dict[str, bytes]:
    """Return the contents of the files by name."""
    return {
        "labels.json": format_json({"dataset": dataset, "notes": list(notes)}),
        _LABELS: format_arrays({"labels": labels.astype(np.int64)}),
    }


def read_labels(place: Path) -> Labels | None:
    """Return the labels in a folder, or None if there is no folder.

    Raises StoreError if they are damaged.
    """

    def read(folder: OpenFolder) -> Labels:
        files = folder.checksums()
        if unlisted := folder.unlisted(files):
            raise ValueError(f"{CHECKSUMS} does not list {', '.join(unlisted)}")
        record = json.loads(folder.read("labels.json", files["labels.json"]))
        if folder_name(record["dataset"]) != place.name:
            raise ValueError(f"they belong to {record['dataset']!r}")
        arrays = parse_arrays(folder.read(_LABELS, files[_LABELS]))
        return Labels(arrays["labels"], tuple(record["notes"]))

    try:
        return read_folder(place, read)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"the test labels in {place} are damaged: {error}. "
            "The command that started the study writes them again."
        ) from error
