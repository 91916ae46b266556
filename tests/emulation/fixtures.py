"""Helpers that run Python-level tests on every backend: the CPU kernels and the emulated CUDA
kernels.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

import pytest

from . import build
from .reports import expect_no_reports

BACKENDS = {"cpu": None, "emulated": "plain", "race": "race", "ptx": "ptx"}


def emulated_module(variant: str) -> ModuleType:
    """Return the emulated module of the package's kernels; skip the test if it cannot be built."""
    reason = build.missing(variant)
    if reason:
        pytest.skip(reason)
    return build.load(variant)


@contextmanager
def running_on(backend: str, seed: int = 0) -> Iterator[ModuleType | None]:
    """Send CPU tensors to `backend`, one of BACKENDS, under the schedule of `seed`; yield the
    emulated module.

    Raise EmulationError if the emulation reports an error (a race, a deadlock).
    """
    from nondet_ext._backend import use_backend

    variant = BACKENDS[backend]
    if variant is None:
        yield None
        return
    module = emulated_module(variant)
    module.emulation.configure(seed)
    module.emulation.take_reports()
    with use_backend(module):
        yield module
    expect_no_reports(module)
