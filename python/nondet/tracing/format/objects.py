"""JSON in blocks: written so that it can be read, checked entry by entry when it is."""

import json
import math
from collections.abc import Iterable
from typing import Any

import torch

from nondet.json_files import kind_of, parse_json
from nondet.tracing.records import Kept, StreamInfo, TensorType, Unseen

_ENCODER = json.JSONEncoder(allow_nan=False, separators=(",", ":"))

HIGHEST = 2**63 - 1
LONGEST = 4 << 20
"""Most bytes of one value of JSON that is written."""


class CheckedObject:
    """An object of JSON. Every access checks its entry and raises ValueError for a wrong one.

    what: names the object in errors. names: all entries that it must have.
    """

    def __init__(self, value: Any, what: str, names: Iterable[str]) -> None:
        if not isinstance(value, dict):
            raise ValueError(f"{what} is {kind_of(value)} in place of an object")
        if value.keys() != (names := set(names)):
            wrong = ", ".join(ascii(name)[:60] for name in sorted(value.keys() ^ names)[:5])
            raise ValueError(f"{what} lacks entries, or has unknown ones: {wrong}")
        self._value, self._what = value, what

    def text(self, name: str, allowed: tuple[str, ...] = ()) -> Any:
        """Return a text, one of those allowed if any are given."""
        value = self.typed(name, str)
        if allowed and value not in allowed:
            given = ascii(value)[:60]
            raise ValueError(f"{name} of {self._what} is {given}; known: {', '.join(allowed)}")
        return value

    def integer(self, name: str, lowest: int = 0, highest: int = HIGHEST) -> int:
        """Return an integer within limits, both included."""
        value: int = self.typed(name, int)
        if not lowest <= value <= highest:
            raise ValueError(f"{name} of {self._what} is not from {lowest} to {highest}")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a list of texts."""
        values: list[Any] = self.typed(name, list)
        for value in values:
            if type(value) is not str:
                raise ValueError(f"{name} of {self._what} holds {kind_of(value)}; it holds texts")
        return tuple(values)

    def tensor_type(self) -> TensorType:
        """Return the type of a tensor, whose parts are entries of this object."""
        shape: list[Any] = self.typed("shape", list)
        for size in shape:
            if type(size) is not int or not 0 <= size <= HIGHEST:
                raise ValueError(f"shape of {self._what} holds no sizes from 0 to {HIGHEST}")
        return TensorType(self.text("dtype"), tuple(shape), self.text("device"))

    def typed(self, name: str, kind: type) -> Any:
        """Return an entry of this type of JSON."""
        value = self._value[name]
        if type(value) is not kind:
            wanted = kind_of(kind())
            raise ValueError(f"{name} of {self._what} is {kind_of(value)} in place of {wanted}")
        return value

    def __getitem__(self, name: str) -> Any:
        return self._value[name]


def encode(value: Any) -> str:
    """Return the JSON of a value, in ASCII.

    Raises ValueError for a value that JSON lacks, such as NaN, and for one that takes more than
    `LONGEST` bytes.
    """
    try:
        text = _ENCODER.encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"cannot be written as JSON: {error}") from None
    if len(text) > LONGEST:
        raise ValueError(f"takes {len(text)} bytes of JSON; at most {LONGEST} are allowed")
    return text


def format_type(kind: TensorType) -> dict[str, Any]:
    """Return the entries that `CheckedObject.tensor_type` reads."""
    return {"dtype": kind.dtype, "shape": list(kind.shape), "device": kind.device}


def format_info(info: StreamInfo) -> str:
    """Return what a stream is of, as JSON."""
    record = {name: getattr(info, name) for name in _INFO} | {"header": {**info.header}}
    parse_info(record)
    text = encode(record)
    parse_json(text.encode())  # refuses a header of too many levels
    return text


def parse_info(value: Any) -> StreamInfo:
    """Return what `format_info` was given. Raises ValueError for other JSON."""
    record = CheckedObject(value, "the info", _INFO)
    started = record["started"]
    if type(started) not in (int, float) or not math.isfinite(started):
        raise ValueError(f"started of the info is {kind_of(started)} in place of a number")
    return StreamInfo(
        record.text("role"),
        record.integer("pid"),
        record.text("thread"),
        float(started),
        record.typed("header", dict),
    )


def format_unseen(unseen: Unseen) -> str:
    """Return what a trace could not see, as JSON."""
    record = {name: getattr(unseen, name) for name in _UNSEEN}
    parse_unseen(record)
    return encode(record)


def parse_unseen(value: Any) -> Unseen:
    """Return what `format_unseen` was given. Raises ValueError for other JSON."""
    record = CheckedObject(value, "what was not seen", _UNSEEN)
    return Unseen(record.text("kind"), record.text("what"), record.integer("count"))


def format_kept(kept: Kept) -> str:
    """Return all of kept values but the bytes, as JSON. Raises ValueError for too few or many."""
    place = {"step": kept.step, "index": kept.index, "slot": kept.slot}
    record = {**place, **format_type(kept.type), "size": len(kept.data)}
    parse_kept(record)
    return encode(record)


def parse_kept(value: Any) -> tuple[Kept, int]:
    """Return kept values without their bytes, and the number of these.

    Raises ValueError for JSON that `format_kept` does not write.
    """
    record = CheckedObject(value, "kept values", _KEPT)
    kind, size = record.tensor_type(), record.integer("size")
    element = _element_size(kind.dtype)
    if element is not None and math.prod(kind.shape) * element != size:
        shape = str(kind.shape)[:60]
        raise ValueError(f"kept values of {kind.dtype} and shape {shape} cannot be {size} bytes")
    place = (record.integer("step", -HIGHEST - 1), record.integer("index"), record.integer("slot"))
    return Kept(*place, kind, b""), size


def _element_size(dtype: str) -> int | None:
    """Return the bytes of an element; None for a dtype that this version of torch lacks."""
    known = getattr(torch, dtype, None)
    return known.itemsize if isinstance(known, torch.dtype) else None


_INFO = ("role", "pid", "thread", "started", "header")
_UNSEEN = ("kind", "what", "count")
_KEPT = ("step", "index", "slot", "dtype", "shape", "device", "size")
