"""Devices for the checks of `nondet selftest`: the emulated CUDA kernels, whole and with planted
defects.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from emulation.fixtures import running_on
from nondet.checking.devices import Device
from nondet_ext._backend import use_backend
from nondet_ext._native import _C

Defect = Callable[[str, dict[str, Any]], None]
"""Gets the name of a kernel that has run, and its arguments."""

DTYPES = {torch.float32: _C.DType.float32, torch.bfloat16: _C.DType.bfloat16}


class Planted:
    """Launchers that do something more after some kernels."""

    def __init__(self, launchers: Any, defect: Defect) -> None:
        self._launchers = launchers
        self._defect = defect

    def __getattr__(self, name: str) -> Callable[..., Any]:
        launch = getattr(self._launchers, name)
        if not callable(launch) or name.endswith("_workspace"):
            return launch

        def call(**arguments: Any) -> Any:
            result = launch(**arguments)
            self._defect(name, arguments)
            return result

        return call


def emulated(defect: Defect = lambda name, arguments: None, seed: int = 0) -> Device:
    """Return the emulated kernels under the schedule of a seed, which take tensors of the CPU."""

    @contextmanager
    def using() -> Iterator[None]:
        with running_on("emulated", seed) as module, use_backend(Planted(module, defect)):
            yield

    return Device("emulated", using=using)


def flip_byte(address: int) -> None:
    """Change the lowest bit of the byte at an address."""
    import ctypes

    byte = ctypes.c_uint8.from_address(address)
    byte.value ^= 1
