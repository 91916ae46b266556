"""Calls of every op that has kernels at sizes around the edges of tiles, lanes and blocks, in
memory that is misaligned or has gaps, and of subnormal numbers, infinities and NaN.

Their bits are promised to be equal on every device, but not kept as digests: a reference computes
them anew.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch

import nondet_ext
from nondet.checking.digests.cases import ORDERS, Case, any_nan
from nondet.checking.digests.inputs import (
    FLOATS,
    any_bits,
    floats,
    integers,
    place,
    specials,
    strided,
    tensor,
)

SIZES = (1, 31, 32, 33, 1023, 1024, 1025, 2049, 4097)
"""Around the 32 lanes, one and more tiles of 1,024, and the 1,024 parts of seeded orders."""

FEW_SIZES = (33, 1025)
"""Those of a quick check."""

STRANGE_SIZES = (33, 1025)
"""Those of which there are also inputs with subnormal numbers, infinities and NaN."""

LAYOUTS = ("contiguous", "misaligned", "gaps")
VALUES = ("subnormal", "infinite", "nan")


def edges(sizes: tuple[int, ...], dtypes: tuple[str, ...] = tuple(FLOATS)) -> Iterator[Case]:
    """Yield the calls for these sizes and float dtypes."""
    for dtype in dtypes:
        for n in sizes:
            for kind in (*LAYOUTS, *(VALUES if n in STRANGE_SIZES else ())):
                for name, order in ORDERS.items():
                    for op, shape, compute in _sums(dtype, n, kind, order):
                        yield f"{op}/{dtype}/{name}/{shape} {kind}", compute
                for op, compute in _elements(dtype, n, kind):
                    yield f"{op}/{dtype}/n={n} {kind}", compute
            for op, compute in _comparisons(dtype, n):
                yield f"{op}/{dtype}/n={n}", compute
    for n in sizes:
        yield from _draws(n)
        yield from _predictions(n)


def laid_out(x: torch.Tensor, layout: str) -> torch.Tensor:
    """Return a copy of a tensor in memory that begins one element after an address that is a
    multiple of at least 16 bytes ("misaligned"), that has gaps ("gaps"), or that has neither.
    """
    if layout == "misaligned":
        view = x.new_empty(x.numel() + 1)[1:].view(x.shape)
        return view.copy_(x)
    if layout == "gaps":
        return strided(x) if x.dim() > 1 else x.new_zeros(2 * x.numel())[::2].copy_(x)
    return x.clone()


def values(dtype: str, kind: str, *shape: int, seed: int) -> torch.Tensor:
    """Return numbers in a layout, or subnormal numbers, or numbers with an infinity or NaN in
    their middle.
    """
    x = floats(dtype, *shape, seed=seed)
    flat = x.view(-1)
    if kind == "subnormal":
        special = specials(dtype)[[1, 2, 3, 17, 18]]
        return special[integers(0, 5, *shape, seed=seed)]
    if kind in ("infinite", "nan"):
        flat[len(flat) // 2] = torch.inf if kind == "infinite" else torch.nan
    return laid_out(x, kind)


Shaped = tuple[str, str, Callable[[], Any]]


def _sums(dtype: str, n: int, kind: str, order: dict[str, Any]) -> Iterator[Shaped]:
    """Yield the ops that take an order, each with the shape of its input."""
    make = partial(values, dtype, kind)
    vector, other = make(n, seed=1), make(n, seed=2)
    rows, columns = make(3, n, seed=3), make(n, 3, seed=4)
    offsets = tensor([0, n // 3, n // 3, n])
    table, index = floats(dtype, 7, 3, seed=5), integers(0, 6, n, seed=6)
    places = integers(0, 6, n, 3, seed=7)

    def call(op: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
        return lambda: any_nan(op(*arguments, **order))

    def add(op: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
        return lambda: any_nan(op(table.clone(), *arguments, **order))

    one, many = f"n={n}", f"n={n} by column"
    yield "sum", one, call(nondet_ext.sum, vector)
    yield "mean", one, call(nondet_ext.mean, vector)
    yield "dot", one, call(nondet_ext.dot, vector, other)
    yield "bincount", one, call(nondet_ext.bincount, index, vector)
    yield "sum", f"n={n} by row", call(nondet_ext.sum, rows, 1)
    yield "sum", many, call(nondet_ext.sum, columns, 0)
    yield "mean", many, call(nondet_ext.mean, columns, 0)
    yield "accumulate", many, call(nondet_ext.accumulate, columns)
    yield "segment_sum", many, call(nondet_ext.segment_sum, columns, offsets)
    yield "index_add", many, add(nondet_ext.index_add, 0, index, columns)
    yield "index_add_", many, add(nondet_ext.index_add_, 0, index, columns)
    yield "scatter_add", many, add(nondet_ext.scatter_add, 0, places, columns)
    yield "scatter_add_", many, add(nondet_ext.scatter_add_, 0, places, columns)


Named = tuple[str, Callable[[], Any]]


def _elements(dtype: str, n: int, kind: str) -> Iterator[Named]:
    """Yield the ops of single elements and of bits."""
    if kind in LAYOUTS:  # any bits are also infinities and NaN
        x, other = (laid_out(any_bits(dtype, n, seed=seed), kind) for seed in (8, 9))
    else:
        x, other = (values(dtype, kind, n, seed=seed) for seed in (8, 9))
    layout = kind if kind in LAYOUTS else "contiguous"
    idx = [0, -1, n // 2]
    yield "next_up", lambda: nondet_ext.next_up(x)
    yield "next_down", lambda: nondet_ext.next_down(x)
    yield "spacing", lambda: any_nan(nondet_ext.spacing(x))
    yield "ulp_distance", lambda: nondet_ext.ulp_distance(x, other, nan="propagate")
    yield "flip_ulp", lambda: nondet_ext.flip_ulp(laid_out(x, layout), idx, -1, 3)
    yield "flip_bit", lambda: nondet_ext.flip_bit(laid_out(x, layout), idx, 5)
    yield "random_flip", lambda: _flipped(laid_out(x, layout))
    yield "fingerprint", lambda: nondet_ext.fingerprint(x)
    yield "fingerprints", lambda: nondet_ext.fingerprints([x, other])
    yield "rankdata", lambda: nondet_ext.rankdata(x, nan_policy="propagate")
    if kind in (*LAYOUTS, "subnormal"):
        z, f, o = (values(dtype, kind, n, 3, seed=seed) for seed in (11, 12, 13))
        yield "forget_mult", lambda: any_nan(nondet_ext.forget_mult(z / 8, f / 8, o))


def _flipped(param: torch.Tensor) -> Any:
    record = nondet_ext.random_flip(param, 1, 2, min(5, param.numel()))
    return [param, record.indices, record.old_bits, record.new_bits]


def _comparisons(dtype: str, n: int) -> Iterator[Named]:
    """Yield correlations of rows, and the effect of averaging two models."""
    x = laid_out(floats(dtype, 4, max(n, 2), seed=14), "misaligned")
    yield "spearman", lambda: nondet_ext.spearman(x)
    yield "pearson", lambda: nondet_ext.pearson(x)
    logits, labels = floats(dtype, 3, n, 5, seed=15), integers(0, 5, n, seed=16)
    yield "ensemble_delta", lambda: nondet_ext.ensemble_delta(logits, labels)
    entropy = partial(nondet_ext.ensemble_delta, metric="cross_entropy")
    yield "ensemble_delta/cross_entropy", lambda: entropy(logits, labels)


def _draws(n: int) -> Iterator[Case]:
    """Yield random numbers, the elements from 5 on."""
    draw: dict[str, Any] = {"seed": 7, "stream": 8, "counter": (9,), "offset": 5}
    draw["device"] = place()
    yield f"philox_bits/uint32/n={n}", partial(nondet_ext.philox_bits, n, **draw)
    yield f"philox_randint/int64/n={n}", partial(nondet_ext.philox_randint, -3, 9, n, **draw)
    for dtype, (kind, *_) in FLOATS.items():
        for op in (nondet_ext.philox_uniform, nondet_ext.philox_normal):
            yield f"{op.__name__}/{dtype}/n={n}", partial(op, n, dtype=kind, **draw)
    draw.pop("offset")
    yield f"philox_permutation/int64/n={n}", partial(nondet_ext.philox_permutation, n, **draw)


def _predictions(n: int) -> Iterator[Case]:
    """Yield comparisons of the predictions of four models."""
    guesses = integers(0, 5, 4, n, seed=17)
    labels = integers(0, 5, n, seed=18)
    yield f"disagreement/int64/n={n}", partial(nondet_ext.disagreement, guesses)
    yield f"churn/int64/n={n}", partial(nondet_ext.churn, guesses, labels, 5)
    yield f"error_overlap/int64/n={n}", partial(nondet_ext.error_overlap, guesses, labels)
