"""Read JSON that anybody may have written, and write JSON that carries its own checksum."""

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

CHECKSUM = "sha256"
"""The first entry of a checksummed file: the SHA-256 of the JSON of all other entries."""


DEEPEST = 100
"""Most levels of lists and objects in JSON that is read. Python could read about a thousand, but
fails on fewer where functions call each other deeply already.
"""


def parse_json(data: bytes, *, constants: bool = False, bounded: bool = False) -> Any:
    """Return the value of a JSON document in UTF-8.

    constants: read NaN, Infinity and -Infinity, which JSON lacks and Python's json writes. bounded:
    refuse integers beyond float64 too, where all numbers become floats.

    Raises ValueError for anything that is not JSON: also for these constants unless asked for,
    fractions beyond float64, integers of thousands of digits, and values nested deeper than
    `DEEPEST`.
    """
    constant = float if constants else _refuse
    whole = _parse_integer if bounded else None
    try:
        value = json.loads(
            data.decode(), parse_constant=constant, parse_float=_parse_float, parse_int=whole
        )
        _check_depth(value)
        return value
    except RecursionError:
        raise ValueError("not JSON that can be read: nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"not JSON that can be read: {error}") from None


def format_checksummed(record: Mapping[str, Any]) -> bytes:
    """Return a record as indented JSON whose first entry is the SHA-256 of the others.

    Raises ValueError for values that JSON lacks, such as NaN, and for a record that has an entry
    `CHECKSUM` already.
    """
    if CHECKSUM in record:
        raise ValueError(f"the record has an entry {CHECKSUM!r} already")
    digest = hashlib.sha256(_format(record)).hexdigest()
    return _format({CHECKSUM: digest, **record})


def parse_checksummed(data: bytes) -> dict[str, Any]:
    """Return the record that `format_checksummed` wrote, without its checksum.

    The bytes must be exactly those that `format_checksummed` writes, so that a change of any bit is
    noticed. Raises ValueError for anything else.
    """
    record = parse_json(data)
    if not isinstance(record, dict):
        raise ValueError(f"not a JSON object but {kind_of(record)}")
    if CHECKSUM not in record:
        raise ValueError(f"has no entry {CHECKSUM!r}")
    del record[CHECKSUM]
    if format_checksummed(record) != data:
        raise ValueError("does not match its SHA-256")
    return record


def kind_of(value: object) -> str:
    """Return the JSON type of a value, with an article: "a list", "a number", "null"."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    kinds = {dict: "an object", list: "a list", str: "a text", int: "a number", float: "a number"}
    return kinds.get(type(value), f"a {type(value).__name__}")


def _format(record: Mapping[str, Any]) -> bytes:
    return (json.dumps(record, indent=2, allow_nan=False) + "\n").encode()


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(DEEPEST + 1):
        level = [
            inner
            for each in level
            if isinstance(each, list | dict)
            for inner in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return
    raise RecursionError


def _parse_float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:40]} is beyond float64")
    return value


def _parse_integer(text: str) -> int:
    if len(text) > 300:
        _parse_float(text)
    return int(text)


def _refuse(constant: str) -> None:
    raise ValueError(f"JSON has no {constant}")
