"""Test that torch's operators inside of nondet_ext.ordered give the bits of the explicit calls, and
that operators without a fixed order are reported.
"""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from factories.ordered_inputs import (
    CUBE,
    ELEMENTS,
    IMAGES,
    INDEX,
    ORDERS,
    PAIR,
    ROWS,
    SCORES,
    TABLE,
    F,
    X,
    after,
    assert_bits,
    gradient,
    mixed,
    rows_added,
)
from nondet_ext import scatter, summation
from nondet_ext.ordering import ordered


def _root(x: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(np.asarray(np.sqrt(x.numpy())))


# Name -> (torch's call, the explicit call).
CASES: dict[str, tuple[Callable[[], torch.Tensor], Callable[..., torch.Tensor]]] = {
    "sum": (lambda: X.sum(), lambda **o: summation.sum(X, **o)),
    "sum dims": (lambda: X.sum((0, 2)), lambda **o: summation.sum(X, (0, 2), **o)),
    "sum keepdim": (lambda: X.sum(-2, True), lambda **o: summation.sum(X, 1, True, **o)),
    "sum transposed": (lambda: X.mT.sum(2), lambda **o: summation.sum(X.mT, 2, **o)),
    "sum bfloat16": (
        lambda: ROWS.bfloat16().sum(0),
        lambda **o: summation.sum(ROWS.bfloat16(), 0, **o),
    ),
    "sum dtype": (
        lambda: ROWS.bfloat16().sum(0, dtype=torch.float64),
        lambda **o: summation.sum(ROWS.bfloat16().double(), 0, **o),
    ),
    "sum out": (
        lambda: torch.sum(ROWS, 0, out=torch.empty(6)),
        lambda **o: summation.sum(ROWS, 0, **o),
    ),
    "sum out dtype": (
        lambda: torch.sum(ROWS, 0, out=torch.empty(0, dtype=torch.float64)),
        lambda **o: summation.sum(ROWS.double(), 0, **o),
    ),
    "sum complex": (
        lambda: torch.view_as_complex(X).conj().sum(1),
        lambda **o: torch.view_as_complex(
            summation.sum(torch.stack((X[..., 0], -X[..., 1]), -1), 1, **o)
        ),
    ),
    "mean": (lambda: X.mean(), lambda **o: summation.mean(X, **o)),
    "mean dims": (lambda: X.mean((0, 1)), lambda **o: summation.mean(X, (0, 1), **o)),
    "mean of integers": (
        lambda: ELEMENTS.mean(0, dtype=torch.float32) / 3 + ROWS.mean(0),
        lambda **o: (
            summation.mean(ELEMENTS.float(), 0, **o) / 3 + summation.mean(ROWS, 0, **after(1, **o))
        ),
    ),
    "dot": (
        lambda: X[0, :, 0].dot(X[1, :, 0]),
        lambda **o: summation.dot(X[0, :, 0], X[1, :, 0], **o),
    ),
    "norm": (lambda: X.norm(), lambda **o: _root(summation.sum(X.square(), **o))),
    "norm dims": (
        lambda: torch.linalg.vector_norm(X, dim=1, keepdim=True),
        lambda **o: _root(summation.sum(X.square(), 1, True, **o)),
    ),
    "norms of a list": (
        lambda: torch.stack(torch._foreach_norm([X, ROWS])),
        lambda **o: torch.stack(
            [
                _root(summation.sum(X.square(), **o)),
                _root(summation.sum(ROWS.square(), **after(1, **o))),
            ]
        ),
    ),
    "trace": (
        lambda: ROWS[:, :1].expand(-1, 3000).trace(),
        lambda **o: summation.sum(ROWS[:, 0], **o),
    ),
    "var": (
        lambda: ROWS.var(0),
        lambda **o: (
            summation.sum((ROWS - summation.mean(ROWS, 0, True, **o)).square(), 0, **after(1, **o))
            / 2999
        ),
    ),
    "index_add": (
        lambda: TABLE.index_add(0, INDEX, ROWS),
        lambda **o: scatter.index_add(TABLE, 0, INDEX, ROWS, **o),
    ),
    "index_add alpha": (
        lambda: TABLE.index_add(0, INDEX, ROWS, alpha=3),
        lambda **o: scatter.index_add(TABLE, 0, INDEX, ROWS * 3, **o),
    ),
    "index_add columns": (
        lambda: TABLE.T.clone().index_add_(1, INDEX, ROWS.T),
        lambda **o: scatter.index_add(TABLE.T, 1, INDEX, ROWS.T, **o),
    ),
    "scatter_add": (
        lambda: TABLE.scatter_add(0, ELEMENTS, ROWS),
        lambda **o: scatter.scatter_add(TABLE, 0, ELEMENTS, ROWS, **o),
    ),
    "scatter_add in place": (
        lambda: TABLE.clone().scatter_add_(0, ELEMENTS, ROWS),
        lambda **o: scatter.scatter_add(TABLE, 0, ELEMENTS, ROWS, **o),
    ),
    "scatter_reduce": (
        lambda: TABLE.scatter_reduce(0, ELEMENTS, ROWS, "sum"),
        lambda **o: scatter.scatter_add(TABLE, 0, ELEMENTS, ROWS, **o),
    ),
    "scatter_reduce without the tensor": (
        lambda: TABLE.scatter_reduce(0, ELEMENTS, ROWS, "sum", include_self=False),
        lambda **o: scatter.scatter_add(TABLE.scatter(0, ELEMENTS, 0), 0, ELEMENTS, ROWS, **o),
    ),
    "scatter_reduce in place, without the tensor": (
        lambda: TABLE.clone().scatter_reduce_(0, ELEMENTS, ROWS, "sum", include_self=False),
        lambda **o: scatter.scatter_add(torch.zeros(20, 6), 0, ELEMENTS, ROWS, **o),
    ),
    "multigammaln": (
        lambda: torch.special.multigammaln(ROWS.abs() + 9, 17),
        lambda **o: (
            summation.sum((ROWS.abs()[..., None] + 9 - torch.arange(17) * 0.5).lgamma(), -1, **o)
            + 17 * 16 / 4 * math.log(math.pi)
        ),
    ),
    "index_put": (
        lambda: TABLE.index_put((INDEX - 20,), ROWS, accumulate=True),
        lambda **o: rows_added(TABLE, INDEX, ROWS, **o),
    ),
    "index_put in place, transposed": (
        lambda: TABLE.T.contiguous().T.index_put_((INDEX,), ROWS, accumulate=True),
        lambda **o: rows_added(TABLE, INDEX, ROWS, **o),
    ),
    "index_put elements": (
        lambda: CUBE.index_put((PAIR[0], PAIR[1]), mixed(700, 3, 8), accumulate=True),
        lambda **o: rows_added(
            CUBE.reshape(20, 8),
            (PAIR[0] * 4 + PAIR[1]).reshape(-1),
            mixed(700, 3, 8).reshape(-1, 8),
            **o,
        ).reshape(5, 4, 8),
    ),
    "backward of indexing an inner dimension": (
        lambda: gradient(lambda x: x[:, :, INDEX % 8], CUBE, mixed(5, 4, 3000)),
        lambda **o: scatter.index_add(torch.zeros(5, 4, 8), 2, INDEX % 8, mixed(5, 4, 3000), **o),
    ),
    "put": (
        lambda: TABLE.put(INDEX, ROWS[:, 0], accumulate=True),
        lambda **o: rows_added(TABLE.reshape(-1), INDEX, ROWS[:, 0], **o).reshape(20, 6),
    ),
    "bincount": (
        lambda: torch.bincount(INDEX, ROWS[:, 0], minlength=30),
        lambda **o: scatter.bincount(INDEX, ROWS[:, 0].contiguous(), 30, **o),
    ),
    "backward of indexing": (
        lambda: gradient(lambda x: x[INDEX], TABLE, ROWS),
        lambda **o: rows_added(torch.zeros(20, 6), INDEX, ROWS, **o),
    ),
    "backward of gather": (
        lambda: gradient(lambda x: x.gather(0, ELEMENTS), TABLE, ROWS),
        lambda **o: scatter.scatter_add(torch.zeros(20, 6), 0, ELEMENTS, ROWS, **o),
    ),
    "backward of embedding": (
        lambda: gradient(
            lambda x: F.embedding(INDEX.reshape(30, 100), x), TABLE, ROWS.reshape(30, 100, 6)
        ),
        lambda **o: rows_added(torch.zeros(20, 6), INDEX, ROWS, **o),
    ),
    "backward of embedding, by frequency": (
        lambda: gradient(lambda x: F.embedding(INDEX, x, scale_grad_by_freq=True), TABLE, ROWS),
        lambda **o: rows_added(
            torch.zeros(20, 6), INDEX, ROWS / torch.bincount(INDEX)[INDEX][:, None], **o
        ),
    ),
    "backward of broadcasting": (
        lambda: gradient(lambda x: ROWS * x, TABLE[0], ROWS),
        lambda **o: summation.sum(ROWS * ROWS, 0, **o),
    ),
    "bias of linear": (
        lambda: gradient(lambda b: F.linear(ROWS, TABLE[:, :6], b), TABLE[:, 0], mixed(3000, 20)),
        lambda **o: summation.sum(mixed(3000, 20), 0, **o),
    ),
    "bias of convolution": (
        lambda: gradient(
            lambda b: F.conv2d(IMAGES, torch.ones(2, 4, 3, 3), b), TABLE[0, :2], mixed(6, 2, 7, 7)
        ),
        lambda **o: summation.sum(mixed(6, 2, 7, 7), (0, 2, 3), **o),
    ),
    "bias of batch norm": (
        lambda: gradient(
            lambda b: F.batch_norm(IMAGES, None, None, torch.ones(4), b, True),
            TABLE[0, :4],
            IMAGES,
        ),
        # The forward pass takes two sums; the backward pass sums the upstream gradient first.
        lambda **o: summation.sum(IMAGES, (0, 2, 3), **after(2, **o)),
    ),
    "mse_loss": (
        lambda: F.mse_loss(ROWS, ROWS.flip(0)),
        lambda **o: summation.mean((ROWS - ROWS.flip(0)).square(), **o),
    ),
    "softmax": (
        lambda: SCORES.softmax(1),
        lambda **o: (
            (SCORES - SCORES.amax(1, True)).exp()
            / summation.sum((SCORES - SCORES.amax(1, True)).exp(), 1, True, **o)
        ),
    ),
}


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: order["order"])
@pytest.mark.parametrize("name", CASES)
def test_the_explicit_call_gives_the_same_bits(name, order):
    in_torch, explicit = CASES[name]
    with ordered(**order) as scope:
        got = in_torch()
    assert_bits(got, explicit(**after(0, **order)))
    assert set(scope.uncovered) <= {"aten::addmm", "aten::convolution"}


