"""Check that whatever a record reads from another one is there."""

from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from nondet.tracing.format.entries import Entry

_CODES = {"output": 0, "read": 1, "earlier": 2, "new": 3}
_OUTPUT, _READ, _EARLIER = 0, 1, 2


class References:
    """The sources of the reads of all entries of a stream, as arrays."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        shapes = [shape for entry in entries for shape in entry.reads]
        sources = [shape.source for shape in shapes]
        self._origin = np.array([_CODES[source.origin] for source in sources], np.uint8)
        self._back = np.array([source.back for source in sources], np.int64)
        self._slot = np.array([source.slot for source in sources], np.int64)
        self._own = np.array([i for entry in entries for i in range(len(entry.reads))], np.int64)
        self._reads = np.array([len(entry.reads) for entry in entries], np.int64)
        self._writes = np.array([len(entry.writes) for entry in entries], np.int64)
        self._starts = np.array(list(accumulate(self._reads, initial=0))[:-1], np.int64)

    def find_bad(self, entries: np.ndarray, before: np.ndarray | None) -> int | None:
        """Return the index of the first record that reads from a record or a tensor that is not
        there; None if all are.

        entries: of a step. before: of the step before; None if there is none.
        """
        reads = self._reads[entries]
        first = np.cumsum(reads) - reads  # of the reads of the step, the first of each record
        record = np.repeat(np.arange(len(entries)), reads)
        read = np.repeat(self._starts[entries] - first, reads) + np.arange(len(record))
        origin, back, slot = self._origin[read], self._back[read], self._slot[read]
        own = (origin == _READ) & (back == 0)  # a tensor that the record itself read already
        bad = own & (slot >= self._own[read])
        here = ((origin == _OUTPUT) | (origin == _READ)) & ~own
        bad |= here & ((back < 1) | (back > record))
        here &= ~bad
        other = entries[record[here] - back[here]]
        limit = np.where(origin[here] == _OUTPUT, self._writes[other], self._reads[other])
        bad[here] = slot[here] >= limit
        earlier = origin == _EARLIER
        bad |= earlier & (back >= (0 if before is None else len(before)))
        earlier &= ~bad
        if before is not None:
            bad[earlier] = slot[earlier] >= self._writes[before[back[earlier]]]
        return int(record[bad][0]) if bad.any() else None
