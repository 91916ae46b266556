"""What is promised about the derivative of every public function, with calls to test it by."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch

import nondet_ext as ext

_DRAWS = torch.Generator().manual_seed(0)


def _draw(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=_DRAWS)


def _gates(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, dtype=torch.float64, generator=_DRAWS) * 1.4 - 0.2


class Case(NamedTuple):
    """A call as a function of the tensors that it has derivatives in."""

    call: Callable[..., Any]
    tensors: tuple[torch.Tensor, ...]


X, S, A, B = _draw(4, 3), _draw(6, 3), _draw(5), _draw(5)
ROWS = torch.tensor([0, 3, 3, 1, 0, 2])
PLACES = torch.tensor([[0, 3], [1, 1], [3, 0], [3, 3], [0, 2]])
OFFSETS = torch.tensor([1, 2, 2, 4], dtype=torch.int32)
BINS = torch.tensor([3, 0, 0, 3, 1])
NOTHING = torch.empty(0, dtype=torch.int64)
SCALAR = torch.tensor(0.5, dtype=torch.float64)
ORDERS: tuple[dict[str, Any], ...] = (
    {},
    {"order": "exact"},
    {"order": "seeded", "seed": (1, 2)},
)


def _in_orders(make: Callable[[dict[str, Any]], Case]) -> list[Case]:
    return [make(how) for how in ORDERS]


def _qrnn(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, *more: torch.Tensor) -> Any:
    hidden, previous = more if more else (None, None)
    return ext.qrnn(x, weight, bias, hidden=hidden, previous=previous, window=1 + bool(more))


def _changed(
    add: Callable[..., torch.Tensor], *where: Any, **how: Any
) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """Return a function that adds in place to what it has computed from its argument."""
    return lambda a, b: add(a * 1, *where, b, **how)


DIFFERENTIABLE: dict[str, list[Case]] = {
    "sum": [
        *_in_orders(lambda how: Case(lambda x: ext.sum(x, 0, **how), (X,))),
        Case(ext.sum, (X,)),
        Case(lambda x: ext.sum(x, (-1, 0), keepdim=True), (_draw(2, 3, 2),)),
        Case(ext.sum, (SCALAR,)),
        Case(lambda x: ext.sum(x, 0), (_draw(0, 2),)),
    ],
    "mean": [
        *_in_orders(lambda how: Case(lambda x: ext.mean(x, 1, True, **how), (X,))),
        Case(ext.mean, (X,)),
    ],
    "accumulate": [
        *_in_orders(lambda how: Case(lambda a, b: ext.accumulate([a, b], **how), (A, B))),
        Case(ext.accumulate, (X,)),
    ],
    "dot": [
        *_in_orders(lambda how: Case(lambda a, b: ext.dot(a, b, **how), (A, B))),
        Case(lambda a: ext.dot(a, a), (A,)),
        Case(ext.dot, (A[:0], B[:0])),
    ],
    "segment_sum": [
        *_in_orders(lambda how: Case(lambda x: ext.segment_sum(x, OFFSETS, **how), (X,))),
        Case(lambda x: ext.segment_sum(x, OFFSETS[:1]), (X,)),
        Case(lambda x: ext.segment_sum(x, OFFSETS), (A,)),
    ],
    "index_add": [
        *_in_orders(lambda how: Case(lambda a, b: ext.index_add(a, 0, ROWS, b, **how), (X, S))),
        Case(lambda a, b: ext.index_add(a, -1, ROWS[4:].int(), b), (X, X[:, :2])),
        Case(lambda a, b: ext.index_add(a, 0, NOTHING, b), (X, X[:0])),
        Case(lambda a, b: ext.index_add(a, 0, ROWS[0], b), (SCALAR, SCALAR)),
        Case(lambda a, b: ext.index_add(a, 0, ROWS[0], b), (X, X[:1])),
    ],
    "scatter_add": [
        *_in_orders(lambda how: Case(lambda a, b: ext.scatter_add(a, 0, PLACES, b, **how), (X, S))),
        Case(lambda a, b: ext.scatter_add(a, 1, PLACES[:3].clamp(max=2).int(), b), (X, S)),
        # An empty index of any number of dimensions adds nothing.
        Case(lambda a, b: ext.scatter_add(a, 0, NOTHING, b), (X, S)),
        Case(lambda a, b: ext.scatter_add(a, 0, NOTHING.reshape(1, 0, 2, 3), b), (X, A)),
        Case(lambda a, b: ext.scatter_add(a, 0, NOTHING.reshape(0, 3), b), (X, S)),
        # 0-d tensors count as tensors of one element.
        Case(lambda a, b: ext.scatter_add(a, 0, ROWS[0], b), (SCALAR, SCALAR)),
        Case(lambda a, b: ext.scatter_add(a, 0, ROWS[:1], b), (SCALAR, SCALAR)),
        Case(lambda a, b: ext.scatter_add(a, 0, ROWS[0], b), (A, A)),
        Case(lambda a, b: ext.scatter_add(a, 0, ROWS, b), (A, S[:, 0])),
        Case(lambda a, b: ext.scatter_add(a, 0, ROWS[:1], b), (A, SCALAR)),
        Case(lambda a, b: ext.scatter_add(a, 0, ROWS[0], b), (SCALAR, A)),
    ],
    "index_add_": [
        *_in_orders(lambda how: Case(_changed(ext.index_add_, 0, ROWS, **how), (X, S))),
    ],
    "scatter_add_": [
        *_in_orders(lambda how: Case(_changed(ext.scatter_add_, 0, PLACES, **how), (X, S))),
    ],
    "bincount": [
        *_in_orders(lambda how: Case(lambda w: ext.bincount(BINS, w, 5, **how), (A,))),
    ],
    "forget_mult": [
        Case(ext.forget_mult, (X, _gates(4, 3), _gates(4, 3), _draw(3))),
        Case(ext.forget_mult, (X, _gates(4, 3), _gates(4, 3))),
        Case(lambda z, f, i: ext.forget_mult(z, f, None, i), (X, _gates(4, 3), _draw(3))),
        Case(ext.forget_mult, (_draw(3, 2, 2), _gates(3, 2, 2))),
        Case(ext.forget_mult, (_draw(1, 2), _gates(1, 2), _gates(1, 2))),
        Case(lambda z, f, i: ext.forget_mult(z, f, None, i), (X[:0], X[:0], _draw(3))),
        Case(lambda z, f: ext.forget_mult(z, f)[1], (A, _gates(5))),
        Case(lambda z, f, o: ext.forget_mult(z, f, o)[0], (X, _gates(4, 3), _gates(4, 3))),
    ],
    "qrnn": [
        Case(_qrnn, (_draw(2, 1, 2), _draw(6, 2), _draw(6))),
        Case(_qrnn, (_draw(2, 1, 2), _draw(6, 4), _draw(6), _draw(1, 2), _draw(1, 2))),
    ],
    "next_up": [Case(ext.next_up, (X,)), Case(ext.next_up, (X.t(),))],
    "next_down": [Case(ext.next_down, (X,)), Case(ext.next_down, (SCALAR,))],
    "spacing": [Case(ext.spacing, (X,))],
}

LABELS = torch.tensor([0, 1, 2, 1])


def _cka(x: torch.Tensor) -> torch.Tensor:
    whole = ext.CKA(exact=True)
    whole.update([x[0], x[1]])
    return whole.compute()


# Calls that could be given a tensor of shape (2, 4, 3) that requires grad, and have no derivative.
NOT_DIFFERENTIABLE: dict[str, Callable[[torch.Tensor], Any]] = {
    "CKA": _cka,
    "linear_cka": ext.linear_cka,
    "pearson": ext.pearson,
    "spearman": lambda x: ext.spearman(x, x),
    "rankdata": ext.rankdata,
    "fingerprint": ext.fingerprint,
    "fingerprints": lambda x: ext.fingerprints([x, x]),
    "ensemble_delta": lambda x: ext.ensemble_delta(x, LABELS, "cross_entropy"),
    "ulp_distance": lambda x: ext.ulp_distance(x, x * 2),
    "flip_ulp": lambda x: ext.flip_ulp(x, 0).detach(),
    "flip_bit": lambda x: ext.flip_bit(x, 0, 1).detach(),
    "random_flip": lambda x: ext.random_flip(x, 1).difference,
    "FlipRecord": lambda x: ext.random_flip(x, 1).new_values,
}

# Functions of integers, seeds, files or nothing, and classes that hold no function.
WITHOUT_FLOATS = {
    "DegenerateInputWarning",
    "build_info",
    "churn",
    "disagreement",
    "error_overlap",
    "ordered",
    "philox_bits",
    "philox_normal",
    "philox_permutation",
    "philox_randint",
    "philox_uniform",
    "spearman_files",
}
