"""The labels of test images, kept once per data set.

labels.safetensors   "labels", (test examples,) int64
labels.json          the name of the data set, notes
SHA256SUMS           of both
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
    """What a report needs of a data set. labels: (test examples,) int64; notes: sentences that a
    reader of its results should see.
    """

    labels: np.ndarray
    notes: tuple[str, ...] = ()


def folder_name(dataset: str) -> str:
    """A data set may be named by a path: what a file name cannot hold is replaced, and a hash keeps
    different names apart.
    """
    digest = hashlib.sha256(dataset.encode()).hexdigest()[:8]
    return f"{re.sub(r'[^A-Za-z0-9-]+', '_', dataset)[-60:]}-{digest}"


def format_labels(dataset: str, labels: np.ndarray, notes: Sequence[str]) -> dict[str, bytes]:
    """The files, by name."""
    return {
        "labels.json": format_json({"dataset": dataset, "notes": list(notes)}),
        _LABELS: format_arrays({"labels": labels.astype(np.int64)}),
    }


def read_labels(place: Path) -> Labels | None:
    """The labels in a folder, checked; None where there is none. Raises StoreError where they are
    damaged.
    """

    def read(folder: OpenFolder) -> Labels:
        files = folder.checksums()
        if unlisted := folder.unlisted(files):
            raise ValueError(f"{CHECKSUMS} does not list {', '.join(unlisted)}")
        record = json.loads(folder.read("labels.json", files["labels.json"]))
        if folder_name(record["dataset"]) != place.name:
            raise ValueError(f"they are of {record['dataset']!r}")
        arrays = parse_arrays(folder.read(_LABELS, files[_LABELS]))
        return Labels(arrays["labels"], tuple(record["notes"]))

    try:
        return read_folder(place, read)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"the test labels in {place} are damaged: {error}. "
            "The command that began the study writes them again."
        ) from error
