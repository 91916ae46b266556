"""Digests of sums in a chosen order, with and without indices."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch

import nondet_ext
from nondet.checking.digests.cases import KEYS, Case, any_nan, gradients
from nondet.checking.digests.inputs import (
    FLOATS,
    floats,
    integers,
    made_once,
    specials,
    strided,
    tensor,
    without_nan,
)


def sums() -> Iterator[Case]:
    """Yield sums and means over all and some dimensions, and accumulated partial results."""
    for dtype in FLOATS:
        inputs = _inputs(dtype)
        for name, order in KEYS.items():
            for op in (nondet_ext.sum, nondet_ext.mean):
                for kind, (x, dim, keepdim) in inputs.items():
                    compute = partial(_reduced, op, x, dim, keepdim, order)
                    yield f"{op.__name__}/{dtype}/{name}/{kind}", compute
                x = inputs["middle"][0]
                yield f"{op.__name__}/{dtype}/{name}/out", partial(_written, op, x, order)
                function = partial(op, dim=(0, 2), **order)
                yield f"{op.__name__}/{dtype}/{name}/gradient", partial(_gradient, function, [x])
            partials = floats(dtype, 9, 5, 7, seed=21)
            yield from _named(
                f"accumulate/{dtype}/{name}",
                {
                    "contiguous": partial(nondet_ext.accumulate, partials, **order),
                    "strided": partial(nondet_ext.accumulate, strided(partials), **order),
                    "sequence": partial(nondet_ext.accumulate, list(partials), **order),
                    "many": partial(
                        nondet_ext.accumulate, floats(dtype, 2051, 3, seed=22), **order
                    ),
                    "one": partial(nondet_ext.accumulate, partials[:1], **order),
                    "none": partial(nondet_ext.accumulate, partials[:0], **order),
                    "gradient": partial(
                        _gradient, partial(nondet_ext.accumulate, **order), [partials]
                    ),
                },
            )


def dots() -> Iterator[Case]:
    """Yield inner products of vectors, and sums of segments of rows."""
    for dtype in FLOATS:
        a, b = floats(dtype, 2, 4099, seed=31)
        gaps = strided(floats(dtype, 1025, 2, seed=32))
        special = without_nan(specials(dtype))
        for name, order in KEYS.items():
            dot = partial(nondet_ext.dot, **order)
            yield from _named(
                f"dot/{dtype}/{name}",
                {
                    "contiguous": partial(dot, a, b),
                    "strided": partial(dot, gaps[:, 0], gaps[:, 1]),
                    "one": partial(dot, a[:1], b[:1]),
                    "empty": partial(dot, a[:0], b[:0]),
                    # Products too small or too large for the dtype, which cancel in some pairs.
                    "subnormal": partial(dot, special[1:6], special[1:6]),
                    "overflow": partial(_any_nan, dot, special[9:12], special[9:12]),
                    "infinity": partial(_any_nan, dot, special[7:13], special[7:13]),
                    "infinities": partial(_any_nan, dot, special, special.flip(0)),
                    "gradient": partial(_gradient, dot, [a, b]),
                },
            )
            yield from _named(f"segment_sum/{dtype}/{name}", _segments(dtype, order))


def scatters() -> Iterator[Case]:
    """Yield sums at indices, of rows, elements and weights, also in place."""
    for dtype in FLOATS:
        for name, order in KEYS.items():
            for op, adds in _rows_added(dtype).items():
                for kind, arguments in adds.items():
                    yield (
                        f"{op}/{dtype}/{name}/{kind}",
                        partial(_added, getattr(nondet_ext, op), arguments, order),
                    )
            for op, kind in (("index_add", "rows"), ("scatter_add", "elements")):
                input, dim, index, source = _rows_added(dtype)[op][kind]
                function = partial(_differentiable, getattr(nondet_ext, op), dim, index, order)
                yield (
                    f"{op}/{dtype}/{name}/gradient",
                    partial(_gradient, function, [input, source]),
                )
            yield from _named(f"bincount/{dtype}/{name}", _bins(dtype, order))


@made_once
def _inputs(dtype: str) -> dict[str, tuple[torch.Tensor, Any, bool]]:
    """Return the inputs of sums by name, each with the dimensions to reduce and whether to keep
    them.
    """
    middle = floats(dtype, 3, 50, 5, seed=11)
    special = specials(dtype)
    n = len(special)
    first, second = tensor(range(n)), (tensor(range(n)) * 5 + 3) % n
    pairs = torch.stack([special[first], special[second], special[(first + 7) % n]])
    return {
        "rows": (floats(dtype, 5, 1000, seed=12), 1, False),
        "columns": (floats(dtype, 1300, 7, seed=13), 0, False),
        "middle": (middle, (0, 2), True),
        "strided": (strided(floats(dtype, 70, 45, seed=14)), 0, False),
        "all": (strided(floats(dtype, 70, 45, seed=14)), None, False),
        # Slightly more than two tiles of 1,024, and three levels of tiles.
        "tiles": (floats(dtype, 2049, seed=15), None, False),
        "levels": (_long(dtype), None, False),
        "0-d": (floats(dtype, seed=16), None, False),
        "one": (floats(dtype, 4, 1, seed=17), 1, False),
        "empty": (floats(dtype, 0, seed=18), None, False),
        "empty-rows": (floats(dtype, 3, 0, seed=18), 1, False),
        "no-rows": (floats(dtype, 0, 3, seed=18), 1, False),
        "specials": (pairs, 0, False),
        "subnormal": (special[[1, 2, 3, 17, 18]], None, False),
        "negative-zeros": (special[[16, 16]], None, False),
    }


@made_once
def _long(dtype: str) -> torch.Tensor:
    return floats(dtype, 2**20 + 1027, seed=19, scale=-4)


def _reduced(
    op: Callable[..., Any], x: torch.Tensor, dim: Any, keepdim: bool, order: dict[str, Any]
) -> Any:
    return any_nan(op(x, dim, keepdim, **order))


def _any_nan(op: Callable[..., Any], *arguments: torch.Tensor) -> Any:
    return any_nan(op(*arguments))


def _written(op: Callable[..., Any], x: torch.Tensor, order: dict[str, Any]) -> torch.Tensor:
    out = x.new_zeros(x.shape[1])
    op(x, (0, 2), out=out, **order)
    return out


def _gradient(function: Callable[..., Any], inputs: list[torch.Tensor]) -> Any:
    return gradients(function, inputs, _upstream)


def _upstream(result: torch.Tensor) -> torch.Tensor:
    name = str(result.dtype).removeprefix("torch.")
    return floats(name, *result.shape, seed=99)


def _segments(dtype: str, order: dict[str, Any]) -> dict[str, Callable[[], Any]]:
    x = floats(dtype, 3000, 3, seed=33)
    offsets = tensor([0, 0, 1, 5, 5, 1030, 1031, 2999])
    add: Callable[..., Any] = partial(nondet_ext.segment_sum, **order)
    return {
        "columns": partial(add, x, offsets),
        "int32": partial(add, x, offsets.to(torch.int32)),
        "strided": partial(add, strided(x), offsets),
        "1-d": partial(add, floats(dtype, 5000, seed=34), tensor([3, 4999])),
        "3-d": partial(add, floats(dtype, 40, 3, 5, seed=35), tensor([0, 17, 40])),
        "no-segments": partial(add, x, tensor([0])),
        "no-columns": partial(add, x[:, :0], offsets),
        "gradient": partial(_gradient, lambda x: add(x, offsets), [x]),
    }


@made_once
def _rows_added(dtype: str) -> dict[str, dict[str, tuple[Any, ...]]]:
    """Return arguments by op and name of the input, for every op that adds at indices."""
    table = floats(dtype, 23, 6, seed=41)
    rows = floats(dtype, 3000, 6, seed=42)
    index = integers(0, 20, 3000, seed=43)  # the last three rows get no source
    cube = floats(dtype, 4, 17, 5, seed=44)
    middle = floats(dtype, 4, 900, 5, seed=45)
    at_middle = integers(0, 17, 900, seed=46)
    special = specials(dtype)
    into = torch.stack([special, special.roll(5), special.roll(11)])
    from_special = torch.stack([special.roll(3), special.roll(9)])
    zero, one = tensor(0), tensor(1)
    vector = floats(dtype, 5000, seed=47)
    index_add = {
        "rows": (table, 0, index, rows),
        "int32": (table, 0, index.to(torch.int32), rows),
        "strided": (strided(table), -2, index, strided(rows)),
        "middle": (cube, 1, at_middle, middle),
        "1-d": (vector[:37], 0, integers(0, 37, 5000, seed=48), vector),
        "one-target": (vector[:1], 0, tensor([0] * 5000), vector),
        "0-d": (vector[0], 0, zero, vector[1]),
        "0-d-index": (table, 0, one, rows[:1]),
        "empty": (table, 0, index[:0], rows[:0]),
        "specials": (into, 0, tensor([0, 1]), from_special),
    }
    elements = integers(0, 23, 800, 4, seed=49)
    scatter_add = {
        "elements": (table, 0, elements, rows),
        "int32": (table, 0, elements.to(torch.int32), rows),
        "strided": (strided(table), 0, strided(elements), strided(rows)),
        "middle": (cube, 1, integers(0, 17, 4, 900, 5, seed=50), middle),
        "last": (table, 1, integers(0, 6, 23, 40, seed=51), floats(dtype, 23, 41, seed=52)),
        "1-d": (vector[:37], 0, integers(0, 37, 4999, seed=48), vector),
        "0-d": (vector[0], 0, zero, vector[1]),
        "empty": (table, 0, elements[:0], rows[:0]),
        "specials": (into, 0, tensor([[0] * 32, [1] * 32]), from_special),
    }
    return {
        "index_add": index_add,
        "index_add_": index_add,
        "scatter_add": scatter_add,
        "scatter_add_": scatter_add,
    }


def _added(op: Callable[..., Any], arguments: tuple[Any, ...], order: dict[str, Any]) -> Any:
    input, *others = arguments
    if op.__name__.endswith("_"):
        # clone() keeps strides only of dense tensors.
        base = strided(input) if input.dim() > 1 and not input.is_contiguous() else input.clone()
        input = base
    return any_nan(op(input, *others, **order))


def _differentiable(
    op: Callable[..., Any],
    dim: int,
    index: torch.Tensor,
    order: dict[str, Any],
    input: torch.Tensor,
    source: torch.Tensor,
) -> Any:
    return op(input, dim, index, source, **order)


def _bins(dtype: str, order: dict[str, Any]) -> dict[str, Callable[[], Any]]:
    weights = floats(dtype, 3000, seed=61)
    index = integers(0, 40, 3000, seed=62)
    count: Callable[..., Any] = partial(nondet_ext.bincount, **order)
    return {
        "int64": partial(count, index, weights),
        "int32": partial(count, index.to(torch.int32), weights),
        "uint8": partial(count, index.to(torch.uint8), weights),
        "minlength": partial(count, index, weights, 57),
        "strided": partial(count, index[::2], weights[::2]),
        "empty": partial(count, index[:0], weights[:0]),
        "gradient": partial(_gradient, lambda weights: count(index, weights), [weights]),
    }


def _named(prefix: str, cases: dict[str, Callable[[], Any]]) -> Iterator[Case]:
    for kind, compute in cases.items():
        yield f"{prefix}/{kind}", compute
