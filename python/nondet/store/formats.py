"""Convert arrays and histories to and from the bytes of stored files."""

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

import numpy as np
import safetensors.numpy

from nondet.json_files import parse_json
from nondet.training.result import EpochRecord

_OWNER = "belongs_to"
_HASH = re.compile("[0-9a-f]+")
_OPTIONAL = ("test_accuracy", "test_cross_entropy", "valid_cross_entropy")


def format_arrays(arrays: Mapping[str, np.ndarray], owner: str) -> bytes:
    """Return named arrays in the safetensors format; equal arrays give equal bytes.

    owner: the address of what they belong to, which the file's metadata names.
    """
    # safetensors writes an array's memory as is and ignores its strides.
    return safetensors.numpy.save(
        {name: np.asarray(array, order="C") for name, array in arrays.items()},
        metadata={_OWNER: owner},
    )


def parse_arrays(data: bytes, owner: str | None) -> dict[str, np.ndarray]:
    """Return the arrays that `format_arrays` wrote, sorted by name.

    owner: see `format_arrays`; None for files of older versions, which name none. Raises ValueError
    for anything else, and for the arrays of another owner.
    """
    try:
        arrays: dict[str, np.ndarray] = safetensors.numpy.load(data)
    except (safetensors.SafetensorError, KeyError, TypeError) as error:
        raise ValueError(f"not arrays in the safetensors format: {error}") from error
    if owner is not None:
        header = parse_json(data[8 : 8 + int.from_bytes(data[:8], "little")])
        named = (header.get("__metadata__") or {}).get(_OWNER)
        if named != owner:
            raise ValueError(f"its arrays belong to {named!r}, not to {owner!r}")
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


def parse_history(data: bytes) -> list[dict[str, Any]]:
    """Return the dictionaries of a history, one per epoch; empty cells are None.

    Raises ValueError, with line and column, for anything that `format_history` does not write.
    """
    try:
        names, *lines = list(csv.reader(io.StringIO(data.decode())))
    except (ValueError, csv.Error) as error:
        raise ValueError(f"not a CSV file with a header: {error}") from None
    known = [field.name for field in fields(EpochRecord)]
    if names not in (known, [name for name in known if name != "valid_cross_entropy"]):
        raise ValueError(f"its columns are {', '.join(names)[:200]}; allowed: {', '.join(known)}")
    history = []
    for number, cells in enumerate(lines, 1):
        if len(cells) != len(names):
            raise ValueError(f"line {number + 1} has {len(cells)} cells, not {len(names)}")
        values = zip(names, cells, strict=True)
        epoch = {name: _parse_cell(name, cell, number + 1) for name, cell in values}
        if epoch["epoch"] != number:
            raise ValueError(f"line {number + 1} is of epoch {epoch['epoch']}, not {number}")
        history.append(epoch)
    return history


def _parse_cell(name: str, cell: str, line: int) -> Any:
    """Return the value of a cell; raise ValueError if the column cannot have it."""
    if cell == "" and name in _OPTIONAL:
        return None
    if name == "weights_sha256":
        if _HASH.fullmatch(cell):
            return cell
    elif name == "epoch":
        if cell.isascii() and cell.isdigit() and len(cell) < 10:
            return int(cell)
    else:
        try:
            value = float(cell)
        except ValueError:
            value = math.nan
        if math.isfinite(value) and (name != "test_accuracy" or 0 <= value <= 1):
            return value
    raise ValueError(f"line {line} has {name} {cell[:40]!r}")
