"""The values of steps, packed as differences from those of an earlier step."""

import struct

import numpy as np

VALUE = np.dtype("<u8")

STEP = struct.Struct("<qIB3x")
"""What stands before the packed values of a step: its number, the sequence, flags."""

WHOLE, BASED = 1, 2
"""Flags of a step: it ends here; its values are XORed with the last ones of the sequence."""


def pack_values(values: np.ndarray, base: np.ndarray | None) -> bytes:
    """Return the words of `values` that differ from `base`, behind a mask that tells which.

    values, base: uint64 of the same length; without a base, zeros stand in. The mask has a bit for
    each value, lowest bit first. Words are XORed with those of the base. Digests do not compress
    and most other values never change, so this is smaller than deflated differences, and ten times
    as fast.
    """
    changes = values if base is None else values ^ base
    changed = changes != 0
    mask = np.packbits(changed, bitorder="little")
    return bytes(mask.tobytes() + changes[changed].tobytes())


def unpack_values(packed: bytes | memoryview, count: int, base: np.ndarray | None) -> np.ndarray:
    """Return the `count` values that `pack_values` packed. Raises ValueError for other bytes."""
    size = (count + 7) // 8
    if len(packed) < size:  # also bounds `count`
        raise ValueError(f"holds {len(packed)} bytes; the mask of {count} values has {size}")
    mask = np.frombuffer(packed, np.uint8, size)
    bits = np.unpackbits(mask, bitorder="little")
    if bits[count:].any():
        raise ValueError(f"its mask marks more than its {count} values")
    changed = bits[:count].view(bool)
    if len(packed) - size != VALUE.itemsize * int(np.count_nonzero(changed)):
        raise ValueError("holds more or fewer values than its mask marks")
    changes = np.frombuffer(packed, VALUE, offset=size)
    values = np.zeros(count, VALUE) if base is None else base.copy()
    values[changed] ^= changes
    values.flags.writeable = False
    return values