# Cases in which no order shows: float64 holds the sums exactly, or bfloat16 rounds them alike.
BLIND = ("sum dtype", "sum out dtype", "sum bfloat16")


@pytest.mark.parametrize("name", [name for name in CASES if name not in BLIND])
def test_the_order_reaches_the_operator(name):
    """Several seeds give several results, so the inputs of CASES can show a difference in order."""
    in_torch, _ = CASES[name]
    results = set()
    for seed in range(8):
        with ordered("seeded", seed=seed):
            got = in_torch()
        results.add(tuple(got.flatten().tolist()))
    assert len(results) > 1


@pytest.mark.parametrize("order", ["fixed", "exact"])
def test_rows_of_the_padding_are_left_out(order):
    with ordered(order):
        got = gradient(lambda x: F.embedding(INDEX, x, padding_idx=3), TABLE, ROWS)
    kept = INDEX != 3
    assert_bits(got, rows_added(torch.zeros(20, 6), INDEX[kept], ROWS[kept], order=order))
    assert not got[3].any()


def test_atomic_is_passed_on():
    with ordered("atomic") as scope:
        total = X.sum()
    torch.testing.assert_close(total, X.double().sum().float(), rtol=1e-4, atol=1e-2)
    assert not scope.uncovered


def test_a_sum_without_the_tensor_keeps_what_has_no_source_and_changes_nothing_when_refused():
    x = torch.full((4,), 7.0)
    with ordered() as scope:
        x.scatter_reduce_(0, torch.tensor([1, 1]), torch.ones(2), "sum", include_self=False)
        assert x.tolist() == [7, 2, 7, 7]
        with pytest.raises((IndexError, RuntimeError)):
            x.scatter_reduce_(0, torch.tensor([1, 4]), torch.ones(2), "sum", include_self=False)
    assert x.tolist() == [7, 2, 7, 7]
    assert not scope.uncovered


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.int64])
def test_multigammaln_is_close_to_torch(dtype):
    x = torch.arange(40, 60).to(dtype)
    wanted = torch.special.multigammaln(x, 17)
    out = torch.empty(0, dtype=wanted.dtype)
    with ordered() as scope:
        got = torch.special.multigammaln(x, 17)
        torch.special.multigammaln(x, 17, out=out)
        with pytest.raises(RuntimeError):
            torch.special.multigammaln(x, 0)
    assert not scope.uncovered
    tolerance = {"rtol": 2e-2, "atol": 0.1} if dtype == torch.float16 else {}
    torch.testing.assert_close(got, wanted, **tolerance)
    assert_bits(out, got)
    if dtype.is_floating_point:
        with ordered():
            assert_bits(x.clone().mvlgamma_(17), got)


