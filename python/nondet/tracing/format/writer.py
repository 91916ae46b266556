"""Write a stream: append its steps to a file that can be read up to the last one at any time."""

import errno
import os
import secrets
import sys
import threading
from array import array
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from nondet.tracing.format.appending import BlockFile
from nondet.tracing.format.blocks import HEADER, MAGIC, VERSION, BlockKind, deflate
from nondet.tracing.format.command import read_own_id
from nondet.tracing.format.entries import MOST_VALUES, Entry, format_entry, format_line
from nondet.tracing.format.objects import format_info, format_kept, format_unseen
from nondet.tracing.format.values import BASED, STEP, VALUE, WHOLE, pack_values
from nondet.tracing.records import Kept, Line, StreamInfo, Unseen

_PIECE = 1 << 20  # characters of JSON in a block, and a quarter of the bytes of kept values
_PART = MOST_VALUES  # records of a part of a step, and values
_REMEMBERED = 1 << 22  # words of 8 bytes of all sequences and their last values in memory
LONGEST_TEXT = 1000  # characters of the text of a line of source


class _Sequence:
    """The entries of a step or of a part of one, and the values that they had last."""

    def __init__(self, number: int, size: int, words: int) -> None:
        self.number, self.size, self.words = number, size, words
        self.last: np.ndarray | None = None


