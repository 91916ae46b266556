import math

import pytest
import torch

from nondet.keys import Key
from nondet.models import build_model, set_step_key, stochastic_layers
from nondet.models.dropout import Dropout, Zoneout
from nondet.studies.seeds import Seeds
from nondet_ext import philox_normal, philox_uniform

KEY = Seeds(stochastic=7).key("stochastic")
ONES = torch.ones(50, 40)


def mask(p=0.25, key=KEY, step=3, number=0):
    layer = Dropout(p)
    set_step_key([Dropout(p)] * number + [layer], key, step)
    return layer(ONES)


def test_mask_is_the_draw_of_its_step_and_layer():
    draw = philox_uniform((50, 40), seed=KEY.seed, stream=KEY.stream, counter=(3, 2))
    expected = torch.where(draw >= 0.25, torch.tensor(1 / 0.75), torch.tensor(0.0))
    assert torch.equal(mask(number=2), expected)


def test_masks_differ_by_seed_step_and_layer_and_by_nothing_else():
    first = mask()
    assert torch.equal(first, mask())
    torch.rand(1)
    assert torch.equal(first, mask())
    other = Seeds(stochastic=8).key("stochastic")
    for different in (mask(key=other), mask(step=4), mask(number=1)):
        # Independent masks agree in 0.25**2 + 0.75**2 = 0.625 of 2,000 places, +- 5 sd.
        agreement = (different == first).float().mean().item()
        assert abs(agreement - 0.625) < 5 * math.sqrt(0.625 * 0.375 / 2000)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_zeros_come_with_probability_p_and_the_mean_stays(p):
    values = mask(p)
    kept = (values != 0).float().mean().item()
    assert abs(kept - (1 - p)) < 5 * math.sqrt(p * (1 - p) / 2000)
    assert values[values != 0].unique().tolist() == pytest.approx([1 / (1 - p)])


def test_gradient_passes_where_values_pass():
    layer = Dropout(0.5)
    layer.set_step_key(KEY, 0, 0)
    x = philox_normal((20, 30), seed=1).requires_grad_()
    upstream = philox_normal((20, 30), seed=2)
    out = layer(x)
    out.backward(upstream)
    assert torch.equal(x.grad, upstream * (out.detach() != 0) * 2)


def test_nothing_happens_in_evaluation_or_without_probability():
    assert Dropout(0.5).eval()(ONES) is ONES
    assert Dropout(0.0)(ONES) is ONES


def test_training_without_a_step_is_refused():
    with pytest.raises(RuntimeError, match="dropout in training mode: set_step_key"):
        Dropout(0.5)(ONES)
    with pytest.raises(RuntimeError, match="zoneout in training mode: set_step_key"):
        _ = Zoneout(0.5).step_key


@pytest.mark.parametrize("p", [-0.1, 1.0, math.nan])
def test_probability_out_of_range_is_refused(p):
    with pytest.raises(ValueError, match="dropout is"):
        Dropout(p)
    with pytest.raises(ValueError, match="zoneout is"):
        Zoneout(p)


@pytest.mark.parametrize(
    ("name", "last", "sites"),
    [
        ("linear", "fc", 1),
        ("hidden", "fc2", 1),
        ("hidden-conv", "fc", 1),
        ("mnist", "fc2", 2),
        ("resnet14-w8", "fc", 1),
        ("vgg11", "fc", 1),
        ("shufflenet-x0.5", "fc", 1),
    ],
)
def test_the_input_of_every_models_last_layer_is_dropped(name, last, sites):
    images = philox_normal((6, 1, 8, 8), seed=1)
    plain, dropped = (build_model(name, (1, 8, 8), 10, Key(1, 1), dropout=p) for p in (0.0, 0.5))
    assert stochastic_layers(plain) == []
    layers = stochastic_layers(dropped)
    assert len(layers) == sites
    state = plain.state_dict()
    assert list(dropped.state_dict()) == list(state)
    assert all(torch.equal(state[path], x) for path, x in dropped.state_dict().items())

    seen = []
    for model in (plain, dropped):
        model.get_submodule(last).register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    set_step_key(layers, KEY, 5)
    dropped(images)
    size = tuple(seen[0].shape)
    draw = philox_uniform(size, seed=KEY.seed, stream=KEY.stream, counter=(5, sites - 1))
    assert (seen[0][draw < 0.5] == 0).all()
    if sites == 1:
        plain(images)
        assert torch.equal(seen[0], seen[1] * (draw >= 0.5) * 2)
        assert seen[1].any()
    assert torch.equal(plain.eval()(images), dropped.eval()(images))


def test_the_mnist_network_also_drops_behind_its_pool():
    model = build_model("mnist", (1, 8, 8), 10, Key(1, 1), dropout=0.5)
    layers = stochastic_layers(model)
    assert layers == [model.dropout1, model.dropout2]
    set_step_key(layers, KEY, 0)
    assert not torch.equal(layers[0](ONES), layers[1](ONES))

    seen = []
    model.fc1.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    model(philox_normal((6, 1, 8, 8), seed=1))
    draw = philox_uniform((6, 256), seed=KEY.seed, stream=KEY.stream, counter=(0, 0))
    assert (seen[0][draw < 0.5] == 0).all()
    assert seen[0].any()
