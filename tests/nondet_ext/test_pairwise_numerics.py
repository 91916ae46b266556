"""Compare csrc/numerics/exponential.h and pairwise.h, compiled alone, with Python's decimal
numbers.
"""

import ctypes
import math
import os
import shutil
import subprocess
from decimal import Decimal, localcontext
from pathlib import Path

import numpy as np
import pytest

CSRC = Path(__file__).resolve().parents[2] / "csrc"
SOURCE = """
#include "numerics/pairwise.h"
using namespace nondet;
extern "C" double exponential_of(double x) { return exponential(x); }
extern "C" double logarithm_of_product(const double* x, long n) {
  ScaledProduct product{1.0, 0};
  for (long i = 0; i < n; ++i) multiply_by(product, x[i]);
  return product_logarithm(product.mantissa, product.exponent, n);
}
"""


@pytest.fixture(scope="module")
def numerics(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    folder = tmp_path_factory.mktemp("pairwise")
    (folder / "probe.cpp").write_text(SOURCE)
    compiler = os.environ.get("CXX") or shutil.which("c++") or "g++"
    flags = ["-std=c++20", "-O2", "-ffp-contract=off", "-shared", "-fPIC", f"-I{CSRC}"]
    subprocess.run([compiler, *flags, "probe.cpp", "-o", "probe.so"], cwd=folder, check=True)
    library = ctypes.CDLL(str(folder / "probe.so"))
    library.exponential_of.restype = library.logarithm_of_product.restype = ctypes.c_double
    library.exponential_of.argtypes = [ctypes.c_double]
    library.logarithm_of_product.argtypes = [ctypes.c_void_p, ctypes.c_long]
    return library


def test_exponential_within_an_ulp(numerics):
    rng = np.random.default_rng(1)
    halves = (np.arange(1, 2150) / 2) * math.log(2)  # where argument reduction changes its integer
    x = np.concatenate(
        [
            -rng.uniform(0, 745.2, 2000),
            -rng.uniform(0, 2, 1000),
            -rng.uniform(708, 745.2, 1000),
            -(10.0 ** rng.uniform(-20, 0, 500)),
            -halves,
            np.nextafter(-halves, 0),
            [-0.0, 0.0, -5e-324, -745.1332191019411, -745.1332191019412, -745.1332191019413],
        ]
    )
    worst = 0.0
    with localcontext() as context:
        context.prec = 60
        context.Emin = -10_000
        for each in x.tolist():
            exact = Decimal(each).exp()
            got = numerics.exponential_of(each)
            worst = max(worst, float(abs(Decimal(got) - exact) / Decimal(math.ulp(float(exact)))))
    assert worst < 1


def test_exponential_of_what_underflows_is_zero(numerics):
    for x in (-745.14, -746.0, -747.0, -1e4, -1e300, -math.inf):
        assert numerics.exponential_of(x) == 0
    assert numerics.exponential_of(0.0) == numerics.exponential_of(-0.0) == 1


def test_logarithm_of_a_product_that_overflows(numerics):
    rng = np.random.default_rng(2)
    for low, high in [(-900, 0), (0, 16), (-900, 16), (-1, 1), (-1e-3, 1e-3)]:
        x = 2.0 ** rng.uniform(low, high, 1024)
        exact = np.log(x.astype(np.longdouble)).sum()
        got = numerics.logarithm_of_product(x.ctypes.data, 1024)
        # One rounding per factor, and a few of the logarithm.
        assert abs(got - exact) <= 2.0**-53 * (1024 + 4 * abs(exact))
