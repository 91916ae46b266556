"""Fixtures that run a test on every instruction set and on the emulated CUDA kernels."""

import zlib
from collections.abc import Iterator

import pytest
import torch

from emulation.fixtures import BACKENDS, running_on
from nondet_ext._native import _C

CPU_ISAS = [f"cpu-{isa}" for isa in _C.cpu.available_isas()]
EMULATED = [name for name in BACKENDS if name != "cpu"]


@pytest.fixture(params=CPU_ISAS + EMULATED)
def backend(request: pytest.FixtureRequest) -> Iterator[str]:
    """Send CPU tensors to each backend in turn and yield its name."""
    kind, _, isa = request.param.partition("-")
    before = _C.cpu.current_isa()
    if isa:
        _C.cpu.set_isa(isa)
    with running_on(kind, zlib.crc32(request.node.nodeid.encode())):
        yield request.param
    _C.cpu.set_isa(before)


@pytest.fixture(params=CPU_ISAS)
def cpu_isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run the CPU kernels with each instruction set in turn and yield its name."""
    before = _C.cpu.current_isa()
    _C.cpu.set_isa(request.param.removeprefix("cpu-"))
    yield request.param
    _C.cpu.set_isa(before)


@pytest.fixture
def threads() -> Iterator[None]:
    """Restore torch's number of threads after the test."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
