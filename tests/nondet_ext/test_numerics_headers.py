"""Test functions of csrc/numerics on inputs that random draws rarely reach; they are compiled alone
and called through ctypes.
"""

import ctypes
import os
import shutil
import subprocess
from fractions import Fraction
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

CSRC = Path(__file__).resolve().parents[2] / "csrc"

SOURCE = """
#include "cpu/isa/philox.cpp"
extern "C" {
double quantile(double p) { return nondet::normal_quantile(p); }
void normals(const unsigned* words, double* z, long n) { nondet::cpu::generic::normals(words, z, n);
} double logarithm(double x) { return nondet::logarithm(x); } unsigned long long high(unsigned long
long a, unsigned long long b) { return nondet::multiply_high(a, b); } unsigned round_float32(double
x) { return nondet::round_to<nondet::Float32>(x); } unsigned round_float16(double x) { return
nondet::round_to<nondet::Float16>(x); } unsigned round_bfloat16(double x) { return
nondet::round_to<nondet::BFloat16>(x); } }
"""


@pytest.fixture(scope="module")
def numerics(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    folder = tmp_path_factory.mktemp("numerics")
    (folder / "probe.cpp").write_text(SOURCE)
    compiler = os.environ.get("CXX") or shutil.which("c++") or "g++"
    flags = [
        "-std=c++20",
        "-O3",
        "-DNONDET_ISA=generic",
        "-ffp-contract=off",
        "-shared",
        "-fPIC",
        f"-I{CSRC}",
    ]
    subprocess.run([compiler, *flags, "probe.cpp", "-o", "probe.so"], cwd=folder, check=True)
    library = ctypes.CDLL(str(folder / "probe.so"))
    for name in ("quantile", "logarithm"):
        getattr(library, name).restype = ctypes.c_double
        getattr(library, name).argtypes = [ctypes.c_double]
    library.normals.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_long]
    library.normals.restype = None
    library.high.restype = ctypes.c_ulonglong
    library.high.argtypes = [ctypes.c_ulonglong] * 2
    for name in ("round_float32", "round_float16", "round_bfloat16"):
        getattr(library, name).restype = ctypes.c_uint
        getattr(library, name).argtypes = [ctypes.c_double]
    return library


def test_quantile_over_the_whole_range_of_the_draws(numerics):
    rng = np.random.default_rng(1)
    smallest = 2.0**-53
    p = np.concatenate(
        [
            2.0 ** -rng.uniform(1, 53, 3000),
            rng.uniform(0, 1, 3000),
            smallest * np.arange(1, 200, 2),
            [0.075, 0.925, np.exp(-25.0), 0.5 - smallest, 0.5, 0.5 + smallest],
        ]
    )
    p = np.concatenate([p, 1 - p[p > smallest]])
    p = p[(p > 0) & (p < 1)]
    got = np.array([numerics.quantile(each) for each in p])
    np.testing.assert_allclose(got, special.ndtri(p), rtol=4e-15, atol=2e-16)
    extreme = numerics.quantile(smallest)
    assert 8.2 < -extreme < 8.3
    assert numerics.quantile(1 - smallest) == -extreme


def test_vectorised_normals_meet_every_branch(numerics):
    # A draw reaches the far tail once in 4e10, so its words are given here, between ordinary ones.
    top_bits = [0, 1, 2**52 - 1, 2**52 - 2, 2**51, 2**51 - 1, 2**40, 3 * 2**50, 2**20, 77]
    pairs = np.array([top << 12 | 0xABC for top in top_bits * 12], dtype=np.uint64)
    z = np.empty(len(pairs))
    words = pairs.astype("<u8").view(np.uint32)
    numerics.normals(
        words.ctypes.data_as(ctypes.c_void_p), z.ctypes.data_as(ctypes.c_void_p), len(pairs)
    )
    expected = [numerics.quantile((2 * top + 1) / 2**53) for top in top_bits * 12]
    assert z.tolist() == expected
    assert abs(z[0]) > 8
    np.testing.assert_allclose(z[:10], special.ndtri((2 * np.array(top_bits) + 1) / 2**53), 4e-15)


def test_logarithm_within_two_ulp(numerics):
    rng = np.random.default_rng(2)
    x = np.concatenate(
        [2.0 ** rng.uniform(-60, 60, 4000), 1 + rng.uniform(-1e-3, 1e-3, 2000), [1.0]]
    )
    exact = np.log(x.astype(np.longdouble))
    got = np.array([numerics.logarithm(each) for each in x])
    error = np.abs(got - exact) / np.spacing(np.abs(exact.astype(np.float64)))
    assert error.max() <= 2


@given(a=st.integers(0, 2**64 - 1), b=st.integers(0, 2**64 - 1))
def test_multiply_high(numerics, a, b):
    assert numerics.high(a, b) == a * b >> 64


NARROW = {
    "round_float32": (np.float32, np.uint32),
    "round_float16": (np.float16, np.uint16),
    "round_bfloat16": (ml_dtypes.bfloat16, np.uint16),
}


def nearest_even(value: float, dtype: type, uint: type) -> int:
    """Return the bits of the value of `dtype` nearest to `value`, ties to even, from exact
    distances to both neighbours.
    """
    sign = 1 << (8 * np.dtype(uint).itemsize - 1) if np.signbit(value) else 0
    infinity = int(np.array(np.inf, dtype=dtype).view(uint))

    def number(bits: int) -> Fraction:
        if bits == infinity:  # for rounding, infinity stands for the next power of two
            return 2 * number(bits - 1) - number(bits - 2)
        return Fraction(float(np.array(bits, dtype=uint).view(dtype)))

    size = Fraction(abs(value))
    low, high = 0, infinity
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if number(middle) <= size else (low, middle)
    below, above = size - number(low), number(high) - size
    return sign | (high if above < below or (above == below and high % 2 == 0) else low)


@pytest.mark.parametrize("name", list(NARROW))
@given(value=st.floats(allow_nan=False, allow_infinity=False), scale=st.integers(-160, 160))
def test_rounding_is_to_nearest_even(numerics, name, value, scale):
    dtype, uint = NARROW[name]
    for x in (value, float(np.ldexp(np.float64(value % 8), scale))):
        assert getattr(numerics, name)(x) == nearest_even(x, dtype, uint)


@pytest.mark.parametrize("name", list(NARROW))
def test_rounding_at_ties_and_edges(numerics, name):
    dtype, uint = NARROW[name]
    info = ml_dtypes.finfo(dtype)
    tiny, largest = float(info.smallest_subnormal), float(info.max)
    step = largest - float(np.nextafter(np.array(largest, dtype), np.array(0, dtype)))
    edges = [0.0, tiny / 2, tiny * 0.75, tiny * 1.5, tiny * 2.5, float(info.tiny) - tiny / 2]
    edges += [1 + float(info.eps) / 2, 1 + 1.5 * float(info.eps), largest + step / 2]
    edges += [float(np.nextafter(largest + step / 2, 0)), 1e300, 5e-324]
    for x in [*edges, *(-each for each in edges)]:
        assert getattr(numerics, name)(x) == nearest_even(x, dtype, uint), x
