"""Test that every kernel gives the bits in op_digests.json whatever the caller's floating-point
mode is: its direction of rounding, and whether subnormals count as zero.

What Python and torch compute around the kernels runs in the caller's mode: gradients, the quotients
of counts and correlations, differences, similarities, gates of networks. They are left out.
"""

import ctypes
import ctypes.util
import platform
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from digests.cases import digest
from digests.ops import FAMILIES
from digests.test_op_digests import EXPECTED
from digests.test_op_digests import cpu_isa as cpu_isa

MODES = {"up": 0x800, "down": 0x400, "toward zero": 0xC00, "flush": None}
"""Names of modes -> the argument of fesetround on x86-64."""

KERNELS = ("sums", "dots", "scatters", "neighbors", "flips", "randoms", "fingerprints", "ranks")

AROUND = ("spearman_files", "random_flip")
"""Their kernels' results are right in every mode; quotients and differences are torch's."""

pytestmark = [
    pytest.mark.skipif(platform.machine() != "x86_64", reason="the modes are of x86-64"),
    pytest.mark.filterwarnings("ignore"),
]


@contextmanager
def float_mode(name: str) -> Iterator[None]:
    """Compute in a floating-point mode within the context, in this thread."""
    library = ctypes.CDLL(ctypes.util.find_library("m"))
    rounding = MODES[name]
    try:
        if rounding is None:
            assert torch.set_flush_denormal(True)
        else:
            assert library.fesetround(rounding) == 0
        yield
    finally:
        torch.set_flush_denormal(False)
        library.fesetround(0)


@pytest.mark.usefixtures("cpu_isa")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("family", KERNELS)
def test_modes_change_no_bit(family, mode, threads):
    expected = EXPECTED[family]
    changed = []
    count = 0
    for name, compute in FAMILIES[family]():
        if "grad" in name or name not in expected or name.split("/")[0] in AROUND:
            continue
        with float_mode(mode):
            result = compute()
        count += 1
        if digest(result) != expected[name]:
            changed.append(name)
    assert count
    assert not changed


@pytest.fixture(params=[1, 3], ids=["one-thread", "three-threads"])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)