def test_masks_select_where_to_add():
    mask = torch.tensor([True, False, True, True, False])
    with ordered():
        got = CUBE.index_put((mask,), torch.tensor(0.1), accumulate=True)
    assert torch.equal(got, CUBE + torch.where(mask, 0.1, 0.0)[:, None, None])


def test_an_index_out_of_range_is_refused_before_anything_changes():
    x = torch.zeros(3, 4)
    with ordered(), pytest.raises(IndexError):
        x.index_put_((torch.tensor([0, 1]), torch.tensor([0, 4])), torch.ones(2), accumulate=True)
    assert not x.any()


def test_in_place_results_are_the_tensor_itself_and_move_its_version():
    x = torch.zeros(20, 6)
    with ordered():
        for call in (
            lambda: x.index_add_(0, INDEX, ROWS),
            lambda: x.scatter_add_(0, ELEMENTS, ROWS),
            lambda: x.index_put_((INDEX,), ROWS, accumulate=True),
            lambda: x.put_(INDEX, ROWS[:, 0], accumulate=True),
        ):
            version = x._version
            assert call() is x
            assert x._version > version


@pytest.mark.parametrize("dtype", [torch.int32, torch.bool])
def test_integers_go_to_torch(dtype):
    x = ELEMENTS.to(dtype)
    with ordered() as scope:
        assert x.sum(0).tolist() == x.numpy().sum(0, dtype="int64").tolist()
        torch.zeros(20, 6, dtype=torch.int64).index_add_(0, INDEX, ELEMENTS)
        torch.bincount(INDEX)
    assert not scope.uncovered