class StreamWriter:
    """Writes the stream of a thread. Other threads may call it too, one at a time.

    Where the file cannot be written, the call raises OSError once; later calls do nothing. Nothing
    is written either by a process that was forked from that which made the writer.

    Attributes:
        failed: The error that ended the writing; None while all is well.
    """

    failed: OSError | None

    def __init__(self, path: Path, info: StreamInfo) -> None:
        """Make a file in the folder of a trace.

        path: not there yet; its name ends with ".stream" (`stream_path`).

        Raises OSError if it cannot be made, TraceError if its folder is no trace (`write_command`
        makes one), and ValueError if JSON cannot hold the info.
        """
        path = Path(path)
        trace = read_own_id(path.parent)
        first = deflate(format_info(info).encode())
        header = HEADER.pack(MAGIC, VERSION, trace, secrets.token_bytes(16))
        self.failed = None
        self._process = os.getpid()
        self._lock = threading.RLock()
        self._active, self._busy = True, False
        self._lines: dict[Line, int] = {}
        self._entries: dict[tuple[object, ...], int] = {}
        self._counts: list[int] = []  # of values, by entry
        self._new_lines: list[str] = []
        self._new_entries: list[str] = []
        self._sequences: OrderedDict[bytes, _Sequence] = OrderedDict()
        self._sequence_count = self._remembered = 0
        self._file = BlockFile(path, header)
        with self._turn():
            self._file.append([(BlockKind.INFO, first)])

    def line(self, file: str, number: int, function: str, text: str) -> int:
        """Return the id of a line of source. Raises ValueError if JSON cannot hold it.

        text: is cut to 1,000 characters.
        """
        line = Line(file, number, function, text[:LONGEST_TEXT])
        known = self._lines.get(line)
        if known is not None:
            return known
        with self._turn() as active:
            if not active:
                return 0
            self._new_lines.append(format_line(line))
            return self._lines.setdefault(line, len(self._lines))

    def entry(self, entry: Entry) -> int:
        """Return the id of an entry. Raises ValueError if JSON cannot hold it."""
        # Equal facts may differ, as True and 1 do, or be no keys, as lists.
        key = (*entry[:-2], repr(entry.facts), entry.value_facts)
        try:
            known = self._entries.get(key)
        except TypeError:
            name = ascii(entry.name)[:60]
            raise ValueError(f"the entry {name} has lists in place of tuples") from None
        if known is not None:
            return known
        with self._turn() as active:
            if not active:
                return 0
            self._new_entries.append(format_entry(entry, len(self._lines)))
            self._counts.append(entry.value_count)
            return self._entries.setdefault(key, len(self._entries))

    def step(
        self,
        number: int,
        entries: Sequence[int] | np.ndarray,
        values: "array[int] | Sequence[int] | np.ndarray",
        *,
        whole: bool,
    ) -> None:
        """Write a step.

        number: of the step. entries: ids of the entries of its records. values: unsigned integers
        of 64 bits, those of all records in turn; they are copied. whole: False for a part of a step
        that the next call continues, with the same number; indices of records run on.

        Raises ValueError if an id is unknown, or if the values are too many or too few.
        """
        if not -(2**63) <= number < 2**63:
            raise ValueError(f"the number of a step is {number}; it must fit in 64 bits")
        ids, new = _to_ids(entries), np.array(values, VALUE)
        if max(len(ids), len(new)) > _PART and len(ids) > 1:
            first = len(ids) // 2
            size = sum(self._counts[entry] for entry in ids[:first].tolist())
            self.step(number, ids[:first], new[:size], whole=False)
            self.step(number, ids[first:], new[size:], whole=whole)
            return
        with self._turn() as active:
            if not active:
                return
            blocks = [*self._pending()] if self._new_lines or self._new_entries else []
            key = ids.tobytes()
            sequence = self._sequences.get(key) or self._make_sequence(ids, key, blocks)
            if len(new) != sequence.size:
                raise ValueError(f"{len(new)} values, where the entries have {sequence.size}")
            flags = (WHOLE if whole else 0) | (BASED if sequence.last is not None else 0)
            head = STEP.pack(number, sequence.number, flags)
            blocks.append((BlockKind.STEP, head + pack_values(new, sequence.last)))
            self._file.append(blocks)
            self._new_lines.clear()
            self._new_entries.clear()
            self._remember(key, sequence, new)

    def kept(self, kept: Kept) -> None:
        """Write the values of a tensor. Raises ValueError if they do not fit its type."""
        blocks = [(BlockKind.KEPT, deflate(format_kept(kept).encode()))]
        data = memoryview(kept.data)
        with self._turn() as active:
            if active:
                self._file.append(blocks)
                for start in range(0, len(data), 4 * _PIECE):
                    piece = bytes(data[start : start + 4 * _PIECE])
                    self._file.append([(BlockKind.DATA, piece)])

    def unseen(self, unseen: Unseen) -> None:
        """Write what the trace could not see. Raises ValueError if JSON cannot hold it."""
        block = BlockKind.UNSEEN, deflate(format_unseen(unseen).encode())
        with self._turn() as active:
            if active:
                self._file.append([block])

    def close(self) -> None:
        """Mark the clean end of the stream and close the file. Later calls do nothing."""
        with self._turn() as active:
            if active:
                self._file.append([(BlockKind.END, b"")])
                self._file.close(cut=False)
                self._stop()

    @contextmanager
    def _turn(self) -> Iterator[bool]:
        """Keep other threads out meanwhile; yield False if there is nothing to do any more."""
        # The lock of a forked process may be held by a thread that it does not have.
        if not self._active or os.getpid() != self._process:
            yield False
            return
        with self._lock:
            if self._busy:  # a signal handler raised, or comes in between
                self._fail(OSError(errno.EINTR, "a signal interrupted the writing of the trace"))
            if not self._active:
                yield False
                return
            self._busy = True
            try:
                yield True
            except OSError as error:
                self._fail(error)
            except ValueError:  # before anything was changed
                self._busy = False
                raise
            self._busy = False

    def _fail(self, error: OSError) -> None:
        self.failed = error
        self._stop()
        with suppress(OSError):
            self._file.close(cut=True)
        raise error

    def _stop(self) -> None:
        self._active = False
        self._lines, self._entries, self._counts = {}, {}, []
        self._new_lines, self._new_entries = [], []
        self._sequences.clear()

    def _pending(self) -> Iterator[tuple[BlockKind, bytes]]:
        """Yield the blocks of lines and entries that the file lacks."""
        news = (BlockKind.LINES, self._new_lines), (BlockKind.ENTRIES, self._new_entries)
        for kind, texts in news:
            for piece in _pieces(texts):
                yield kind, deflate(f"[{','.join(piece)}]".encode())

    def _make_sequence(
        self, ids: np.ndarray, key: bytes, blocks: list[tuple[BlockKind, bytes]]
    ) -> _Sequence:
        """Return a new sequence of entries, whose bytes are its key; add its block."""
        if len(ids) and ids.max() >= len(self._counts):
            raise ValueError(f"no entry has the id {ids.max()}; there are {len(self._counts)}")
        size = sum(self._counts[entry] for entry in ids.tolist())
        blocks.append((BlockKind.SEQUENCE, deflate(key)))
        return _Sequence(self._sequence_count, size, len(ids) // 2 + size)

    def _remember(self, key: bytes, sequence: _Sequence, values: np.ndarray) -> None:
        """Note the last values of a sequence, and forget those that were used longest ago."""
        if sequence.last is None:
            self._sequences[key] = sequence
            self._sequence_count += 1
            self._remembered += sequence.words
        else:
            self._sequences.move_to_end(key)
        sequence.last = values
        while self._remembered > _REMEMBERED and len(self._sequences) > 1:
            self._remembered -= self._sequences.popitem(last=False)[1].words


def _to_ids(entries: Sequence[int] | np.ndarray) -> np.ndarray:
    """Return ids as uint32, little-endian. Raises ValueError for others."""
    if not isinstance(entries, np.ndarray):
        try:
            entries = np.frombuffer(array("I", entries), f"{_NATIVE}u4")
        except OverflowError:
            raise ValueError("ids of entries are integers that `entry` has returned") from None
    return entries.astype("<u4", copy=False)


def _pieces(texts: list[str]) -> Iterator[list[str]]:
    """Yield texts in groups of about `_PIECE` characters."""
    piece, length = [], 0
    for text in texts:
        piece.append(text)
        length += len(text)
        if length > _PIECE:
            yield piece
            piece, length = [], 0
    if piece:
        yield piece


_NATIVE = "<" if sys.byteorder == "little" else ">"
