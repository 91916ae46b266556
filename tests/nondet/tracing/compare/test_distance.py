import math

import ml_dtypes
import numpy as np
import pytest

from nondet.tracing.compare.distance import measure
from nondet.tracing.compare.evidence import Distance
from nondet.tracing.records import Kept, TensorType


def kept(values, dtype: str = "float32", shape: tuple[int, ...] | None = None) -> Kept:
    """Return values that were kept; bfloat16 is a type of ml_dtypes."""
    array = np.asarray(values, getattr(ml_dtypes, dtype, None) or np.dtype(dtype.strip("_")))
    kind = TensorType(dtype, array.shape if shape is None else shape, "cpu")
    return Kept(3, 4, 0, kind, array.tobytes())


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_the_largest_distance_is_found_where_it_is(dtype):
    a = np.ones((2, 3))
    b = a.copy()
    spacing = {"float64": 52, "float32": 23, "float16": 10, "bfloat16": 7}[dtype]
    b[0, 1] += 2.0**-spacing
    b[1, 2] += 5 * 2.0**-spacing
    found = measure(kept(a, dtype), kept(b, dtype))
    assert found == Distance(2, 6, 5, (1, 2), (1.0, float(b[1, 2])))


def test_a_scalar():
    assert measure(kept(1.0), kept(2.0)) == Distance(1, 1, 2**23, (), (1.0, 2.0))


def test_equal_bits_have_no_distance():
    values = [math.nan, -0.0, math.inf]
    assert measure(kept(values), kept(values)) is None


def test_zeros_of_other_sign_differ_by_no_ulp():
    assert measure(kept([1.0, 0.0]), kept([1.0, -0.0])) == Distance(1, 2, 0, (1,), (0.0, -0.0))


def test_nan_and_infinity_have_no_distance_and_do_not_hide_one():
    a, b = [1.0, 1.0, 1.0], [math.nan, math.inf, 1.0]
    found = measure(kept(a), kept(b))
    assert (found.differing, found.ulp, found.where) == (2, None, (0,))
    b[2] = 2.0
    for found in (measure(kept(a), kept(b)), measure(kept(b), kept(a))):
        assert (found.differing, found.ulp, found.where) == (3, 2**23, (2,))


def test_integers_have_no_ulp():
    found = measure(kept([1, 2, 3], "int64"), kept([1, 5, 4], "int64"))
    assert found == Distance(2, 3, None, (1,), (2, 5))


def test_truth_values():
    found = measure(kept([True, False], "bool"), kept([True, True], "bool"))
    assert found == Distance(1, 2, None, (1,), (False, True))


@pytest.mark.parametrize(
    "broken",
    [
        kept([1.0], shape=(2,)),
        kept([1.0])._replace(type=TensorType("no_such_type", (1,), "cpu")),
        kept([1.0])._replace(type=TensorType("nn", (1,), "cpu")),
        kept([], shape=(0,)),
        kept([1.0], shape=(2**62, 2**62)),
    ],
)
def test_values_that_cannot_be_read_have_no_distance(broken):
    assert measure(broken, broken) is None
