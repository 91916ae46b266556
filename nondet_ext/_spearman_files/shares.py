"""The memory of spearman_files, and how it is divided."""

import math
from dataclasses import dataclass

from nondet_ext import memory

FANOUT = 1 << 16
"""Slots of a node of the tree that gives the ranks (csrc/cpu/external.h)."""

_SLACK = 64 << 20
"""Reserve for the allocator, stacks of threads and buffers of matrix products."""

_LARGEST_GROUP = 1 << 22
"""Larger groups save nothing: radix sort takes the same time per key."""


@dataclass(frozen=True)
class Shares:
    """Sizes of what is in memory at once.

    Attributes:
        workers: vectors that are ranked at once; each of them has the next three.
        chunk: elements of a piece of a vector.
        group: keys that are sorted in memory.
        nodes: nodes of the tree that are counted in one pass.
        stripes: parts of the columns that are multiplied at once.
        columns: columns of a block of ranks, of which each stripe has one.
        rank_bytes: bytes of a rank, 4 or 8.
    """

    workers: int
    chunk: int
    group: int
    nodes: int
    stripes: int
    columns: int
    rank_bytes: int


def share_out(limit: int, rows: int, n: int, itemsize: int, threads: int) -> Shares:
    """Return sizes with which this process stays below `limit` bytes, for `rows` vectors of n
    values of `itemsize` bytes.

    Raises:
        ValueError: the limit is too low.
    """
    rank = rank_bytes(n)
    # Totals of the products of limbs, and the limbs of some columns.
    stripe = (8 << 20) + 256 * rows**2
    # A bucket too large to be sorted needs a node of its own, and there can be n / group of them.
    floor = (48 << 20) + int(math.sqrt(7e7 * n))
    least, held = max(floor, 2 * stripe), memory.resident_bytes() + _SLACK
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
        rank_bytes=rank,
    )


def rank_bytes(n: int) -> int:
    """Return the bytes of an integer that holds a centred doubled rank of n values."""
    return 4 if n < 2**31 else 8


def _text(count: int) -> str:
    return f"{math.ceil(count / 1e6)} MB"
