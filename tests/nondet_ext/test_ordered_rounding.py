"""Test that elementwise operators which count as single operations of IEEE 754 inside of
nondet_ext.ordered are rounded once, and that square roots are. NumPy is the oracle; for square
roots also Python's integers.
"""

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

import nondet_ext
from nondet_ext._ordered.elementwise import _ONE_OPERATION
from nondet_ext._roots import square_root

SIZES = (1, 3, 63, 2049, 70_001)
DTYPES = (torch.float32, torch.float64)

ORACLES: dict[str, Callable[..., Any]] = {
    "abs": np.abs,
    "add": np.add,
    "ceil": np.ceil,
    "copysign": np.copysign,
    "div": np.divide,
    "floor": np.floor,
    "fmax": np.fmax,
    "fmin": np.fmin,
    "leaky_relu": lambda x: np.where(x > 0, x, x * x.dtype.type(0.01)),
    "mul": np.multiply,
    "neg": np.negative,
    "nextafter": np.nextafter,
    "positive": np.positive,
    "reciprocal": lambda x: 1 / x,
    "relu": lambda x: np.where(x > 0, x, x.dtype.type(0)),
    "round": np.rint,
    "sqrt": np.sqrt,
    "square": lambda x: x * x,
    "sub": np.subtract,
    "true_divide": np.divide,
    "trunc": np.trunc,
}
"""Operators that make new floats. Others select, compare or scale by a constant."""


def _values(size: int, dtype: torch.dtype, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    mantissa = torch.rand(size, dtype=dtype, generator=generator)
    return torch.ldexp(mantissa, torch.randint(-30, 30, (size,), generator=generator)).to(dtype)


def test_operators_named_here_are_those_of_the_scope():
    assert ORACLES.keys() - {"sqrt"} <= _ONE_OPERATION


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", ORACLES)
def test_operators_round_once(name, dtype, size):
    op = getattr(torch.ops.aten, name)
    takes_two = sum("Tensor" in str(a.type) for a in _overload(op)._schema.arguments) == 2
    values = [_values(size, dtype, seed) for seed in range(2 if takes_two else 1)]
    with nondet_ext.ordered("fixed") as scope:
        result = op(*values)
    assert not scope.uncovered
    assert np.array_equal(result.numpy(), ORACLES[name](*(x.numpy() for x in values)))


def _overload(op: Any) -> Any:
    return op.Tensor if "Tensor" in op.overloads() else op.default


SPECIAL = [0.0, -0.0, math.inf, -math.inf, math.nan, -1.0, 1e-45, 3e-39, 4.0, 2.0]


def _in_place(x):
    y = x.clone()
    assert y.sqrt_() is y
    return y


def _into(x):
    out = x.new_full(x.shape, 7)
    assert torch.sqrt(x, out=out) is out
    return out


def _into_gaps(x):
    out = x.new_full((*x.shape, 2), 7)
    torch.sqrt(x, out=out[..., 0])
    assert (out[..., 1] == 7).all()
    return out[..., 0]


def _foreach_in_place(x):
    y = x.clone()
    torch._foreach_sqrt_([y])
    return y


WAYS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "method": torch.Tensor.sqrt,
    "in place": _in_place,
    "out": _into,
    "out with gaps": _into_gaps,
    "list": lambda x: torch._foreach_sqrt([x, x.flip(0)])[0],
    "list in place": _foreach_in_place,
    "recorded": lambda x: x.clone().requires_grad_().sqrt().detach(),
    "every other": lambda x: torch.stack((x, x), 1)[:, 0].sqrt(),
    "transposed": lambda x: torch.stack((x, x)).T.sqrt()[:, 1],
    "expanded": lambda x: x.expand(3, *x.shape).sqrt()[2],
    "one by one": lambda x: torch.stack([each.sqrt() for each in x[:100]]),
    "lazily negated": lambda x: torch.complex(x, -x).conj().imag.sqrt(),
}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("way", WAYS)
def test_square_roots_are_rounded_once_in_every_way(way, dtype):
    x = torch.cat((_values(70_001, dtype, 5), torch.tensor(SPECIAL, dtype=dtype)))
    with nondet_ext.ordered("fixed"):
        found = WAYS[way](x)
    with np.errstate(invalid="ignore"):
        expected = np.sqrt(x.numpy()[: len(found)])
    assert np.array_equal(found.numpy(), expected, equal_nan=True)
    assert np.array_equal(np.signbit(found.numpy()[:-6]), np.signbit(expected[:-6]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int32, torch.complex64])
def test_other_square_roots_are_those_of_torch(dtype):
    x = (_values(3001, torch.float32, 6) + 1).to(dtype)
    with nondet_ext.ordered("fixed"):
        found = x.sqrt()
    assert found.dtype == torch.sqrt(x).dtype
    if dtype in (torch.float16, torch.bfloat16):
        assert np.array_equal(
            found.float().numpy(),
            torch.from_numpy(np.sqrt(x.float().numpy())).to(dtype).float().numpy(),
        )
    else:
        torch.testing.assert_close(found, torch.sqrt(x))


def test_numpy_rounds_to_the_nearest_number():
    """An oracle for the oracle: x is between the squares of the midpoints around the root."""
    x = _values(2000, torch.float64, 7)
    for value, root in zip(x.tolist(), square_root(x).tolist(), strict=True):
        below = Fraction(root) + Fraction(math.nextafter(root, 0))
        above = Fraction(root) + Fraction(math.nextafter(root, math.inf))
        assert below**2 < 4 * Fraction(value) < above**2


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (1,), (5, 7)])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_shapes_of_square_roots(shape, dtype):
    x = torch.full(shape, 2.0, dtype=dtype)
    with nondet_ext.ordered("exact"):
        found = x.sqrt()
    assert torch.equal(found, torch.full(shape, math.sqrt(2), dtype=torch.float64).to(dtype))


def test_norms_and_deviations_take_square_roots_that_are_rounded_once():
    """MKL's roots of some numbers are neighbours of the right ones."""
    x = torch.rand(3000, 6, generator=torch.Generator().manual_seed(8))
    with nondet_ext.ordered("fixed"):
        norms = torch.linalg.vector_norm(x, 2, 1)
        squares = nondet_ext.sum(x.square(), 1)
        deviations, variances = x.std(1), x.var(1)
    assert np.array_equal(norms.numpy(), np.sqrt(squares.numpy()))
    assert np.array_equal(deviations.numpy(), np.sqrt(variances.numpy()))


@pytest.mark.slow
def test_compiled_square_root():
    x = _values(1000, torch.float64, 9)
    compiled = torch.compile(lambda x: square_root(x), fullgraph=True, backend="aot_eager")
    assert np.array_equal(compiled(x).numpy(), np.sqrt(x.numpy()))
