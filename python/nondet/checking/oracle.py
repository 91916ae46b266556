"""Calls whose results `nondet_ext.reference` gives, which shares no code with the kernels."""

import importlib.util
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch

import nondet_ext
from nondet.checking.devices import CPU
from nondet.checking.digests.cases import ORDERS, Case, any_nan, digest
from nondet.checking.digests.inputs import FLOATS, floats, integers, place, placed_on
from nondet.checking.groups import Group
from nondet_ext import reference

SIZES = (1, 33, 1025, 2049)
FEW_SIZES = (33, 1025)

Pair = tuple[str, Callable[[], Any], Callable[[], Any]]
"""A call of an op, and of the function that gives its result."""


def oracle_group(sizes: tuple[int, ...]) -> Group:
    """Return sums of these numbers of elements and random words, with their results. Without the
    package ml_dtypes, NumPy has no bfloat16, and no sums of it are checked.
    """
    with placed_on(CPU):
        right = {name: answer for name, _, answer in _pairs(sizes)}
        expected = {name: digest(answer()) for name, answer in right.items()}

    def cases() -> Iterator[Case]:
        for name, compute, _ in _pairs(sizes):
            yield name, compute

    return Group("oracle", cases, expected, lambda name: right[name](), "nondet_ext.reference")


def _pairs(sizes: tuple[int, ...]) -> Iterator[Pair]:
    for n in sizes:
        for dtype in FLOATS:
            if dtype != "bfloat16" or importlib.util.find_spec("ml_dtypes"):
                yield from _sums(dtype, n)
        words = partial(nondet_ext.philox_bits, n, seed=3, stream=4, counter=(5,), device=place())
        yield f"philox_bits/uint32/n={n}", words, partial(_words, n)


def _sums(dtype: str, n: int) -> Iterator[Pair]:
    x, y = floats(dtype, n, seed=1), floats(dtype, n, seed=2)
    a, b = _array(x), _array(y)
    right: dict[str, tuple[Callable[[], Any], ...]] = {
        "fixed": (
            lambda: reference.fixed_sum(a),
            lambda: reference.fixed_mean(a),
            lambda: reference.fixed_dot(a, b),
        ),
        "exact": (
            lambda: reference.exact_sum(a),
            lambda: reference.exact_sum(a, n),
            lambda: reference.exact_dot(a, b),
        ),
        "seeded": (
            lambda: reference.seeded_sum(a, 7),
            lambda: reference.seeded_mean(a, 7),
            lambda: reference.seeded_dot(a, b, 7),
        ),
    }
    table, index = floats(dtype, 5, seed=3), integers(0, 4, n, seed=4)
    before, at = _array(table), index.cpu().numpy()
    for name, order in ORDERS.items():
        total, mean, product = right[name]
        end = f"{dtype}/{name}/n={n}"
        yield f"sum/{end}", partial(_any_nan, nondet_ext.sum, x, **order), _made(total)
        yield f"mean/{end}", partial(_any_nan, nondet_ext.mean, x, **order), _made(mean)
        yield f"dot/{end}", partial(_any_nan, nondet_ext.dot, x, y, **order), _made(product)
        add = partial(_any_nan, nondet_ext.index_add, table, 0, index, x, **order)
        yield (
            f"index_add/{end}",
            add,
            _made(partial(reference.index_add, before, at, a, name, 7)),
        )


def _any_nan(op: Callable[..., Any], *arguments: Any, **order: Any) -> Any:
    return any_nan(op(*arguments, **order))


def _array(x: torch.Tensor) -> np.ndarray[Any, np.dtype[Any]]:
    """Return a tensor as an array of the same format."""
    x = x.cpu()
    if x.dtype != torch.bfloat16:
        return x.numpy()
    import ml_dtypes

    return x.view(torch.int16).numpy().view(ml_dtypes.bfloat16)


def _made(answer: Callable[[], Any]) -> Callable[[], torch.Tensor]:
    """Return a function that gives an answer of the reference as a tensor."""

    def make() -> torch.Tensor:
        value = np.array(answer())
        brain = value.dtype.name == "bfloat16"
        made = torch.from_numpy(value.view(np.int16) if brain else value)
        result: torch.Tensor = any_nan(made.view(torch.bfloat16) if brain else made)
        return result

    return make


def _words(n: int) -> torch.Tensor:
    drawn = [
        word
        for block in range(-(-n // 4))
        for word in reference.philox4x32((block, 5, 0, 0), (3, 4))
    ]
    return torch.from_numpy(np.array(drawn[:n], np.uint32))
