"""Image files that Pillow does not write: PNGs of 16 bits per channel, and very large ones."""

import struct
import zlib
from pathlib import Path

import numpy as np

GREY, COLOUR, GREY_ALPHA, COLOUR_ALPHA = 0, 2, 4, 6
"""PNG's colour types."""

CHANNELS = {GREY: 1, COLOUR: 3, GREY_ALPHA: 2, COLOUR_ALPHA: 4}


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _write(path: Path, width: int, height: int, bits: int, colour: int, data: bytes) -> None:
    head = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    chunks = _chunk(b"IHDR", head) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)


def write_deep_png(path: Path, pixels: np.ndarray, colour: int) -> None:
    """Write a PNG of 16 bits per channel (PNG specification, 11.2). pixels: (height, width,
    channels).
    """
    height, width, channels = pixels.shape
    assert channels == CHANNELS[colour]
    rows = (b"\0" + row.astype(">u2").tobytes() for row in pixels)
    _write(path, width, height, 16, colour, zlib.compress(b"".join(rows)))


def write_large_png(path: Path, side: int) -> None:
    """Write a black grey PNG of side x side pixels, 8 bits each, in little memory."""
    packer = zlib.compressobj(1)
    row = bytes(side + 1)
    data = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    _write(path, side, side, 8, GREY, data)
