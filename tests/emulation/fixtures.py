"""Helpers that run Python-level tests on every backend: the CPU kernels, the emulated CUDA kernels,
and the CUDA kernels of a device that shares the memory of the CPU.
"""

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import pytest
import torch

from nondet_ext._native import _C

from . import build
from .reports import expect_no_reports

BACKENDS = {"cpu": None, "emulated": "plain", "race": "race", "ptx": "ptx", "cuda": None}

_PAGEABLE_MEMORY_ACCESS = 88  # CU_DEVICE_ATTRIBUTE_PAGEABLE_MEMORY_ACCESS


def _reads_all_memory() -> bool:
    """Return True if device 0 reads and writes memory that the CPU's malloc returned."""
    driver, device, answer = ctypes.CDLL("libcuda.so.1"), ctypes.c_int(), ctypes.c_int()
    failed = driver.cuInit(0) or driver.cuDeviceGet(ctypes.byref(device), 0)
    failed = failed or driver.cuDeviceGetAttribute(
        ctypes.byref(answer), _PAGEABLE_MEMORY_ACCESS, device
    )
    return not failed and answer.value == 1


def missing_device() -> str | None:
    """Return why tests on CPU tensors cannot run on a CUDA device here, or None."""
    if not torch.cuda.is_available():
        return "no CUDA device"
    if not hasattr(_C, "cuda"):
        return "nondet_ext was built without CUDA"
    if not _reads_all_memory():
        return "the CUDA device does not share the CPU's memory (pageableMemoryAccess is 0)"
    return None


class Finished:
    """Launchers whose kernels have ended when a call returns, as tests on CPU tensors expect."""

    def __init__(self, launchers: Any, finish: Callable[[], None]) -> None:
        self._launchers = launchers
        self._finish = finish

    def __getattr__(self, name: str) -> Callable[..., Any]:
        launch = getattr(self._launchers, name)

        def call(**arguments: Any) -> Any:
            result = launch(**arguments)
            self._finish()
            return result

        return call


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

    Raise EmulationError if the emulation reports an error (a race, a deadlock). "cuda" is a device,
    which has no emulated module; the test is skipped if there is none.
    """
    from nondet_ext._backend import use_backend

    if backend == "cuda":
        reason = missing_device()
        if reason:
            pytest.skip(reason)
        with use_backend(Finished(_C.cuda, torch.cuda.synchronize)):
            yield None
        return
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
