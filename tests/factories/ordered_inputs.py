"""Inputs and helpers for the tests of nondet_ext.ordered."""

from collections.abc import Callable

import torch

from nondet_ext import scatter

F = torch.nn.functional
ORDERS = [{"order": "fixed"}, {"order": "exact"}, {"order": "seeded", "seed": 7}]


def mixed(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Return random numbers of many magnitudes, whose sum has other bits in nearly every order."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(shape, generator=generator)
    exponents = torch.randint(-6, 7, shape, generator=generator)
    return torch.ldexp(values, exponents).to(dtype)


def integers(high: int, *shape: int) -> torch.Tensor:
    return torch.randint(0, high, shape, generator=torch.Generator().manual_seed(5))


def assert_bits(got: torch.Tensor, wanted: torch.Tensor) -> None:
    assert got.dtype == wanted.dtype
    assert got.shape == wanted.shape
    got, wanted = (torch.view_as_real(x) if x.is_complex() else x for x in (got, wanted))
    as_integers = {8: torch.int64, 4: torch.int32, 2: torch.int16}[got.itemsize]
    assert torch.equal(
        got.detach().contiguous().view(as_integers), wanted.detach().contiguous().view(as_integers)
    )


def gradient(
    function: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, upstream: torch.Tensor
) -> torch.Tensor:
    x = x.detach().clone().requires_grad_()
    (result,) = torch.autograd.grad(function(x), x, upstream)
    return result


X = mixed(5, 3000, 2)
ROWS = mixed(3000, 6)
INDEX = integers(20, 3000)
TABLE = mixed(20, 6, seed=1)
ELEMENTS = integers(20, 3000, 6)
PAIR = (integers(5, 700, 1), integers(4, 1, 3))
CUBE = mixed(5, 4, 8, seed=2)
IMAGES = mixed(6, 4, 9, 9, seed=3)
SCORES = mixed(5, 3000, seed=4) / 64


def rows_added(table: torch.Tensor, index: torch.Tensor, rows: torch.Tensor, **order: object):
    return scatter.index_add(table, 0, index, rows, **order)


def after(calls: int, order: str, seed: object = None) -> dict[str, object]:
    """Return the order of the sum that follows `calls` other sums in a scope."""
    if order != "seeded":
        return {"order": order}
    first = seed[0] if isinstance(seed, tuple) else seed
    return {"order": order, "seed": (first, calls)}
