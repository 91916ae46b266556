"""The fingerprint of docs/numerics.md in Python's integers, and tensors with given bytes."""

from collections.abc import Sequence

import numpy as np
import torch

M32, M64 = 2**32 - 1, 2**64 - 1
CODES = {
    torch.float64: 1,
    torch.float32: 2,
    torch.float16: 3,
    torch.bfloat16: 4,
    torch.float8_e4m3fn: 5,
    torch.float8_e5m2: 6,
    torch.float8_e4m3fnuz: 7,
    torch.float8_e5m2fnuz: 8,
    torch.float8_e8m0fnu: 9,
    torch.float4_e2m1fn_x2: 10,
    torch.int8: 11,
    torch.int16: 12,
    torch.int32: 13,
    torch.int64: 14,
    torch.uint8: 15,
    torch.uint16: 16,
    torch.uint32: 17,
    torch.uint64: 18,
    torch.bool: 19,
    torch.complex32: 20,
    torch.complex64: 21,
    torch.complex128: 22,
}
if hasattr(torch, "bcomplex32"):  # since torch 2.14
    CODES[torch.bcomplex32] = 23


def philox(counter: Sequence[int], key: Sequence[int]) -> list[int]:
    a, b, c, d = counter
    left, right = key
    for _ in range(10):
        low, high = 0xD2511F53 * a, 0xCD9E8D57 * c
        a, b, c, d = high >> 32 ^ b ^ left, high & M32, low >> 32 ^ d ^ right, low & M32
        left, right = left + 0x9E3779B9 & M32, right + 0xBB67AE85 & M32
    return [a, b, c, d]


KEYS = [word for block in range(258) for word in philox((block, 0, 0, 0), (0, 0x66707274))]


def absorb(state: int, value: int) -> int:
    z = (state ^ value) + 0x9E3779B97F4A7C15 & M64
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & M64
    z = (z ^ z >> 27) * 0x94D049BB133111EB & M64
    return z ^ z >> 31


def specified(data: bytes, code: int, shape: Sequence[int]) -> int:
    total = 0
    for tile in range(-(-len(data) // 4096)):
        piece = data[4096 * tile : 4096 * (tile + 1)]
        piece += bytes(-len(piece) % 16)
        words = [int.from_bytes(piece[i : i + 4], "little") for i in range(0, len(piece), 4)]
        digest = absorb(0, tile)
        for shift in (0, 8):
            sums = [w + KEYS[i + shift] & M32 for i, w in enumerate(words)]
            nh = sum(a * b for a, b in zip(sums[::2], sums[1::2], strict=True)) & M64
            digest = absorb(digest, nh)
        total = total + digest & M64
    state = 0
    for value in (code, len(shape), *shape, total):
        state = absorb(state, value)
    return state


def random_bytes(count: int, seed: int = 1) -> bytes:
    return np.random.default_rng(seed).bytes(count)


def tensor_of(data: bytes, dtype: torch.dtype) -> torch.Tensor:
    """Return a 1-d tensor with these bytes."""
    if not data:
        return torch.empty(0, dtype=dtype)
    if dtype == torch.bool:
        return torch.frombuffer(bytearray(b & 1 for b in data), dtype=torch.bool)
    return torch.frombuffer(bytearray(data), dtype=torch.uint8).view(dtype)


def bytes_of(x: torch.Tensor) -> bytes:
    flat = x.reshape(-1)
    if not flat.numel():
        return b""
    # A single element may have any stride.
    flat = flat.as_strided(flat.shape, (1,), flat.storage_offset())
    return flat.view(torch.uint8).numpy().tobytes()
