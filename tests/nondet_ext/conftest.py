"""Every kernel test runs on each CPU path and on the CUDA launchers under emulation, through one
fixture.
"""

import zlib
from collections.abc import Iterator

import pytest
import torch

from emulation.fixtures import BACKENDS, running_on
from nondet_ext._native import _C

CPU_PATHS = [f"cpu-{path}" for path in _C.cpu.available_paths()]
EMULATED = [name for name in BACKENDS if name != "cpu"]


@pytest.fixture(params=CPU_PATHS + EMULATED)
def backend(request: pytest.FixtureRequest) -> Iterator[str]:
    """The backend that CPU tensors go to while the test runs."""
    kind, _, path = request.param.partition("-")
    before = _C.cpu.current_path()
    if path:
        _C.cpu.set_path(path)
    with running_on(kind, zlib.crc32(request.node.nodeid.encode())):
        yield request.param
    _C.cpu.set_path(before)


@pytest.fixture(params=CPU_PATHS)
def cpu_path(request: pytest.FixtureRequest) -> Iterator[str]:
    """The CPU path while the test runs."""
    before = _C.cpu.current_path()
    _C.cpu.set_path(request.param.removeprefix("cpu-"))
    yield request.param
    _C.cpu.set_path(before)


@pytest.fixture
def threads() -> Iterator[None]:
    """Lets the test set torch's number of threads."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
