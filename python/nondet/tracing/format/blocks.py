"""The blocks of a stream's file: framed, numbered, and chained by checksums.

A file begins with a header. Each block has a frame (kind, length, number), a payload, and the
checksum of both and of the checksum before. So no block can be changed, removed, repeated, moved or
taken from elsewhere unnoticed, and all whole blocks of a cut file can be read.
"""

import enum
import hashlib
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

VERSION = 2
"""The version of the format that is written, of trace.json and of streams."""

READ = (1, 2)
"""The versions that can be read."""

CALLERS = 2
"""The first version whose entries tell callers: which lines of a script led to those of libraries.
"""

MAGIC = b"nondet stream\n"
HEADER = struct.Struct("<14sH16s16s")  # magic, version, id of the trace, random bytes
FRAME = struct.Struct("<IIQ")  # kind, length of the payload, number from 0
CHECKSUM_BYTES = 16
LARGEST = 16 << 20
"""Most bytes of a payload, stored and inflated."""

_SIZE = struct.Struct("<I")


class BlockKind(enum.IntEnum):
    """What a block holds."""

    INFO = 1
    LINES = 2
    ENTRIES = 3
    SEQUENCE = 4
    STEP = 5
    UNSEEN = 6
    KEPT = 7
    DATA = 8
    END = 9


_KINDS = frozenset(BlockKind)


class Block(NamedTuple):
    """A block whose checksum was right."""

    kind: BlockKind
    number: int
    payload: bytes
    offset: int  # of its payload in the file


class DamageError(Exception):
    """A file is cut or damaged somewhere; what stands before is right."""


class Chain:
    """The checksums of the blocks of a file, each of which depends on all before."""

    def __init__(self, header: bytes) -> None:
        self.number = 0  # of the next block
        self.checksum = digest(header)

    def frame(self, kind: int, payload: bytes) -> tuple[bytes, bytes]:
        """Return the frame of the next block and its checksum, and move on."""
        frame = FRAME.pack(kind, len(payload), self.number)
        self.number += 1
        self.checksum = digest(self.checksum, frame, payload)
        return frame, self.checksum


def digest(*parts: bytes) -> bytes:
    """Return the checksum of bytes: BLAKE2b of 16 bytes."""
    state = hashlib.blake2b(digest_size=CHECKSUM_BYTES)
    for part in parts:
        state.update(part)
    return state.digest()


def read_blocks(file: BinaryIO, header: bytes) -> Iterator[Block]:
    """Yield the blocks of a file that is open behind its header.

    Raises DamageError at the first block that is not whole, behind an `END`, and at the end of a
    file without one.
    """
    chain, offset, kind = Chain(header), len(header), 0
    while frame := file.read(FRAME.size):
        number = chain.number
        if kind == BlockKind.END:
            raise DamageError(f"is damaged: it goes on behind its end, at byte {offset}")
        if len(frame) < FRAME.size:
            raise DamageError(f"is cut within block {number}, at byte {offset + len(frame)}")
        kind, length, named = FRAME.unpack(frame)
        damaged = DamageError(f"is damaged at block {number}, which begins at byte {offset}")
        if kind not in _KINDS or length > LARGEST or named != number:
            raise damaged
        offset += FRAME.size
        rest = file.read(length + CHECKSUM_BYTES)
        if len(rest) < length + CHECKSUM_BYTES:
            raise DamageError(f"is cut within block {number}, at byte {offset + len(rest)}")
        payload = rest[:length]
        if chain.frame(kind, payload)[1] != rest[length:]:
            raise damaged
        yield Block(BlockKind(kind), number, payload, offset)
        offset += len(rest)
    if kind != BlockKind.END:
        raise DamageError("has no end mark: its process was killed, or still runs")


def deflate(data: bytes) -> bytes:
    """Return bytes deflated, behind their number. Raises ValueError for more than `LARGEST`."""
    if len(data) > LARGEST:
        raise ValueError(f"{len(data)} bytes in one piece; at most {LARGEST} are allowed")
    return _SIZE.pack(len(data)) + zlib.compress(data, 1)


def inflated_size(payload: bytes) -> int:
    """Return the number of bytes that a payload claims to hold, at most `LARGEST`."""
    if len(payload) < _SIZE.size:
        raise ValueError("is too short for deflated data")
    size = int(_SIZE.unpack_from(payload)[0])
    if size > LARGEST:
        raise ValueError(f"inflates to {size} bytes; at most {LARGEST} are read")
    return size


def inflate(payload: bytes) -> bytes:
    """Return what `deflate` was given. Raises ValueError for anything else."""
    size = inflated_size(payload)
    state = zlib.decompressobj()
    try:
        data = state.decompress(payload[_SIZE.size :], size + 1)
    except zlib.error as error:
        raise ValueError(f"cannot be inflated: {error}") from None
    if len(data) != size or not state.eof or state.unused_data:
        raise ValueError(f"does not inflate to the {size} bytes that it names")
    return data
