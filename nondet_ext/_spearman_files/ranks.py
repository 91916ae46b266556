"""Ranks of one vector that does not fit in memory, by passes over it (csrc/cpu/external.h).

The first pass counts the keys by their 16 leading bits. Slots with one key are done: ties cost
little. A slot with more keys than can be sorted at once is counted by its next 16 bits in another
pass, and so on. The rest is cut into groups that are sorted one by one, after a pass that collects
the keys of a group in a scratch file. The last pass writes the ranks.

Counting every slot down to the last bit, without sorting, took twice as long: its tables do not fit
a cache.
"""

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nondet_ext._backend import NATIVE_DTYPE
from nondet_ext._native import _C
from nondet_ext._spearman_files.shares import FANOUT, Shares
from nondet_ext._spearman_files.vectors import Vector, read_exactly

Report = Callable[[str, int], None]
"""report(step, bytes) counts more bytes as done. It raises Stopped if the work is to end."""

_SHIFT = 2  # a code's kind is in the bits below
_GROUP, _CHILD, _COUNTING = 1, 2, 3

# Slots with several keys: the number of elements below, the number in the slot, the index of its
# code (-1 for the root), and the level of the node that would separate them.
_PENDING = np.dtype([("below", "i8"), ("count", "i8"), ("slot", "i8"), ("level", "i8")])


def rank_vector(vector: Vector, target: Path, scratch: Path, shares: Shares, report: Report) -> str:
    """Write the centred doubled ranks, integers of ``shares.rank_bytes`` bytes, to `target`, and
    return the SHA-256 of the file.
    """
    return _Ranking(vector, shares, report).write(target, scratch)


def _address(array: np.ndarray) -> int:
    address: int = array.__array_interface__["data"][0]
    return address


def _write(file: io.FileIO, values: np.ndarray) -> None:
    view = memoryview(values.data).cast("B")
    while view:
        view = view[file.write(view) :]


