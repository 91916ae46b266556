"""Test that invalid arguments of the sums raise an error that names the argument, before anything
is written.
"""

import numpy as np
import pytest
import torch

import nondet_ext

pytestmark = pytest.mark.usefixtures("cpu_isa")


def test_out_that_does_not_fit():
    x = torch.ones(2, 3)
    for out in (
        torch.empty(3),
        torch.empty(2, dtype=torch.float64),
        torch.empty(4)[::2],
        torch.empty(2)._neg_view(),
        torch.empty(2, device="meta"),
        [0.0, 0.0],
    ):
        with pytest.raises(
            ValueError, match=r"^out must be contiguous .*torch\.float32 of shape \(2,\)"
        ):
            nondet_ext.sum(x, 1, out=out)
    with pytest.raises(ValueError, match="out must not share memory with x"):
        nondet_ext.sum(x, 1, out=x[0, :2])
    with pytest.raises(ValueError, match="autograd"):
        nondet_ext.sum(x.clone().requires_grad_(), 1, out=torch.empty(2))
    assert torch.equal(x, torch.ones(2, 3))


def test_other_dtypes_are_refused():
    offsets = torch.tensor([0, 1])
    for bad in (
        torch.ones(3, dtype=torch.int64),
        torch.ones(3, dtype=torch.bool),
        torch.ones(3, dtype=torch.complex64),
        torch.ones(3).to(torch.float8_e4m3fn),
        torch.ones(3).to_sparse(),
        np.ones(3),
        [1.0],
    ):
        message = r"^{} must be a (torch\.Tensor|dense float64, float32, float16 or bfloat16)"
        for name, call in [
            ("x", lambda bad=bad: nondet_ext.sum(bad)),
            ("x", lambda bad=bad: nondet_ext.mean(bad, 0)),
            ("a", lambda bad=bad: nondet_ext.dot(bad, torch.ones(3))),
            ("b", lambda bad=bad: nondet_ext.dot(torch.ones(3), bad)),
            ("x", lambda bad=bad: nondet_ext.segment_sum(bad, offsets)),
            (r"partials\[1\]", lambda bad=bad: nondet_ext.accumulate([torch.ones(3), bad])),
        ]:
            with pytest.raises(TypeError, match=message.format(name)):
                call()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"order": "random"}, ValueError, "order must be 'fixed', 'exact', 'seeded' or 'atomic'"),
        ({"order": None}, ValueError, "order must be"),
        ({"order": "seeded"}, ValueError, "takes a seed"),
        ({"order": "fixed", "seed": 0}, ValueError, "seed is for order='seeded' only"),
        ({"order": "atomic", "seed": 0}, ValueError, "seed is for order='seeded' only"),
        ({"order": "seeded", "seed": -1}, ValueError, "seed must be in"),
        ({"order": "seeded", "seed": 2**32}, ValueError, "seed must be in"),
        ({"order": "seeded", "seed": (1, 2**32)}, ValueError, r"seed\[1\] must be in"),
        ({"order": "seeded", "seed": ()}, ValueError, "seed must be one to four integers, got 0"),
        ({"order": "seeded", "seed": (1,) * 5}, ValueError, "one to four integers, got 5"),
        ({"order": "seeded", "seed": 1.0}, TypeError, "seed must be an integer, got float"),
        ({"order": "seeded", "seed": True}, TypeError, "seed must be an integer, got bool"),
        ({"order": "seeded", "seed": "1"}, TypeError, "seed must be an integer, got str"),
    ],
)
def test_orders_and_seeds_that_are_refused(arguments, error, message):
    x = torch.ones(3)
    for call in (
        lambda: nondet_ext.sum(x, **arguments),
        lambda: nondet_ext.mean(x, 0, **arguments),
        lambda: nondet_ext.dot(x, x, **arguments),
        lambda: nondet_ext.segment_sum(x, torch.tensor([0, 3]), **arguments),
        lambda: nondet_ext.accumulate(x, **arguments),
    ):
        with pytest.raises(error, match=message):
            call()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: nondet_ext.sum(x, 2), IndexError, r"dim must be in \[-2, 1\], got 2"),
        (lambda x: nondet_ext.sum(x, (0, -3)), IndexError, r"dim must be in .* got -3"),
        (lambda x: nondet_ext.mean(x, (0, -2)), ValueError, "dim names a dimension twice"),
        (lambda x: nondet_ext.sum(x, "rows"), TypeError, "dim must be None, an int"),
        (lambda x: nondet_ext.sum(x, 1.0), TypeError, "dim must be None, an int"),
        (lambda x: nondet_ext.sum(x, (0.0,)), TypeError, "dim must hold ints"),
        (lambda x: nondet_ext.dot(x, x), ValueError, "a and b must be vectors of one length"),
        (lambda x: nondet_ext.dot(x[0], x[:, 0]), ValueError, "a and b must be vectors"),
        (lambda x: nondet_ext.dot(x[0], x[0].double()), TypeError, "a and b must have one dtype"),
        (lambda x: nondet_ext.accumulate([]), ValueError, "partials must be"),
        (lambda x: nondet_ext.accumulate(x[0, 0]), ValueError, "partials must have shape"),
        (lambda x: nondet_ext.accumulate([x, x[0]]), ValueError, r"partials\[1\] must be"),
        (lambda x: nondet_ext.accumulate([x, x.half()]), ValueError, r"partials\[1\] must be"),
        (lambda x: nondet_ext.segment_sum(x, [0, 1]), TypeError, "offsets must be an int64"),
        (lambda x: nondet_ext.segment_sum(x, x[0]), TypeError, "offsets must be .*float32"),
        (lambda x: nondet_ext.segment_sum(x[0, 0], torch.tensor([0])), ValueError, "shape"),
    ],
)
def test_arguments_that_are_refused(call, error, message):
    with pytest.raises(error, match=message):
        call(torch.ones(2, 3))


@pytest.mark.parametrize("offsets", [[0, 2, 1], [-1, 2], [0, 4], [0, 5, 3]])
def test_offsets_that_are_refused(offsets):
    with pytest.raises(ValueError, match=r"offsets must not decrease and lie in \[0, 3\]"):
        nondet_ext.segment_sum(torch.ones(3), torch.tensor(offsets))


def test_a_lazy_negation_is_not_changed_in_place():
    base = torch.ones(3)
    view = torch._neg_view(base)
    with pytest.raises(ValueError, match="input is a lazy negation"):
        nondet_ext.index_add_(view, 0, torch.arange(3), torch.ones(3))
    with pytest.raises(ValueError, match="no lazy negation"):
        nondet_ext.sum(torch.ones(2, 3), 0, out=view)
    assert base.tolist() == [1.0, 1.0, 1.0]
