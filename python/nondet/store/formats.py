"""Convert JSON records, arrays and histories to and from the bytes of stored files."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

import numpy as np
import safetensors.numpy

from nondet.training.result import EpochRecord


def format_json(record: Mapping[str, Any]) -> bytes:
    """Return indented JSON. Raises ValueError for values that JSON lacks, such as NaN."""
    return (json.dumps(record, indent=2, allow_nan=False) + "\n").encode()


def format_arrays(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Return named arrays in the safetensors format; equal arrays give equal bytes."""
    # safetensors writes an array's memory as is and ignores its strides.
    return safetensors.numpy.save(
        {name: np.asarray(array, order="C") for name, array in arrays.items()}
    )


def parse_arrays(data: bytes) -> dict[str, np.ndarray]:
    """Return the arrays that `format_arrays` wrote, sorted by name.

    Raises ValueError for anything else.
    """
    try:
        arrays: dict[str, np.ndarray] = safetensors.numpy.load(data)
    except safetensors.SafetensorError as error:
        raise ValueError(f"not in the safetensors format: {error}") from error
    return dict(sorted(arrays.items()))


def format_history(history: Sequence[EpochRecord]) -> bytes:
    """Return a history as CSV: a line per epoch, with empty cells for an epoch without evaluation.

    The column of the validation loss is left out if no epoch has one.
    """
    text = io.StringIO()
    names = [field.name for field in fields(EpochRecord)]
    if all(epoch.valid_cross_entropy is None for epoch in history):
        names.remove("valid_cross_entropy")
    writer = csv.DictWriter(text, names, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(asdict(epoch) for epoch in history)
    return text.getvalue().encode()


def parse_history(text: str) -> list[dict[str, Any]]:
    """Return the dictionaries of a history, one per epoch; empty cells are None."""
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
