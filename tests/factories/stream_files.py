"""Take the files of streams apart and forge others, with right checksums, from the page of the
format alone.
"""

import hashlib
import json
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

HEADER_BYTES = 48
INFO, LINES, ENTRIES, SEQUENCE, STEP, UNSEEN, KEPT, DATA, END = range(1, 10)
Block = tuple[int, bytes]


def split(data: bytes) -> tuple[bytes, list[bytes]]:
    """Return the header of a file and its blocks, each with frame and checksum."""
    blocks, place = [], HEADER_BYTES
    while place < len(data):
        size = 16 + struct.unpack_from("<I", data, place + 4)[0] + 16
        blocks.append(data[place : place + size])
        place += size
    return data[:HEADER_BYTES], blocks


def contents(path: Path) -> list[Block]:
    """Return kind and payload of each block of a file."""
    blocks = split(path.read_bytes())[1]
    return [(struct.unpack_from("<I", block)[0], block[16:-16]) for block in blocks]


def forge(path: Path, blocks: Iterable[Block]) -> None:
    """Give a file other blocks, behind its own header and with right checksums."""
    data = header = path.read_bytes()[:HEADER_BYTES]
    checksum = checksum_of(header)
    for number, (kind, payload) in enumerate(blocks):
        frame = struct.pack("<IIQ", kind, len(payload), number)
        checksum = checksum_of(checksum + frame + payload)
        data += frame + payload + checksum
    path.write_bytes(data)


def checksum_of(data: bytes) -> bytes:
    """Return the checksum of bytes."""
    return hashlib.blake2b(data, digest_size=16).digest()


def deflated(value: Any) -> bytes:
    """Return the payload of a block of JSON; bytes stand for themselves."""
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return struct.pack("<I", len(data)) + zlib.compress(data)


def inflated(payload: bytes) -> Any:
    """Return the JSON of a payload."""
    return json.loads(zlib.decompress(payload[4:]))


def nested(levels: int) -> Any:
    """Return a list in as many lists."""
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value
