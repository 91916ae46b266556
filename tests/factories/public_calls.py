"""Calls of every public function of nondet_ext, for tests over all of them.

A call is a function of tensors alone and returns tensors, numbers or tuples of them; its arguments
are made for a size n, so that one compiled function can be called with several sizes. The arguments
`order`, `seed` and `out` are added by the tests.
"""

from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

import torch

import nondet_ext as ext

Tensors = tuple[torch.Tensor, ...]


class Case(NamedTuple):
    """A public function, a call of it, and a function from a size to the call's arguments."""

    name: str
    label: str
    call: Callable[..., Any]
    make: Callable[[int], Tensors]


def floats(*shape: int, seed: int = 0) -> torch.Tensor:
    """Return float32 values in (-2, 2) with different exponents."""
    generator = torch.Generator().manual_seed(seed + 1)
    return torch.rand(shape, generator=generator).mul_(4).sub_(2)


def integers(bound: int, *shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed + 1)
    return torch.randint(0, bound, shape, generator=generator)


def _undo(param: torch.Tensor) -> torch.Tensor:
    record = ext.random_flip(param, 3, 4, 2)
    record.undo()
    return record.difference


def _flip(param: torch.Tensor, count: int = 1) -> Tensors:
    record = ext.random_flip(param, 3, 4, count)
    return (
        record.indices,
        record.directions,
        record.old_bits,
        record.new_bits,
        record.old_values,
        record.new_values,
        record.difference,
    )


