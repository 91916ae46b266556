"""Test that layers race in the atomic order even if torch computes with one thread, and that the
results are sums of the partial gradients in some order.
"""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

import nondet_ext
from factories.races import different, one_busy_core, race
from nondet import lowlevel
from nondet.lowlevel.accumulation import WEIGHT, Accumulation
from nondet.training.determinism import deterministic
from nondet_ext import philox_normal, philox_randint
from nondet_ext.threads import cpu_threads, one_thread


@pytest.fixture(params=[1, 2, 3])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("shape", [(5, 9000), (4, 3, 1000, 2), (3, 40_000, 1)])
@pytest.mark.usefixtures("threads")
def test_each_result_is_the_sum_of_its_partials_in_some_order(shape):
    partials = philox_normal(shape, seed=2)
    raced = race(lambda: nondet_ext.accumulate(partials, order="atomic"))
    rows = partials.flatten(1).numpy()
    right = np.zeros((len(raced), rows.shape[1]), bool)
    for order in itertools.permutations(range(shape[0])):
        total = np.add.accumulate(rows[list(order)], 0)[-1]
        for number, result in enumerate(raced):
            right[number] |= total == result.flatten().numpy()
    assert right.all()


@pytest.mark.usefixtures("threads")
def test_every_element_of_every_layout_is_added_once():
    # Sums of integers are exact in any order.
    x = philox_randint(-99, 100, (6, 50, 41, 3), seed=3).float()
    for view in (x, x.permute(0, 3, 1, 2), x[:, ::2], x.permute(1, 0, 2, 3), x.permute(3, 2, 1, 0)):
        for dim in range(4):
            got = nondet_ext.sum(view, dim, order="atomic")
            assert torch.equal(got, view.sum(dim))


LAYERS = {
    "linear": (lambda: nn.Linear(300, 40), lambda: philox_normal((64, 300), seed=1)),
    "convolution": (
        lambda: nn.Conv2d(32, 48, 3, bias=False),
        lambda: philox_normal((16, 32, 8, 8), seed=1),
    ),
    "batch norm": (lambda: nn.BatchNorm1d(4000), lambda: philox_normal((24, 4000), seed=1)),
    "embedding": (lambda: nn.Embedding(20, 64), lambda: philox_randint(0, 20, (4000,), seed=1)),
}


def test_small_partials_are_added_by_one_thread_unless_they_race(monkeypatch):
    used = []

    def accumulate(partials, *, order, seed):
        used.append(cpu_threads())
        return nondet_ext.accumulate(partials, order=order, seed=seed)

    monkeypatch.setattr("nondet.lowlevel.accumulation.accumulate", accumulate)
    small, large = torch.ones(4, 10), torch.ones(4, 1 << 19)
    with deterministic(3):
        for order in ("fixed", "seeded", "exact", "atomic"):
            adds = Accumulation(order, 4, layer=0, seed=1)
            assert torch.equal(adds.add(small, WEIGHT), torch.full((10,), 4.0))
            assert torch.equal(adds.add(large, WEIGHT), torch.full((1 << 19,), 4.0))
        assert used == [1, 3, 1, 3, 1, 3, 3, 3]
        with one_thread():
            with one_thread():
                pass
            assert cpu_threads() == 1
        assert cpu_threads() == 3


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("busy", [False, True])
def test_layers_race_where_torch_has_one_thread(name, busy):
    make_layer, make_input = LAYERS[name]
    model = lowlevel.convert(make_layer(), order="atomic")
    input = make_input()
    upstream = philox_normal(tuple(model(input).shape), seed=2)

    def weight_gradient(order):
        lowlevel.set_order([model], order, 0, 0)
        model.zero_grad()
        model(input).backward(upstream)
        return model.weight.grad

    with deterministic():
        assert torch.get_num_threads() == 1
        if busy:
            with one_busy_core():
                race(lambda: weight_gradient("atomic"))
        else:
            race(lambda: weight_gradient("atomic"))
        assert len(different(lambda: weight_gradient("fixed"), 10)) == 1
