import math

import numpy as np
import pytest
import torch
from torch import nn

from nondet.keys import Key
from nondet.models import build_model, describe_upscaling
from nondet.models.fully_connected import HiddenConvolution
from nondet.models.initialize import initialize
from nondet.models.mnist import MnistNetwork
from nondet.models.resnet import Block, ResNet
from nondet.models.shufflenet import ShuffleNetV2
from nondet.models.vgg import VGG
from nondet.names import MODELS, check_model, is_language_model
from nondet.studies.seeds import Seeds
from nondet_ext import philox_normal, philox_uniform

KEY = Seeds().key("init")
IMAGE_MODELS = [name for name in MODELS if not is_language_model(name)]
DIGITS = (1, 8, 8)
CIFAR = (3, 32, 32)

SAMPLES = ("linear", "hidden", "hidden-conv", "mnist", "resnet14-w8", "shufflenet-x0.5")
"""A small model of each class; no VGG is small."""


def build(name, image_shape=DIGITS, key=KEY):
    return build_model(name, image_shape, 10, key)


def pixels(n, channels, height, width):
    size = (n, channels, height, width)
    return torch.linspace(-1, 1, math.prod(size)).sin().view(size)


# -- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", IMAGE_MODELS)
def test_every_name_is_a_model_of_ten_logits(name):
    check_model(name)
    logits = build(name).eval()(pixels(2, *DIGITS))
    assert logits.shape == (2, 10)
    assert logits.isfinite().all()


def test_language_models_are_built_elsewhere():
    with pytest.raises(ValueError, match="model is 'qrnn', a language model; build_language_model"):
        build("qrnn")


def test_unknown_names_are_refused_with_those_that_come_close():
    with pytest.raises(ValueError, match=r"model is 'vgg'; did you mean vgg1. or .*: linear, hid"):
        build("vgg")
    for name in ("resnet14-w", "resnet14-w08", "vgg11-w8", "resnet-w8", "resnet14-w8-w8", ""):
        with pytest.raises(ValueError, match=f"model is '{name}'; .*known models: linear"):
            check_model(name)


@pytest.mark.parametrize(
    ("name", "widths"),
    [("resnet14-w2", (2, 4, 8)), ("resnet18-w8", (8, 16, 32, 64)), ("resnet6-w128", (128,))],
)
def test_residual_networks_come_in_widths_of_an_eighth_to_eight_times_their_own(name, widths):
    model = build(name)
    assert [block.bn2.num_features for block in model.blocks[1::2]] == list(widths)


@pytest.mark.parametrize(
    ("name", "allowed"), [("resnet14-w1", "2 to 128"), ("resnet18-w513", "8 to 512")]
)
def test_other_widths_are_refused(name, allowed):
    with pytest.raises(ValueError, match=f"model is '{name}'.* {allowed} channels"):
        check_model(name)


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="image_shape is"):
        build_model("linear", (1, 0, 8), 10, KEY)
    with pytest.raises(ValueError, match="classes is 0"):
        build_model("linear", DIGITS, 0, KEY)
    with pytest.raises(ValueError, match=r"dropout is 1\.0"):
        build_model("linear", DIGITS, 10, KEY, dropout=1.0)


# -- image sizes ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("shape", [(2, 1, 1), (4, 9, 7)], ids=str)
def test_any_image_size_and_channel_count(name, shape):
    assert build(name, shape).eval()(pixels(2, *shape)).shape == (2, 10)


def test_small_images_are_enlarged_by_repeating_pixels():
    images = pixels(2, 1, 3, 5)
    small, large = (build("shufflenet-x0.5", shape).eval() for shape in ((1, 3, 5), (1, 9, 15)))
    enlarged = torch.from_numpy(np.kron(images.numpy(), np.ones((3, 3), np.float32)))
    assert (small.upscale, large.upscale) == (3, 1)
    assert torch.equal(small(images), large(enlarged))


def test_the_report_can_say_how_images_are_enlarged():
    assert describe_upscaling("vgg11", (1, 28, 28)) == (
        "vgg11 needs images of at least 32 x 32 pixels: every pixel of the 28 x 28 is repeated 2 "
        "times in each direction"
    )
    # Strides multiply to 8 in resnet18 and shufflenet; the digits have 8 x 8 pixels.
    for name in set(IMAGE_MODELS) - {"vgg11", "vgg13", "vgg16"}:
        assert describe_upscaling(name, DIGITS) is None
    assert "repeated 2 times" in describe_upscaling("resnet18", (3, 9, 7))


# -- initial weights -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", SAMPLES)
def test_initial_state_is_a_function_of_the_key_alone(name):
    before = torch.get_rng_state()
    first, second = build(name).state_dict(), build(name).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[path], second[path]) for path in first)

    other = build(name, key=Seeds(init=2).key("init")).state_dict()
    drawn = [path for path in first if not torch.equal(first[path], torch.ones_like(first[path]))]
    drawn = [path for path in drawn if first[path].any()]
    assert drawn
    assert not any(torch.equal(first[path], other[path]) for path in drawn)


def test_parameters_are_drawn_by_their_number():
    model = build("hidden-conv")
    for number, (parameter, fan_in) in enumerate(
        [
            (model.conv1.weight, 25),
            (model.conv1.bias, 25),
            (model.fc.weight, 64 * 16),
            (model.fc.bias, 64 * 16),
        ]
    ):
        draw = philox_uniform(
            tuple(parameter.shape), seed=KEY.seed, stream=KEY.stream, counter=(number,)
        )
        assert torch.equal(parameter, (2 * draw - 1) * (1 / math.sqrt(fan_in)))


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


class Convolutions(nn.Sequential):
    def __init__(self, uniform):
        super().__init__(nn.Conv2d(64, 128, 3, groups=4))
        self.uniform_convolutions = uniform


def test_a_grouped_convolution_has_the_fans_of_one_group():
    normal, uniform = Convolutions(False), Convolutions(True)
    initialize(normal, KEY)
    initialize(uniform, KEY)
    # 18,432 values; five standard errors are 2.6% for the normal law, 1.7% for the uniform one.
    assert normal[0].weight.std().item() == pytest.approx(math.sqrt(2 / (32 * 9)), rel=0.026)
    assert (normal[0].bias == 0).all()
    bound = 1 / math.sqrt(16 * 9)
    assert uniform[0].weight.abs().max() <= bound
    assert uniform[0].weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.017)
    assert 0 < uniform[0].bias.abs().max() <= bound


def test_networks_start_as_in_the_papers_code():
    assert not ResNet.uniform_convolutions
    for architecture in (HiddenConvolution, MnistNetwork, VGG, ShuffleNetV2):
        assert architecture.uniform_convolutions


def test_embeddings_are_standard_normal_but_for_the_padding():
    layer = nn.Embedding(5, 4, padding_idx=2)
    initialize(nn.Sequential(layer), KEY)
    draw = philox_normal((5, 4), seed=KEY.seed, stream=KEY.stream, counter=(0,))
    draw[2] = 0
    assert torch.equal(layer.weight, draw)


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
    with pytest.raises(TypeError, match="no rule for the parameters of PReLU"):
        initialize(nn.Sequential(nn.PReLU()), Key(1, 1))
