"""Record where random numbers come from: states of generators, and seeds that were set."""

import ctypes
import hashlib
import os
import random
import struct
import sys
import weakref
from typing import Any, NamedTuple

import numpy as np
import torch

from nondet.tracing.record.digests import digest_all


class Draw(NamedTuple):
    """The generator that an operation draws from: its name, and the digest of its state before."""

    generator: str
    state: int | None
    seed: int | None


class Generators:
    """Names of torch's generators, and their states."""

    def __init__(self) -> None:
        self._own: list[torch.Generator] = []

    def draw(self, generator: torch.Generator | None, device: Any) -> Draw:
        """Return what an operation on a device draws from; generator: the argument, if any."""
        kind = torch.device(device) if device is not None else torch.device("cpu")
        default = _default(kind)
        if generator is None:
            generator = default
            if generator is None:
                return Draw(str(kind), None, None)
        name = str(generator.device) if generator is default else self._name(generator)
        state = digest_all([generator.get_state()])[0]
        return Draw(name, state, generator.initial_seed() % 2**64)

    def _name(self, generator: torch.Generator) -> str:
        for default in (torch.default_generator, *_cuda_generators()):
            if generator is default:
                return str(generator.device)
        for number, each in enumerate(self._own, 1):
            if each is generator:
                return f"own {number}"
        self._own.append(generator)
        return f"own {len(self._own)}"


def _default(kind: torch.device) -> torch.Generator | None:
    if kind.type == "cpu":
        return torch.default_generator
    if kind.type == "cuda":
        generators = _cuda_generators()
        index = torch.cuda.current_device() if kind.index is None else kind.index
        return generators[index] if index < len(generators) else None
    return None


def _cuda_generators() -> tuple[torch.Generator, ...]:
    return tuple(torch.cuda.default_generators)


_followed: "weakref.WeakSet[GlobalStates]" = weakref.WeakSet()


def _after_fork() -> None:
    """Take the states anew: `random` seeds its generator in a process that was forked."""
    for each in list(_followed):
        each.changed()


# Behind the hook of `random`, which was imported before.
os.register_at_fork(after_in_child=_after_fork)


class GlobalStates:
    """The states of the generators of NumPy and `random`, and which have changed."""

    def __init__(self) -> None:
        self._numpy, self._python = _numpy_state(), _python_state()
        _followed.add(self)

    def changed(self) -> list[tuple[str, int]]:
        """Return the names of those that changed since the last call, with digests of states."""
        found = []
        before = self._numpy, self._python
        self._numpy, self._python = _numpy_state(), _python_state()
        if self._numpy != before[0]:
            found.append(("numpy.random", digest_bytes(repr(self._numpy).encode())))
        if self._python != before[1]:
            found.append(("random", digest_bytes(repr(random.getstate()).encode())))
        return found


_PYTHON: Any = random.seed.__self__  # type: ignore[attr-defined]
"""The generator of the functions of `random`."""


def _python_state() -> tuple[Any, ...]:
    """Return the memory of the generator of `random`: `getstate` makes 625 objects of it."""
    if not _MEMORY:
        return random.getstate()
    return ctypes.string_at(*_MEMORY), _PYTHON.gauss_next


def _find_memory() -> tuple[int, int] | tuple[()]:
    """Return address and size of the numbers of the generator of `random`; nothing where they do
    not lie as in CPython: an index and 624 numbers, behind what all objects have.
    """
    numbers = struct.Struct("625I")
    if type(_PYTHON).__basicsize__ < object.__basicsize__ + numbers.size:
        return ()
    address = id(_PYTHON) + object.__basicsize__
    index, *state = numbers.unpack(ctypes.string_at(address, numbers.size))
    return (address, numbers.size) if random.getstate()[1] == (*state, index) else ()


_MEMORY = _find_memory() if sys.implementation.name == "cpython" else ()


def _numpy_state() -> bytes | None:
    """Return the memory of NumPy's global generator: `get_state` takes 20 times as long."""
    bits = np.random.mtrand._rand._bit_generator
    if type(bits) is not np.random.MT19937:
        return repr(bits.state).encode()
    return ctypes.string_at(bits.ctypes.state_address, 625 * 4)


def digest_bytes(data: bytes) -> int:
    """Return a digest of 64 bits."""
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")
