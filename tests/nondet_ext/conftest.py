"""Every kernel test runs on each instruction set and on the CUDA launchers under emulation, through
one fixture.
"""

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
    """The backend that CPU tensors go to while the test runs."""
    kind, _, isa = request.param.partition("-")
    before = _C.cpu.current_isa()
    if isa:
        _C.cpu.set_isa(isa)
    with running_on(kind, zlib.crc32(request.node.nodeid.encode())):
        yield request.param
    _C.cpu.set_isa(before)


@pytest.fixture(params=CPU_ISAS)
def cpu_isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """The instruction set of the CPU kernels while the test runs."""
    before = _C.cpu.current_isa()
    _C.cpu.set_isa(request.param.removeprefix("cpu-"))
    yield request.param
    _C.cpu.set_isa(before)


@pytest.fixture
def threads() -> Iterator[None]:
    """Lets the test set torch's number of threads."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
