import math

import pytest
import torch
from torch import nn

from nondet.models import build_model
from nondet.models.initialize import initialize
from nondet.models.resnet import Block
from nondet.names import MODELS
from nondet.seeds import Key, Seeds

KEY = Seeds().key("init")


def build(name, key=KEY):
    return build_model(name, (1, 8, 8), 10, key)


# Counted by hand. ResNet: 72 + 16 for the first convolution and its batch norm; stages of 2,368,
# 3,536 + 4,672 and 13,984 + 18,560; 330 for the last layer.
@pytest.mark.parametrize(
    ("name", "count"),
    [("linear", 64 * 10 + 10), ("hidden", 65 * 512 + 513 * 10), ("resnet14-w8", 43538)],
)
def test_parameter_count(name, count):
    assert sum(parameter.numel() for parameter in build(name).parameters()) == count


@pytest.mark.parametrize("name", MODELS)
def test_models_map_images_to_finite_logits(name):
    model = build(name).eval()
    logits = model(torch.linspace(-1, 1, 3 * 64).view(3, 1, 8, 8))
    assert logits.shape == (3, 10)
    assert logits.isfinite().all()


@pytest.mark.parametrize("name", MODELS)
def test_initial_state_is_a_function_of_the_key_alone(name):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = build(name).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    second = build(name).state_dict()
    other = build(name, Seeds(init=2).key("init")).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert not torch.equal(
        first["fc.weight" if name != "hidden" else "fc1.weight"], next(iter(other.values()))
    )


def test_names_known_to_the_command_line_are_those_of_the_registry():
    with pytest.raises(ValueError, match="model is 'vgg'; known models: " + ", ".join(MODELS)):
        build("vgg")


def test_fully_connected_layers_are_uniform_within_their_bound():
    model = build("hidden")
    for layer, fan_in in ((model.fc1, 64), (model.fc2, 512)):
        bound = 1 / math.sqrt(fan_in)
        for parameter in (layer.weight, layer.bias):
            assert parameter.abs().max() <= bound
        # Uniform on (-b, b) has standard deviation b / sqrt(3), its estimate from n values a
        # relative error of sqrt(0.2 / n), n >= 5,120: 3% is five of those.
        assert layer.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.03)


def test_convolutions_are_normal_with_variance_two_over_fan_out():
    weight = build("resnet14-w8").blocks[5].conv2.weight
    std = math.sqrt(2 / (32 * 9))
    # 9,216 normal values: the estimate of the standard deviation has a relative error of 0.74%, of
    # the mean 0.0104 std.
    assert weight.std().item() == pytest.approx(std, rel=0.04)
    assert abs(weight.mean().item()) < 0.052 * std


def test_equally_shaped_layers_start_differently():
    blocks = build("resnet14-w8").blocks
    assert not torch.equal(blocks[0].conv1.weight, blocks[0].conv2.weight)
    assert not torch.equal(blocks[0].conv1.weight, blocks[1].conv1.weight)


def test_block_starts_as_its_shortcut():
    model = build("resnet14-w8").eval()
    assert all(
        (block.bn2.weight == 0).all() and (block.bn1.weight == 1).all() for block in model.blocks
    )
    x = torch.arange(2 * 8 * 4 * 4, dtype=torch.float32).view(2, 8, 4, 4) - 50
    assert torch.equal(model.blocks[0](x), x.relu())

    halving = model.blocks[2]
    assert isinstance(halving, Block)
    kept = x[:, :, [0, 2]][:, :, :, [0, 2]] / math.sqrt(1 + 1e-5)
    out = halving(x)
    assert out.shape == (2, 16, 2, 2)
    torch.testing.assert_close(out[:, :8], kept.relu())
    assert (out[:, 8:] == 0).all()


def test_layer_without_a_rule_is_refused():
    with pytest.raises(TypeError, match="no rule for the parameters of Embedding"):
        initialize(nn.Sequential(nn.Embedding(3, 4)), Key(1, 1))
    with pytest.raises(TypeError, match="no rule for the bias of a convolution"):
        initialize(nn.Sequential(nn.Conv2d(1, 1, 1)), Key(1, 1))
