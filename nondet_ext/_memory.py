"""How much memory a computation may take, and how it is shared out."""

import math
import os
import re
import resource
import sys
from dataclasses import dataclass
from pathlib import Path

from nondet_ext import _check

_UNITS = {"": 1, "B": 1}
for _power, _letter in enumerate("KMGT", start=1):
    _UNITS |= {f"{_letter}B": 1000**_power, f"{_letter}IB": 1024**_power}

_SLACK = 64 << 20
"""For what nobody counts: the allocator's slack, stacks of threads, buffers of matrix products."""

_LARGEST_GROUP = 1 << 22
"""More would save nothing: radix sort takes the same time per key."""

FANOUT = 1 << 16
"""Slots of a node of the tree that ranks are looked up in (csrc/cpu/external.h)."""


def parse_bytes(name: str, value: object) -> int:
    """Bytes, as an int or as a string: "2GB", "1.5 GiB"."""
    if not isinstance(value, str):
        return _check.integer(name, value, 1, 2**62)
    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?)\s*([A-Za-z]*)\s*", value)
    if match is None or match[2].upper() not in _UNITS:
        raise ValueError(
            f'{name} must be bytes or a string such as "500MB", "2GB" or "1.5GiB", got {value!r}'
        )
    return int(float(match[1]) * _UNITS[match[2].upper()])


def resident_bytes() -> int:
    """The memory that this process has now; where the system does not say, its peak."""
    status = Path("/proc/self/statm")
    if status.exists():
        return int(status.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


@dataclass(frozen=True)
class Shares:
    """What the computation may hold at once.

    workers: vectors that are ranked at once; each of them has the next three.
    chunk: elements of a piece of a vector.
    group: keys that are sorted in memory.
    nodes: of the tree, counted in one pass.
    stripes: parts of the columns that are multiplied at once.
    columns: of a block of ranks, of which each stripe has one.
    """

    workers: int
    chunk: int
    group: int
    nodes: int
    stripes: int
    columns: int


def share_out(limit: int, rows: int, n: int, itemsize: int, threads: int) -> Shares:
    """Shares with which this process stays below `limit` bytes, for `rows` vectors of n values.

    Raises:
        ValueError: the limit is too low.
    """
    rank = rank_bytes(n)
    # Totals of the products of limbs, and the limbs of some columns.
    stripe = (8 << 20) + 256 * rows**2
    # A bucket that is too large for a sort needs a node of its own, and n / group may be so large.
    floor = (48 << 20) + int(math.sqrt(7e7 * n))
    least, held = max(floor, 2 * stripe), resident_bytes() + _SLACK
    if limit < held + least:
        raise ValueError(
            f"memory must be at least {_text(held + least)} for {rows} vectors of {n} values in "
            f"this process, which holds {_text(held)} already, got {_text(limit)}"
        )
    free = limit - held
    workers = max(1, min(threads, rows, free // floor))
    stripes = max(1, min(threads, free // (2 * stripe)))
    share = free // workers
    chunk_bytes = itemsize + rank + 4 + max(itemsize, rank)
    pair = 8 if itemsize <= 4 else 16
    key = max(itemsize, rank)
    return Shares(
        workers=workers,
        chunk=max(1024, min(1 << 19, share // 16 // chunk_bytes)),
        group=min(_LARGEST_GROUP, int(0.6 * share) // (key + 2 * pair)),
        nodes=max(1, int(0.3 * share) // (FANOUT * 64)),
        stripes=stripes,
        columns=max(1, min(1 << 20, free // 4 // (stripes * rank * rows))),
    )


def rank_bytes(n: int) -> int:
    """Bytes of an integer that holds centred doubled ranks of a vector of n."""
    return 4 if n < 2**31 else 8


def _text(count: int) -> str:
    return f"{math.ceil(count / 1e6)} MB"
