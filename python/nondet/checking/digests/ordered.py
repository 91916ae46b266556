"""Digests of torch's operators inside of `ordered`.

Apart from the sums of nondet_ext, the operators use only operations that IEEE 754 rounds in one
way: additions, products, quotients and square roots of single elements, and exponentials of zero.
Matrix products and other functions of torch are left out.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch.nn import functional as F

import nondet_ext
from nondet.checking.digests.cases import ORDERS, Case, gradients
from nondet.checking.digests.inputs import FLOATS, floats, integers, strided


def scopes() -> Iterator[Case]:
    """Yield reductions, scatters, normalisations and losses, forward and backward."""
    for dtype in FLOATS:
        operations = _operations(dtype)
        for name, order in ORDERS.items():
            for kind, compute in operations.items():
                yield f"ordered/{dtype}/{name}/{kind}", partial(_inside, order, compute)
    x = floats("float32", 40, 30, seed=1)
    decorator = nondet_ext.ordered("seeded", seed=(7, 3))
    yield "ordered/float32/seeded/decorator", lambda: decorator(_thrice)(x)


def _thrice(x: torch.Tensor) -> Any:
    """Return three sums, each of which takes a new order."""
    return [x.sum(), x.sum(), x.sum(0)]


def _inside(order: dict[str, Any], compute: Callable[[], Any]) -> Any:
    """Return the result and the counts of calls that were not covered."""
    with nondet_ext.ordered(**order) as scope:
        result = compute()
    return [result, *sorted(scope.uncovered.values())]


def _operations(dtype: str) -> dict[str, Callable[[], Any]]:
    x = floats(dtype, 5, 1300, 3, seed=2)
    gaps = strided(x)
    vector = floats(dtype, 2, 3001, seed=3)
    table, rows = floats(dtype, 20, 6, seed=4), floats(dtype, 3000, 6, seed=5)
    index = integers(0, 20, 3000, seed=6)
    elements = integers(0, 20, 3000, 6, seed=7)
    first, second = integers(0, 20, 700, seed=8), integers(0, 6, 700, seed=9)
    values = floats(dtype, 700, seed=10)
    images = floats(dtype, 6, 4, 9, 9, seed=11)
    scale, shift = floats(dtype, 4, seed=12), floats(dtype, 4, seed=13)
    holes = x.clone()
    holes[:, ::7] = torch.nan
    return {
        "sum": lambda: [x.sum(), x.sum(1), gaps.sum((0, 2), keepdim=True)],
        "mean": lambda: [x.mean(), gaps.mean(1)],
        "nansum": lambda: holes.nansum(1),
        "var": lambda: [x.var(), x.std(1), *torch.var_mean(gaps, (0, 1), correction=0)],
        "norm": lambda: [torch.linalg.vector_norm(x, 1), torch.linalg.vector_norm(x, 2, 1)],
        "trace": lambda: x[:, :5, 0].trace(),
        "dot": lambda: vector[0].dot(vector[1]),
        "thrice": lambda: _thrice(x),
        "index_add": lambda: table.index_add(0, index, rows),
        "index_add_": lambda: table.clone().index_add_(0, index, rows, alpha=0.5),
        "scatter_add": lambda: table.scatter_add(0, elements, rows),
        "scatter_add_": lambda: table.clone().scatter_add_(0, elements, rows),
        "scatter_reduce": lambda: table.scatter_reduce(0, elements, rows, "sum"),
        "index_put": lambda: table.index_put((first, second), values, accumulate=True),
        "index_put_": lambda: table.clone().index_put_((index,), rows, accumulate=True),
        "put": lambda: table.put(first * 6 + second, values, accumulate=True),
        "bincount": lambda: index.bincount(rows[:, 0], minlength=25),
        "indexing-backward": lambda: _gradient(lambda table: table[index], [table]),
        "gather-backward": lambda: _gradient(lambda table: table.gather(0, elements), [table]),
        "embedding-backward": lambda: _gradient(
            lambda table: F.embedding(index, table, padding_idx=3), [table]
        ),
        "broadcasting-backward": lambda: _gradient(
            lambda rows, row: rows * row, [rows, table[0].clone()]
        ),
        "softmax-of-equals": lambda: torch.full_like(x, 1.5).softmax(1),
        "mse": lambda: _both(F.mse_loss, [vector[0], vector[1]]),
        "l1": lambda: _both(F.l1_loss, [vector[0], vector[1]]),
        "smooth-l1": lambda: _both(F.smooth_l1_loss, [vector[0], vector[1]]),
        "layer_norm": lambda: _both(
            lambda rows, a, b: F.layer_norm(rows, (6,), a, b),
            [rows[:200], table[0].clone(), table[1].clone()],
        ),
        "batch_norm": lambda: _both(
            lambda x, a, b: F.batch_norm(x, None, None, a, b, training=True), [images, scale, shift]
        ),
        "group_norm": lambda: F.group_norm(images, 2, scale, shift),
    }


def _both(function: Callable[..., torch.Tensor], inputs: list[torch.Tensor]) -> Any:
    return [function(*inputs), *_gradient(function, inputs)]


def _gradient(function: Callable[..., torch.Tensor], inputs: list[torch.Tensor]) -> Any:
    return gradients(function, inputs, _upstream)


def _upstream(result: torch.Tensor) -> torch.Tensor:
    name = str(result.dtype).removeprefix("torch.")
    return floats(name, *result.shape, seed=96)
