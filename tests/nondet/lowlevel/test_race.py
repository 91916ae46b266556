"""The atomic order races also where torch computes with one thread, and what it gives is the sum of
the partial gradients in some order.
"""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

import nondet_ext
from nondet import lowlevel
from nondet.training.determinism import deterministic
from nondet_ext import philox_normal, philox_randint
from nondet_ext._backend import racing_threads


def raced(function, wanted, tries):
    """The different results, as bytes, of up to so many calls: it stops at `wanted` of them."""
    seen = {}
    for _ in range(tries):
        result = function()
        seen[result.numpy().tobytes()] = result
        if len(seen) == wanted:
            break
    return list(seen.values())


@pytest.mark.parametrize("shape", [(8, 5120), (8, 512, 64), (30, 3, 70, 11)])
def test_two_threads_give_several_results(shape):
    partials = philox_normal(shape, seed=1)
    with racing_threads(2):
        found = raced(lambda: nondet_ext.accumulate(partials, order="atomic"), 3, 1000)
    assert len(found) == 3


@pytest.mark.parametrize("shape", [(5, 9000), (4, 3, 1000, 2), (3, 40_000, 1)])
@pytest.mark.parametrize("threads", [2, 3])
def test_each_result_is_the_sum_of_its_partials_in_some_order(shape, threads):
    partials = philox_normal(shape, seed=2)
    rows = partials.flatten(1).numpy()
    orders = np.array(list(itertools.permutations(range(shape[0]))))
    sums = np.stack([np.add.accumulate(rows[order], 0)[-1] for order in orders])
    with racing_threads(threads):
        for result in raced(lambda: nondet_ext.accumulate(partials, order="atomic"), 20, 20):
            assert (sums == result.flatten().numpy()).any(0).all()


def test_every_element_of_every_layout_is_added_once():
    # Sums of integers are exact in any order.
    x = philox_randint(-99, 100, (6, 50, 41, 3), seed=3).float()
    for view in (x, x.permute(0, 3, 1, 2), x[:, ::2], x.permute(1, 0, 2, 3), x.permute(3, 2, 1, 0)):
        for dim in range(4):
            with racing_threads(2):
                got = nondet_ext.sum(view, dim, order="atomic")
            assert torch.equal(got, view.sum(dim))


def test_threads_race_where_asked_and_only_there():
    partials = philox_normal((8, 30_000), seed=1)

    def add():
        return nondet_ext.accumulate(partials, order="atomic")

    with deterministic():
        assert len(raced(add, 2, 30)) == 1
        with racing_threads(2):
            with racing_threads(3):
                pass
            assert len(raced(add, 2, 1000)) == 2
        assert len(raced(add, 2, 30)) == 1


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Linear(300, 40), (64, 300)),
        (nn.Conv2d(32, 48, 3, bias=False), (16, 32, 8, 8)),
        (nn.BatchNorm1d(4000), (24, 4000)),
    ],
    ids=["linear", "conv", "batch norm"],
)
def test_layers_race_where_torch_has_one_thread(layer, shape):
    model = lowlevel.convert(layer, order="atomic")
    input = philox_normal(shape, seed=1)
    with deterministic():
        upstream = philox_normal(tuple(model(input).shape), seed=2)

        def weight_gradient():
            model.zero_grad()
            model(input).backward(upstream)
            return model.weight.grad

        lowlevel.begin_step([model], "fixed", 0, 0)
        assert len(raced(weight_gradient, 2, 10)) == 1
        lowlevel.begin_step([model], "atomic", 0, 0)
        assert len(raced(weight_gradient, 2, 1000)) == 2


def test_embeddings_race():
    model = lowlevel.convert(nn.Embedding(20, 64), order="atomic")
    tokens = philox_randint(0, 20, (4000,), seed=1)
    upstream = philox_normal((4000, 64), seed=2)
    with deterministic():

        def weight_gradient():
            model.zero_grad()
            model(tokens).backward(upstream)
            return model.weight.grad

        assert len(raced(weight_gradient, 2, 1000)) == 2
