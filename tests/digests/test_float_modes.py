"""Test that every kernel, and every function whose bits are promised, gives the bits in
op_digests.json whatever the caller's floating-point mode is: its direction of rounding, and whether
subnormals count as zero as results, as operands, or both.

Other functions of torch run in the caller's mode: gradients, differences, gates of networks. They
are left out.
"""

import ctypes
import ctypes.util
import platform
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from typing import Any

import pytest
import torch

from digests.test_op_digests import changed_within
from nondet.checking.digests.ops import FAMILIES
from nondet_ext import _direct
from nondet_ext._native import _C
from references.long_calls import kernels

MODES = {
    "down": 0x2000,
    "up": 0x4000,
    "toward zero": 0x6000,
    "flush": 0x8000,
    "subnormals are zero": 0x0040,
    "both": 0x8040,
    "up and both": 0xC040,
}
"""Names of modes -> bits of MXCSR, the control word of SSE and AVX."""

PROMISED = (
    "sums", "dots", "scatters", "neighbors", "flips", "randoms", "fingerprints", "ranks",
    "correlations", "predictions", "similarities", "recurrences",
)  # fmt: skip

AROUND = ("random_flip", "qrnn")
"""Their kernels' results are right in every mode; differences and gates are torch's."""

pytestmark = [
    pytest.mark.skipif(platform.machine() != "x86_64", reason="the modes are of x86-64"),
    pytest.mark.filterwarnings("ignore"),
]


@contextmanager
def float_mode(name: str) -> Iterator[None]:
    """Compute in a floating-point mode within the context, in this thread."""
    library = ctypes.CDLL(ctypes.util.find_library("m"))
    before, changed = ctypes.create_string_buffer(32), ctypes.create_string_buffer(32)
    assert library.fegetenv(before) == 0
    # The environment ends with MXCSR, after that of x87.
    (control,) = struct.unpack_from("<I", before, 28)
    changed.raw = before.raw
    struct.pack_into("<I", changed, 28, control | MODES[name])
    try:
        assert library.fesetenv(changed) == 0
        yield
    finally:
        library.fesetenv(before)


def test_the_modes_are_set():
    x = torch.tensor([1e-40, 1.0, 3.0])
    with float_mode("down"):
        down = float(x[1] / x[2])
    assert down < float(x[1] / x[2])
    with float_mode("subnormals are zero"):
        assert float(x[0] * 2**20) == 0
    assert float(x[0] * 2**20) > 0


def _configurations() -> Iterator[Any]:
    """Yield (instruction set, threads, mode): three threads and one mode in every instruction set;
    all combinations where slow tests run.
    """
    isas = _C.cpu.available_isas()
    for isa, threads, mode in product(isas, (1, 3), MODES):
        quick = threads == 3 and mode == "up and both"
        yield pytest.param(isa, threads, mode, marks=() if quick else pytest.mark.slow)


@pytest.fixture
def restored() -> Iterator[None]:
    """Restore the instruction set and the number of threads after the test."""
    before = _C.cpu.current_isa(), torch.get_num_threads()
    yield
    _C.cpu.set_isa(before[0])
    torch.set_num_threads(before[1])


@pytest.mark.parametrize(("isa", "threads", "mode"), list(_configurations()))
@pytest.mark.parametrize("family", PROMISED)
@pytest.mark.usefixtures("restored")
def test_modes_change_no_bit(family, isa, threads, mode):
    _C.cpu.set_isa(isa)
    torch.set_num_threads(threads)
    assert not changed_within(
        family,
        lambda: float_mode(mode),
        lambda name: "grad" not in name and name.split("/")[0] not in AROUND,
    )


def test_every_kernel_is_called(monkeypatch):
    """The families above call every function of the CPU that computes something."""
    called = set()
    for name in kernels():
        direct, short = name.startswith("direct."), name.removeprefix("direct.")
        ways = [_direct, _C.direct] if direct else [_C.cpu]
        module = next(each for each in ways if hasattr(each, short))
        kernel = getattr(module, short)

        def spy(*arguments, kernel=kernel, name=name, **named):
            called.add(name)
            return kernel(*arguments, **named)

        monkeypatch.setattr(module, short, spy)
    for family in PROMISED:
        for _, compute in FAMILIES[family]():
            compute()
    assert called == kernels()