class _Ranking:
    def __init__(self, vector: Vector, shares: Shares, report: Report) -> None:
        self.vector, self.shares, self.report = vector, shares, report
        self.key = np.dtype(f"u{vector.dtype.itemsize}")
        self.rank = np.dtype(f"i{shares.rank_bytes}")
        self.dtype = NATIVE_DTYPE[getattr(torch, vector.dtype.name)]
        self.last = vector.dtype.itemsize // 2 - 1
        self.root = 0
        self.codes = np.empty((0, FANOUT), np.int64)
        self.leaves = np.empty((0, FANOUT), self.rank)
        self.pending = np.array([(0, vector.n, -1, 0)], _PENDING)
        chunk = min(shares.chunk, vector.n)
        self.piece = np.empty(chunk, vector.dtype)
        self.group_of = np.empty(chunk, np.uint32)

    def write(self, target: Path, scratch: Path) -> str:
        self._count(self.pending, "counting", advance=True)
        while len(batch := self._too_large()):
            self._count(batch, "counting further", advance=False)
        groups = _Groups(self.pending, self.shares.group)
        self.codes.reshape(-1)[groups.slots] = groups.of_slot << _SHIFT | _GROUP
        if groups.sizes:
            with io.FileIO(scratch, "w+b") as work:
                self._partition(groups, work)
                self._sort(groups, work)
                digest = self._merge(groups, work, target)
            scratch.unlink()
            return digest
        return self._merge(groups, None, target)

    def _too_large(self) -> np.ndarray:
        """Return the slots that the next pass counts further."""
        large = self.pending[self.pending["count"] > self.shares.group]
        if len(large):
            large = large[large["level"] == large["level"].min()]
        return large[: self.shares.nodes]

    def _count(self, batch: np.ndarray, step: str, advance: bool) -> None:
        """Count the nodes of `batch`, all of one level."""
        level = batch["level"][0]
        numbers = np.arange(len(batch))
        slots = np.empty(0)
        if level == self.last:
            numbers += len(self.leaves)
            more = np.zeros((len(batch), FANOUT), self.rank)
            self.leaves = np.concatenate([self.leaves, more]) if len(self.leaves) else more
        else:
            kind = np.dtype([("count", "i8"), ("first", self.key), ("differ", self.key)])
            slots = np.zeros((len(batch), FANOUT), kind)
        self._point(batch, numbers << _SHIFT | _COUNTING)
        for begin, piece in self.vector.pieces(self.piece):
            at = _C.cpu.external_count(
                **self._tree(), x=_address(piece), n=len(piece), slots=_address(slots)
            )
            if at >= 0:
                raise ValueError(f"{self.vector.name} has a NaN at position {begin + at}")
            self.report(step, piece.nbytes if advance else 0)
        self.pending = self.pending[~np.isin(self.pending["slot"], batch["slot"])]
        if level == self.last:
            self._finish(batch, numbers)
        else:
            numbers += len(self.codes)
            self._settle(slots, batch["below"], level + 1)
        self._point(batch, numbers << _SHIFT | _CHILD)

    def _point(self, batch: np.ndarray, codes: np.ndarray) -> None:
        if batch["slot"][0] < 0:
            self.root = int(codes[0])
        else:
            self.codes.reshape(-1)[batch["slot"]] = codes

    def _finish(self, batch: np.ndarray, numbers: np.ndarray) -> None:
        below = np.ascontiguousarray(batch["below"])
        _C.cpu.external_finish(
            wide=self.rank.itemsize == 8,
            leaves=_address(self.leaves[numbers[0] :]),
            nodes=len(batch),
            below=_address(below),
            total=self.vector.n,
        )

    def _settle(self, slots: np.ndarray, below: np.ndarray, level: int) -> None:
        """Add counted inner nodes to the tree: slots with one key get their rank, the others are
        pending.
        """
        count = np.ascontiguousarray(slots["count"])
        below = np.cumsum(count, axis=1) - count + below[:, None]
        node, digit = np.nonzero(slots["differ"])
        waiting = np.empty(len(node), _PENDING)
        waiting["below"], waiting["count"] = below[node, digit], count[node, digit]
        waiting["slot"] = (len(self.codes) + node) * FANOUT + digit
        waiting["level"] = level
        self.pending = np.concatenate([self.pending, waiting])
        self.codes = np.concatenate([self.codes, (2 * below + count - self.vector.n) << _SHIFT])

    def _tree(self) -> dict[str, Any]:
        return {
            "dtype": self.dtype,
            "wide": self.rank.itemsize == 8,
            "root": self.root,
            "codes": _address(self.codes),
            "leaves": _address(self.leaves),
        }

    def _classify(self, piece: np.ndarray, members: np.ndarray, out: int) -> np.ndarray:
        """Fill `members` (1 + groups,); return where each group begins in a buffer."""
        members[:] = 0
        _C.cpu.external_classify(
            **self._tree(),
            x=_address(piece),
            n=len(piece),
            out=out,
            group=_address(self.group_of),
            members=_address(members),
        )
        members[0] = 0
        begins: np.ndarray = np.cumsum(members) - members
        return begins

    def _partition(self, groups: "_Groups", work: io.FileIO) -> None:
        keys = np.empty(len(self.piece), self.key)
        members = np.zeros(1 + len(groups.sizes), np.int64)
        written = np.zeros_like(members)
        stride = max(self.key.itemsize, self.rank.itemsize)
        for _, piece in self.vector.pieces(self.piece):
            begins = self._classify(piece, members, out=0)
            cursor = begins.copy()
            _C.cpu.external_scatter(
                dtype=self.dtype,
                x=_address(piece),
                n=len(piece),
                group=_address(self.group_of),
                cursor=_address(cursor),
                keys=_address(keys),
            )
            for g in np.nonzero(members)[0]:
                work.seek(groups.begins[g - 1] * stride + int(written[g]) * self.key.itemsize)
                _write(work, keys[begins[g] : cursor[g]])
            written += members
            self.report("partitioning", 0)

    def _sort(self, groups: "_Groups", work: io.FileIO) -> None:
        """Replace the keys of each group by their ranks."""
        largest = max(groups.sizes)
        stride = max(self.key.itemsize, self.rank.itemsize)
        buffer = np.empty(largest * stride, np.uint8)
        items = np.empty(2 * largest * (8 if self.key.itemsize == 4 else 16), np.uint8)
        for begin, size, parts in zip(groups.begins, groups.sizes, groups.parts, strict=True):
            keys = buffer[: size * self.key.itemsize]
            work.seek(begin * stride)
            read_exactly(work, keys, "the scratch file")
            starts, below = (np.ascontiguousarray(each) for each in parts)
            _C.cpu.external_ranks(
                dtype=self.dtype,
                wide=self.rank.itemsize == 8,
                keys=_address(buffer),
                m=size,
                items=_address(items),
                starts=_address(starts),
                below=_address(below),
                parts=len(starts),
                total=self.vector.n,
            )
            work.seek(begin * stride)
            _write(work, buffer[: size * self.rank.itemsize])
            self.report("sorting", 0)

    def _merge(self, groups: "_Groups", work: io.FileIO | None, target: Path) -> str:
        digest = hashlib.sha256()
        out = np.empty(len(self.piece), self.rank)
        ranks = np.empty_like(out)
        members = np.zeros(1 + len(groups.sizes), np.int64)
        read = np.zeros_like(members)
        stride = max(self.key.itemsize, self.rank.itemsize)
        with io.FileIO(target, "wb") as file:
            for _, piece in self.vector.pieces(self.piece):
                begins = self._classify(piece, members, out=_address(out))
                for g in np.nonzero(members)[0]:
                    assert work is not None
                    work.seek(groups.begins[g - 1] * stride + int(read[g]) * self.rank.itemsize)
                    into = ranks[begins[g] : begins[g] + members[g]]
                    read_exactly(work, into, "the scratch file")
                read += members
                _C.cpu.external_gather(
                    wide=self.rank.itemsize == 8,
                    n=len(piece),
                    group=_address(self.group_of),
                    cursor=_address(begins),
                    ranks=_address(ranks),
                    out=_address(out),
                )
                digest.update(out[: len(piece)].data)
                _write(file, out[: len(piece)])
                self.report("writing ranks", piece.nbytes)
        return digest.hexdigest()


class _Groups:
    """Slots in the order of their keys, cut into groups of at most `most` keys."""

    def __init__(self, pending: np.ndarray, most: int) -> None:
        ordered = pending[np.argsort(pending["below"])]
        ends = np.cumsum(ordered["count"])
        self.slots = ordered["slot"]
        self.of_slot = np.empty(len(ordered), np.int64)
        self.begins: list[int] = []  # in keys, among all that are sorted
        self.sizes: list[int] = []
        self.parts: list[tuple[np.ndarray, np.ndarray]] = []  # starts, below
        first = 0
        while first < len(ordered):
            begin = int(ends[first] - ordered["count"][first])
            last = int(np.searchsorted(ends, begin + most, side="right"))
            members = slice(first, last)
            self.of_slot[members] = len(self.sizes)
            self.begins.append(begin)
            self.sizes.append(int(ends[last - 1]) - begin)
            starts = ends[members] - ordered["count"][members] - begin
            self.parts.append((starts, ordered["below"][members]))
            first = last
