"""Hash tensors in batches, before anything can change them."""

import threading
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch

import nondet_ext
from nondet_ext.recording import DTYPE_CODE, Value, fingerprint_small

LIMIT_COUNT, LIMIT_BYTES = 256, 64 << 20
"""How many tensors wait at most, and how much memory they keep from being freed."""

LARGE = 1 << 18
"""CPU tensors of so many bytes are hashed at once.

They are still in a cache, and memory that is not held is used again by the next operation. A thread
that hashes them while the script goes on is no faster: both wait for the same memory.
"""


def digest_all(tensors: Sequence[torch.Tensor]) -> list[int]:
    """Return the digests of dense tensors, as `nondet_ext.fingerprint` defines them."""
    return nondet_ext.fingerprints(tensors)


class Digests:
    """Tensors that wait for their digests, and where these go: a position in `values`."""

    def __init__(self) -> None:
        self.values: list[int] = []
        self.addresses: set[int] = set()  # of the storages of waiting tensors
        self._waiting: list[tuple[torch.Tensor, int, Value]] = []
        self._bytes = 0
        self._lock: Any = nullcontext()

    def share(self) -> None:
        """Let other threads call `flush` from now on."""
        if isinstance(self._lock, nullcontext):
            self._lock = threading.RLock()

    def add(self, tensor: torch.Tensor, address: int, value: Value, size: int) -> None:
        """Append a value for the digest of a tensor, which is computed later unless it is small,
        or large and on the CPU.

        Who waits holds the tensor, and torch then adds a `detach` where it hands it on: whether a
        tensor waits must depend on the tensor alone.
        """
        at_once = size >= LARGE and tensor.device.type == "cpu"
        digest = digest_all([tensor])[0] if at_once else fingerprint_small(tensor, DTYPE_CODE)
        if digest is not None:
            self.values.append(digest)
            value.digest = digest
            return
        with self._lock:
            position = len(self.values)
            self.values.append(0)
            self._waiting.append((tensor, position, value))
            self.addresses.add(address)
            self._bytes += size
        if self._bytes > LIMIT_BYTES or len(self._waiting) >= LIMIT_COUNT:
            self.flush()

    def flush(self) -> None:
        """Compute all digests that are due."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
            self.addresses.clear()
            self._bytes = 0
            if waiting:
                digests = digest_all([each[0] for each in waiting])
                for digest, (_, position, value) in zip(digests, waiting, strict=True):
                    self.values[position] = value.digest = digest
