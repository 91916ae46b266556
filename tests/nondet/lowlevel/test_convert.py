"""Models that can be converted and models that are refused; a refusal changes nothing."""

import copy

import pytest
import torch
from torch import nn

from nondet import lowlevel
from nondet.keys import Key
from nondet.models import build_model
from nondet_ext import philox_normal


@pytest.mark.parametrize("name", ["linear", "hidden-conv", "resnet6-w2"])
def test_models_keep_their_state_and_forward_pass(name):
    plain = build_model(name, (3, 8, 8), 10, Key(1, 1))
    model = lowlevel.convert(copy.deepcopy(plain))
    images = philox_normal((6, 3, 8, 8), seed=1)
    assert torch.equal(model(images), plain(images))
    ours, theirs = model.state_dict(), plain.state_dict()
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    assert all(
        isinstance(each, (nn.Linear, nn.Conv2d, nn.BatchNorm2d)) for each in lowlevel.layers(model)
    )


def test_layers_are_numbered_in_the_order_of_the_model():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, affine=False), nn.ReLU())
    model.append(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)))
    lowlevel.convert(model, order="exact", chunks=3)
    layers = lowlevel.layers(model)
    assert layers == [model[0], model[3][1]]
    assert [vars(each.accumulation) for each in layers] == [
        {"order": "exact", "chunks": 3, "layer": number, "seed": None, "step": 0}
        for number in (0, 1)
    ]
    lowlevel.set_order(layers, "seeded", 4, 9)
    assert [vars(each.accumulation) for each in layers] == [
        {"order": "seeded", "chunks": 3, "layer": number, "seed": 4, "step": 9} for number in (0, 1)
    ]


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (nn.LayerNorm(3), "1 is a LayerNorm with parameters; layers that can be converted: Linear"),
        (nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular"), "only 'zeros' can be converted"),
        (nn.Conv2d(1, 1, 2, padding="same"), "more on one side than on the other"),
        (nn.Embedding(3, 2, max_norm=1.0), "1 is an Embedding with max_norm=1.0"),
        (nn.Embedding(3, 2, sparse=True), "1 is an Embedding with sparse=True"),
        (nn.Embedding(3, 2, scale_grad_by_freq=True), "scale_grad_by_freq=True"),
    ],
)
def test_layers_without_such_a_backward_pass_are_refused_before_anything_changes(layer, message):
    model = nn.Sequential(nn.Linear(2, 2), layer)
    with pytest.raises(TypeError, match=message):
        lowlevel.convert(model)
    assert type(model[0]) is nn.Linear


def test_a_model_is_converted_once():
    model = lowlevel.convert(nn.Sequential(nn.Linear(2, 2)))
    with pytest.raises(ValueError, match="0 has been converted before"):
        lowlevel.convert(model)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"order": "off"}, ValueError, "order is 'off'; known: fixed, seeded, atomic, exact"),
        ({"chunks": 0}, ValueError, "chunks is 0; it must be at least 1"),
        ({"chunks": 2.0}, TypeError, "chunks is 2.0; it must be an integer"),
    ],
)
def test_arguments_of_a_conversion_are_checked(arguments, error, message):
    model = nn.Sequential(nn.Linear(2, 2))
    with pytest.raises(error, match=message):
        lowlevel.convert(model, **arguments)
    assert type(model[0]) is nn.Linear


def test_arguments_of_a_step_are_checked():
    layers = [lowlevel.convert(nn.Linear(2, 2))]
    for arguments, message in [
        (("random", 0, 0), "order is 'random'"),
        (("seeded", -1, 0), "seed is -1"),
        (("seeded", 0, 2**32), "step is 4294967296"),
    ]:
        with pytest.raises(ValueError, match=message):
            lowlevel.set_order(layers, *arguments)
    assert layers[0].accumulation.order == "fixed"


def test_a_seeded_order_needs_a_seed():
    layer = lowlevel.convert(nn.Linear(2, 2), order="seeded")
    with pytest.raises(RuntimeError, match="call set_order before each step"):
        layer(torch.ones(3, 2)).sum().backward()


@pytest.mark.parametrize(
    ("layer", "shape"),
    [(nn.Linear(3, 2), (4, 3)), (nn.Conv2d(3, 2, 1), (4, 3, 2, 2)), (nn.BatchNorm1d(3), (4, 3))],
    ids=["linear", "conv", "batch norm"],
)
def test_second_derivatives_and_autocast_are_refused(layer, shape):
    model = lowlevel.convert(layer)
    input = philox_normal(shape, seed=1).requires_grad_()
    (grad,) = torch.autograd.grad(model(input).square().sum(), input, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()
    with (
        torch.autocast("cpu", torch.bfloat16),
        pytest.raises(RuntimeError, match="autocast must be off"),
    ):
        model(input)


def test_batch_norm_refuses_a_single_value_per_channel():
    model = lowlevel.convert(nn.BatchNorm1d(3))
    with pytest.raises(ValueError, match="needs more than one value per channel"):
        model(torch.ones(1, 3))
    assert model.num_batches_tracked == 0


def test_vendor_nondeterminism_sets_the_flags_and_restores_them():
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.deterministic = True
    try:
        with lowlevel.vendor_nondeterminism():
            assert not torch.are_deterministic_algorithms_enabled()
            assert not torch.backends.cudnn.deterministic
            assert torch.backends.cudnn.benchmark
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.backends.cudnn.deterministic
        assert not torch.backends.cudnn.benchmark
    finally:
        torch.use_deterministic_algorithms(False)
        torch.backends.cudnn.deterministic = False