def test_inference_mode_is_covered():
    layer = torch.nn.Sequential(torch.nn.LayerNorm(6), torch.nn.Linear(6, 2))
    with torch.inference_mode(), ordered() as scope:
        got = layer(ROWS).sum()
    with ordered():
        wanted = layer(ROWS).sum()
    assert_bits(got, wanted)
    assert set(scope.uncovered) == {"aten::addmm"}


UNCOVERED = {
    "mm": lambda: ROWS.T @ ROWS,
    "bmm": lambda: CUBE @ CUBE.mT,
    "addmm": lambda: F.linear(ROWS, TABLE, TABLE[:, 0]),
    "mv": lambda: ROWS @ TABLE[0],
    "convolution": lambda: F.conv2d(IMAGES, torch.ones(2, 4, 3, 3)),
    "cumsum": lambda: ROWS.cumsum(0),
    "logcumsumexp": lambda: ROWS.logcumsumexp(0),
    "prod": lambda: ROWS.prod(),
    "cumprod": lambda: ROWS.cumprod(0),
    "avg_pool2d": lambda: F.avg_pool2d(IMAGES, 3),
    "max_pool2d_with_indices_backward": lambda: gradient(
        lambda x: F.max_pool2d(x, 3, 2), IMAGES, mixed(6, 4, 4, 4)
    ),
    "upsample_bilinear2d": lambda: F.interpolate(IMAGES, scale_factor=2, mode="bilinear"),
    "upsample_nearest2d_backward": lambda: gradient(
        lambda x: F.interpolate(x, scale_factor=2), IMAGES, mixed(6, 4, 18, 18)
    ),
    "_fft_r2c": lambda: torch.fft.rfft(ROWS),
    "scatter_reduce": lambda: TABLE.scatter_reduce(0, ELEMENTS, ROWS, "mean"),
    "index_add": lambda: TABLE.to(torch.complex64).index_add(0, INDEX, ROWS.to(torch.complex64)),
    "_embedding_bag": lambda: F.embedding_bag(
        INDEX.reshape(30, 100), TABLE.clone().requires_grad_()
    ),
    "mkldnn_rnn_layer": lambda: torch.nn.LSTM(6, 2)(ROWS),
    "_cdist_forward": lambda: torch.cdist(TABLE, TABLE),
    "col2im": lambda: F.fold(mixed(1, 4, 9), (4, 4), 2),
    "reflection_pad1d_backward": lambda: gradient(
        lambda x: F.pad(x, (2, 2), "reflect"), TABLE, mixed(20, 10)
    ),
    "multinomial": lambda: TABLE.abs().multinomial(2),
    "histc": lambda: ROWS.histc(),
    "_to_dense": lambda: torch.sparse_coo_tensor(
        INDEX[None], ROWS, (20, 6), check_invariants=True
    ).to_dense(),
    "linalg_solve_triangular": lambda: torch.linalg.solve_triangular(
        torch.eye(6), torch.ones(6, 1), upper=True
    ),
}


