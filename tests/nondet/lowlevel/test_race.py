"""Test that the atomic order races even if torch computes with one thread, and that its results are
sums of the partial gradients in some order.
"""

import itertools
from functools import cache

import numpy as np
import pytest
import torch
from torch import nn

import nondet_ext
from factories.races import different, race
from nondet import lowlevel
from nondet.training.determinism import deterministic
from nondet_ext import philox_normal, philox_randint
from nondet_ext.threads import racing_threads


def sums_of(shape, seed):
    """Return a function of a size that adds partial sums in the atomic order; `size` multiplies the
    last dimension of `shape`.
    """

    @cache
    def partials(size):
        return philox_normal((*shape[:-1], shape[-1] * size), seed=seed)

    return lambda size: nondet_ext.accumulate(partials(size), order="atomic")


@pytest.mark.parametrize("shape", [(8, 5120), (8, 512, 64), (30, 3, 70, 11)])
def test_two_threads_give_several_results(shape):
    with racing_threads(2):
        race(sums_of(shape, seed=1), wanted=3)


@pytest.mark.parametrize("shape", [(5, 9000), (4, 3, 1000, 2), (3, 40_000, 1)])
@pytest.mark.parametrize("threads", [2, 3])
def test_each_result_is_the_sum_of_its_partials_in_some_order(shape, threads):
    with racing_threads(threads):
        raced = race(sums_of(shape, seed=2), wanted=3)
    rows = philox_normal((*shape[:-1], shape[-1] * raced.size), seed=2).flatten(1).numpy()
    right = np.zeros((len(raced.results), rows.shape[1]), bool)
    for order in itertools.permutations(range(shape[0])):
        total = np.add.accumulate(rows[list(order)], 0)[-1]
        for number, result in enumerate(raced.results):
            right[number] |= total == result.flatten().numpy()
    assert right.all()


def test_every_element_of_every_layout_is_added_once():
    # Sums of integers are exact in any order.
    x = philox_randint(-99, 100, (6, 50, 41, 3), seed=3).float()
    for view in (x, x.permute(0, 3, 1, 2), x[:, ::2], x.permute(1, 0, 2, 3), x.permute(3, 2, 1, 0)):
        for dim in range(4):
            with racing_threads(2):
                got = nondet_ext.sum(view, dim, order="atomic")
            assert torch.equal(got, view.sum(dim))


def test_threads_race_only_inside_racing_threads():
    add = sums_of((8, 30_000), seed=1)
    with deterministic():
        assert len(different(lambda: add(1), 30)) == 1
        with racing_threads(2):
            with racing_threads(3):
                pass
            size = race(add).size
        assert len(different(lambda: add(size), 30)) == 1


@pytest.mark.parametrize(
    ("make_layer", "shape"),
    [
        (lambda size: nn.Linear(300 * size, 40), (64, 300)),
        (lambda size: nn.Conv2d(32 * size, 48, 3, bias=False), (16, 32, 8, 8)),
        (lambda size: nn.BatchNorm1d(4000 * size), (24, 4000)),
    ],
    ids=["linear", "conv", "batch norm"],
)
def test_layers_race_where_torch_has_one_thread(make_layer, shape):
    @cache
    def prepared(size):
        model = lowlevel.convert(make_layer(size), order="atomic")
        input = philox_normal((shape[0], shape[1] * size, *shape[2:]), seed=1)
        return model, input, philox_normal(tuple(model(input).shape), seed=2)

    def weight_gradient(size, order):
        model, input, upstream = prepared(size)
        lowlevel.set_order([model], order, 0, 0)
        model.zero_grad()
        model(input).backward(upstream)
        return model.weight.grad

    with deterministic():
        size = race(lambda size: weight_gradient(size, "atomic")).size
        assert len(different(lambda: weight_gradient(size, "fixed"), 10)) == 1


def test_embeddings_race():
    model = lowlevel.convert(nn.Embedding(20, 64), order="atomic")

    @cache
    def prepared(size):
        tokens = philox_randint(0, 20, (4000 * size,), seed=1)
        return tokens, philox_normal((4000 * size, 64), seed=2)

    def weight_gradient(size):
        tokens, upstream = prepared(size)
        model.zero_grad()
        model(tokens).backward(upstream)
        return model.weight.grad

    with deterministic():
        race(weight_gradient)
