"""Hash tensors in batches, before anything can change them."""

import os
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import nullcontext
from queue import SimpleQueue
from typing import Any

import torch

import nondet_ext
from nondet_ext.recording import DTYPE_CODE, Value, fingerprint_small

LIMIT_COUNT, LIMIT_BYTES = 256, 64 << 20
"""How many tensors wait at most, and how much memory they keep from being freed."""

LARGE = 1 << 20
"""Tensors of so many bytes are hashed by another thread while the script goes on."""


def digest_all(tensors: Sequence[torch.Tensor]) -> list[int]:
    """Return the digests of dense tensors, as `nondet_ext.fingerprint` defines them."""
    return nondet_ext.fingerprints(tensors)


class Hasher(threading.Thread):
    """A thread that hashes large tensors, one after the other, without Python's global lock."""

    def __init__(self) -> None:
        super().__init__(name="nondet hasher", daemon=True)
        self.pid = os.getpid()
        self._jobs: SimpleQueue[tuple[torch.Tensor, Future[int]]] = SimpleQueue()

    def hash(self, tensor: torch.Tensor) -> "Future[int]":
        """Return the digest of a tensor, which must not change until it is known."""
        future: Future[int] = Future()
        self._jobs.put((tensor, future))
        return future

    def run(self) -> None:
        """Hash what comes."""
        while True:
            tensor, future = self._jobs.get()
            digest, problem = 0, None
            try:
                digest = nondet_ext.fingerprints([tensor], threads=1)[0]
            except Exception as error:
                problem = error.with_traceback(None)
            # Before it is told: when the tensor is freed must not depend on this thread.
            del tensor
            if problem is None:
                future.set_result(digest)
            else:
                future.set_exception(problem)
            del future, problem


_hashers: list[Hasher] = []


def _hasher() -> Hasher:
    """Return the thread of this process; a fork does not inherit it."""
    if not _hashers or _hashers[-1].pid != os.getpid():
        hasher = Hasher()
        hasher.start()
        _hashers[:] = [hasher]
    return _hashers[-1]


class Digests:
    """Tensors that wait for their digests, and where these go: a position in `values`."""

    def __init__(self) -> None:
        self.values: list[int] = []
        self.addresses: set[int] = set()  # of the storages of waiting tensors
        self._waiting: list[tuple[torch.Tensor, int, Value]] = []
        self._large: list[tuple[torch.Tensor, int, Value, Future[int]]] = []
        self._bytes = 0
        self._lock: Any = nullcontext()

    def share(self) -> None:
        """Let other threads call `flush` from now on."""
        if isinstance(self._lock, nullcontext):
            self._lock = threading.RLock()

    def add(self, tensor: torch.Tensor, address: int, value: Value, size: int) -> None:
        """Append a value for the digest of a tensor, which is computed later unless it is small.

        Who waits holds the tensor, and torch then adds a `detach` where it hands it on: whether a
        tensor waits must depend on the tensor alone.
        """
        digest = fingerprint_small(tensor, DTYPE_CODE)
        if digest is not None:
            self.values.append(digest)
            value.digest = digest
            return
        with self._lock:
            position = len(self.values)
            self.values.append(0)
            if size >= LARGE and tensor.device.type == "cpu":
                self._large.append((tensor, position, value, _hasher().hash(tensor)))
            else:
                self._waiting.append((tensor, position, value))
            self.addresses.add(address)
            self._bytes += size
        if self._bytes > LIMIT_BYTES or len(self._waiting) >= LIMIT_COUNT:
            self.flush()

    def flush(self) -> None:
        """Compute all digests that are due."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
            large, self._large = self._large, []
            self.addresses.clear()
            self._bytes = 0
            if waiting:
                digests = digest_all([each[0] for each in waiting])
                for digest, (_, position, value) in zip(digests, waiting, strict=True):
                    self.values[position] = value.digest = digest
            for _, position, value, future in large:
                self.values[position] = value.digest = future.result()