@pytest.mark.parametrize("name", UNCOVERED)
def test_what_is_not_covered_is_reported(name):
    with ordered() as scope:
        UNCOVERED[name]()
        UNCOVERED[name]()
    known = {op.removeprefix("aten::").removesuffix("_"): n for op, n in scope.uncovered.items()}
    assert known.get(name) == 2


def test_what_adds_nothing_is_not_reported():
    with ordered() as scope:
        x = torch.randn(4, 4, requires_grad=True)
        y = F.gelu(x) * x.sigmoid() + F.dropout(x.exp(), 0.5).clamp(0, 1) - F.softplus(x) / 2
        y = torch.cat([y, y.T.flip(0)])[1:].contiguous().view(-1)[torch.tensor([0, 2])]
        F.max_pool2d(torch.randn(1, 1, 4, 4, requires_grad=True), 2).sum().backward()
        y.sum().backward()
        y.max(), y.sort(), y.argmax(), y.unique(), (y > 0).any(), torch.where(y > 0, y, 0.0)
        y.isfinite(), y.double().half().float(), torch.zeros(3).normal_().uniform_(), y.tolist()
        repr(y), torch.tensor([1.0]), torch.arange(3.0).roll(1), torch.equal(y, y), y.abs_()
        z = torch.zeros(4, 4)
        z[0], z[:, torch.tensor([1, 1])], z[z > 1] = 1.0, 2.0, 3.0
        for optimizer in (torch.optim.SGD, torch.optim.AdamW):
            for foreach in (False, True):
                optimizer([x], lr=0.1, foreach=foreach).step()
    assert scope.uncovered == {}
    assert str(scope.uncovered) == "every sum was covered"