def _mean_margin(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return outputs.gather(2, labels.expand(len(outputs), -1)[..., None]).mean((1, 2))


def _by_margin(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return ext.ensemble_delta(logits, labels, _mean_margin)


def _classes(n: int) -> Tensors:
    return integers(4, 3, n + 4), torch.arange(n + 4) % 4


def _logits(n: int) -> Tensors:
    return floats(3, n + 4, 4), integers(4, n + 4, seed=1)


def _features(n: int) -> Tensors:
    return floats(n + 4, 2), floats(n + 4, n, seed=1), floats(n + 4, 3, seed=2)


def _matrix(n: int) -> Tensors:
    return (floats(n, n + 2),)


def _scatter_add(x: torch.Tensor, i: torch.Tensor, y: torch.Tensor, **k: Any) -> torch.Tensor:
    return ext.scatter_add(x, 0, i, y, **k)


def _scatter_add_(x: torch.Tensor, i: torch.Tensor, y: torch.Tensor, **k: Any) -> torch.Tensor:
    return ext.scatter_add_(x, 0, i, y, **k)


def _scattered(n: int) -> Tensors:
    return floats(n, 4), integers(n, n + 2, 4), floats(n + 2, 4, seed=2)


def _added(n: int) -> Tensors:
    return floats(n, 4), integers(n, n + 2), floats(n + 2, 4, seed=2)


def _gates(n: int) -> Tensors:
    return (*(floats(n, 2, 3, seed=i).sigmoid() for i in range(3)), floats(2, 3))


def _layer(n: int) -> Tensors:
    return floats(n, 2, 3), floats(12, 6), floats(12)


def _counters(n: int) -> Tensors:
    return (torch.arange(n),)


def _permuted(n: int) -> Tensors:
    """Dense and not contiguous."""
    return (floats(n, 3, n + 1).permute(2, 0, 1),)


def _strided(n: int) -> Tensors:
    """With gaps, and sizes that do not increase with the strides."""
    return (floats(n, 3, 2 * n + 2).permute(1, 2, 0)[:, ::2],)


CASES = [
    Case("accumulate", "tensor", lambda x, **k: ext.accumulate(x, **k), _matrix),
    Case(
        "accumulate",
        "list",
        lambda x, y, **k: ext.accumulate([x, y], **k),
        lambda n: (floats(n, 3), floats(n, 3, seed=1)),
    ),
    Case(
        "bincount",
        "defaults",
        lambda i, w, **k: ext.bincount(i, w, **k),
        lambda n: (integers(2 * n, n), floats(n)),
    ),
    Case(
        "bincount",
        "minlength",
        lambda i, w, **k: ext.bincount(i, w, 7, **k),
        lambda n: (integers(n, n).to(torch.uint8), floats(n)),
    ),
    Case("churn", "defaults", lambda p, y: ext.churn(p, y), _classes),
    Case("churn", "num_classes", lambda p, y: ext.churn(p, y, 4), _classes),
    Case("disagreement", "defaults", lambda p: ext.disagreement(p), lambda n: (integers(4, 3, n),)),
    Case(
        "disagreement",
        "bytes",
        lambda p: ext.disagreement(p),
        lambda n: (integers(4, n, n).to(torch.uint8),),
    ),
    Case(
        "dot",
        "defaults",
        lambda a, b, **k: ext.dot(a, b, **k),
        lambda n: (floats(n), floats(n, seed=1)),
    ),
    Case("ensemble_delta", "accuracy", lambda x, y: ext.ensemble_delta(x, y), _logits),
    Case(
        "ensemble_delta",
        "cross-entropy",
        lambda x, y: ext.ensemble_delta(x, y, "cross_entropy", "probabilities"),
        _logits,
    ),
    Case("ensemble_delta", "function", _by_margin, _logits),
    Case("error_overlap", "defaults", lambda p, y: ext.error_overlap(p, y), _classes),
    Case("fingerprint", "defaults", lambda x: ext.fingerprint(x), _matrix),
    Case("fingerprint", "strides", lambda x: ext.fingerprint(x), _permuted),
    Case("fingerprints", "rows", lambda x: ext.fingerprints(x), _matrix),
    Case(
        "fingerprints",
        "list",
        lambda x, y: ext.fingerprints([x, y]),
        lambda n: (*_permuted(n), integers(5, n)),
    ),
    Case("flip_bit", "list", lambda x: ext.flip_bit(x, [0, -1], 3), _matrix),
    Case(
        "flip_bit",
        "tensors",
        lambda x, i, b: ext.flip_bit(x, i, b),
        lambda n: (floats(n, 3), integers(n, n), integers(32, n)),
    ),
    Case("flip_ulp", "int", lambda x: ext.flip_ulp(x, 1), _permuted),
    Case(
        "flip_ulp",
        "tensors",
        lambda x, i, d: ext.flip_ulp(x, i, d, 2),
        lambda n: (floats(n, 3), integers(n, n), 1 - 2 * integers(2, n)),
    ),
    Case(
        "flip_ulp",
        "gaps",
        lambda x, i: ext.flip_ulp(x, i),
        lambda n: (*_strided(n), integers(n, n)),
    ),
    Case("forget_mult", "defaults", lambda z, f: ext.forget_mult(z, f), lambda n: _gates(n)[:2]),
    Case("forget_mult", "gate and state", lambda *all: ext.forget_mult(*all), _gates),
    Case("index_add", "defaults", lambda x, i, y, **k: ext.index_add(x, 0, i, y, **k), _added),
    Case("index_add_", "defaults", lambda x, i, y, **k: ext.index_add_(x, 0, i, y, **k), _added),
    Case(
        "index_add_",
        "strides",
        lambda x, i, y, **k: ext.index_add_(x, -1, i, y, **k),
        lambda n: (*_strided(n), integers(n, 2), floats(3, n + 1, 2)),
    ),
    Case("linear_cka", "list", lambda *x: ext.linear_cka(list(x)), _features),
    Case(
        "linear_cka",
        "tensor",
        lambda x: ext.linear_cka(x, memory="1MB"),
        lambda n: (floats(3, n + 2, 4),),
    ),
    Case(
        "linear_cka",
        "debiased",
        lambda *x: ext.linear_cka(x[:1], x[1:], estimator="debiased"),
        _features,
    ),
    Case("linear_cka", "two", lambda *x: ext.linear_cka(x[0], x[1]), _features),
    Case("mean", "all", lambda x, **k: ext.mean(x, **k), _matrix),
    Case("mean", "dims", lambda x, **k: ext.mean(x, (-1, 0), True, **k), _permuted),
    Case("next_down", "defaults", lambda x, **k: ext.next_down(x, **k), _matrix),
    Case("next_down", "itself", lambda x: ext.next_down(x, out=x), _matrix),
    Case("next_up", "defaults", lambda x, **k: ext.next_up(x, **k), _matrix),
    Case("next_up", "strides", lambda x, **k: ext.next_up(x, **k), _permuted),
    Case("next_up", "gaps", lambda x: ext.next_up(x), _strided),
    Case("pearson", "defaults", lambda x: ext.pearson(x), _matrix),
    Case(
        "pearson",
        "omit",
        lambda x, y: ext.pearson(x, y, nan_policy="omit"),
        lambda n: (floats(3, n, 4), floats(2, n, 4, seed=1)),
    ),
    Case("philox_bits", "size", lambda x: ext.philox_bits(x.shape, seed=1), _matrix),
    Case("philox_bits", "counter", lambda c: ext.philox_bits(5, seed=1, counter=(2, c)), _counters),
    Case("philox_normal", "size", lambda x: ext.philox_normal(x.shape, seed=1), _matrix),
    Case(
        "philox_normal",
        "counter",
        lambda c: ext.philox_normal(
            (5, 2), seed=1, stream=3, counter=(c, c[:, None]), dtype=torch.float16
        ),
        _counters,
    ),
    Case("philox_permutation", "size", lambda x: ext.philox_permutation(len(x), seed=1), _matrix),
    Case(
        "philox_permutation",
        "counter",
        lambda c: ext.philox_permutation(9, seed=1, counter=(c,)),
        _counters,
    ),
    Case("philox_randint", "size", lambda x: ext.philox_randint(-3, 9, x.shape, seed=1), _matrix),
    Case(
        "philox_randint",
        "bounds",
        lambda c: ext.philox_randint(-len(c), len(c), len(c), seed=1, offset=len(c), counter=(c,)),
        _counters,
    ),
    Case("philox_uniform", "size", lambda x: ext.philox_uniform(x.shape, seed=1), _matrix),
    Case(
        "philox_uniform",
        "device",
        lambda c: ext.philox_uniform(2, seed=1, counter=(c,), dtype=torch.float64, device=c.device),
        _counters,
    ),
    Case(
        "qrnn", "window 1", lambda x, w: ext.qrnn(x, w), lambda n: (floats(n, 2, 3), floats(12, 3))
    ),
    Case(
        "qrnn",
        "window 2",
        lambda x, w, b: ext.qrnn(x, w, b, window=2, zoneout=0.5, key=(1, 2)),
        _layer,
    ),
    Case("random_flip", "defaults", lambda x: _flip(x), _matrix),
    Case("random_flip", "count", lambda x: _flip(x, len(x) + 1), _permuted),
    Case("random_flip", "undo", _undo, _matrix),
    Case("rankdata", "defaults", lambda x: ext.rankdata(x), _matrix),
    Case("rankdata", "omit", lambda x: ext.rankdata(x, nan_policy="omit"), _permuted),
    Case("scatter_add", "defaults", _scatter_add, _scattered),
    Case(
        "scatter_add",
        "larger source",
        lambda x, i, y, **k: ext.scatter_add(x, 0, i[:-1], y, **k),
        _scattered,
    ),
    Case(
        "scatter_add_",
        "defaults",
        _scatter_add_,
        _scattered,
    ),
    Case(
        "segment_sum",
        "defaults",
        lambda x, o, **k: ext.segment_sum(x, o, **k),
        lambda n: (floats(2 * n, 3), torch.arange(0, 2 * n, 2).to(torch.int32)),
    ),
    Case("spacing", "defaults", lambda x: ext.spacing(x), _matrix),
    Case("spearman", "defaults", lambda x: ext.spearman(x), _matrix),
    Case(
        "spearman",
        "two",
        lambda x, y: ext.spearman(x, y, nan_policy="propagate"),
        lambda n: (integers(9, 3, n), integers(9, 2, n, seed=1)),
    ),
    Case("sum", "all", lambda x, **k: ext.sum(x, **k), _matrix),
    Case("sum", "first dim", lambda x, **k: ext.sum(x, 0, **k), _matrix),
    Case("sum", "strides", lambda x, **k: ext.sum(x, -1, keepdim=True, **k), _permuted),
    Case("sum", "gaps", lambda x, **k: ext.sum(x, (0, 2), **k), _strided),
    Case(
        "ulp_distance",
        "defaults",
        lambda a, b, **k: ext.ulp_distance(a, b, **k),
        lambda n: (floats(n, 3), floats(n, 3, seed=1)),
    ),
    Case(
        "ulp_distance",
        "broadcast",
        lambda a, b, **k: ext.ulp_distance(a, b, nan="propagate", **k),
        lambda n: (floats(n, 3), floats(n, 1, 3, seed=1)),
    ),
]


def public_functions() -> dict[str, Any]:
    """Return the public functions and classes, without exceptions and warnings."""
    return {
        name: value
        for name, value in vars(ext).items()
        if not name.startswith("_")
        and not isinstance(value, ModuleType)
        and callable(value)
        and not (isinstance(value, type) and issubclass(value, BaseException))
    }
