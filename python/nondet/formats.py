"""The contents of stored files: JSON, arrays and histories, as bytes."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from nondet.train import EpochRecord


def format_json(record: dict[str, Any]) -> bytes:
    """Indented JSON; ValueError for what JSON has no word for, such as NaN."""
    return (json.dumps(record, indent=2, allow_nan=False) + "\n").encode()


def format_array(array: np.ndarray) -> bytes:
    """An array in NumPy's own format, .npy."""
    data = io.BytesIO()
    np.save(data, array, allow_pickle=False)
    return data.getvalue()


def parse_array(data: bytes) -> np.ndarray:
    """The array of `format_array`. Raises ValueError for anything else, pickles among it."""
    array: np.ndarray = np.load(io.BytesIO(data), allow_pickle=False)
    return array


def format_history(history: Sequence["EpochRecord"]) -> bytes:
    """A line per epoch; an empty cell where an epoch was not evaluated."""
    from nondet.train import EpochRecord

    text = io.StringIO()
    writer = csv.DictWriter(
        text, [field.name for field in fields(EpochRecord)], lineterminator="\n"
    )
    writer.writeheader()
    writer.writerows(asdict(epoch) for epoch in history)
    return text.getvalue().encode()


def parse_history(text: str) -> list[dict[str, Any]]:
    """What `format_history` wrote: one dictionary of numbers per epoch, None for empty cells."""
    history: list[dict[str, Any]] = []
    for line in csv.DictReader(io.StringIO(text)):
        epoch: dict[str, Any] = {
            name: float(value) if value else None
            for name, value in line.items()
            if "sha256" not in name
        }
        epoch["epoch"] = int(line["epoch"])
        epoch["weights_sha256"] = line["weights_sha256"]
        history.append(epoch)
    return history
