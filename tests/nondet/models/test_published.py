"""The architectures compared with their publications: with published parameter counts, and with
torchvision's networks after the changes for small images in the paper's code.
"""

import pytest
import torch
from torch import nn
from torch.nn.functional import avg_pool2d

from nondet.keys import Key
from nondet.models import build_model
from nondet.models.resnet import Block
from nondet_ext import philox_normal, philox_uniform

SHORTCUT_NORMS = 2 * 16 + 2 * 32
"""Scales and offsets of the batch norms in the two shortcuts that halve the image: the paper's
addition to He et al. (2016).
"""

# VGG-A, B, D with 1,000 classes have 132,863,336, 133,047,848 and 138,357,544 parameters (133, 133
# and 138 million in Simonyan & Zisserman 2014, Table 2), 123,642,856 of them in the three linear
# layers. ShuffleNet V2 with 1,000 classes has 1,366,792 and 2,278,604 (1.4 and 2.3 million in Ma et
# al. 2018, Table 8), 1,025,000 of them in the last layer.
COUNTS = {
    "linear": 3072 * 10 + 10,
    "hidden": 3073 * 512 + 513 * 10,
    "hidden-conv": 64 * (3 * 25 + 1) + (64 * 16 * 16 + 1) * 10,
    "resnet6": 432 + 32 + 4 * (2304 + 32) + 170,
    "resnet10": 464 + 9344 + 4608 + 3 * 9216 + 4 * 64 + 32 + 330,
    "resnet14": 464 + 9344 + 32544 + 18432 + 3 * 36864 + 4 * 128 + 64 + 650,
    "resnet20": 269_722 + SHORTCUT_NORMS,
    "resnet32": 464_154 + SHORTCUT_NORMS,
    "resnet44": 658_586 + SHORTCUT_NORMS,
    "resnet56": 853_018 + SHORTCUT_NORMS,
    "vgg11": 132_863_336 - 123_642_856 + 2 * (64 + 128 + 512 + 1024 + 1024) + 5130,
    "vgg13": 133_047_848 - 123_642_856 + 2 * (128 + 256 + 512 + 1024 + 1024) + 5130,
    "vgg16": 138_357_544 - 123_642_856 + 2 * (128 + 256 + 768 + 1536 + 1536) + 5130,
    "shufflenet-x0.5": 1_366_792 - 1_025_000 + 1025 * 10,
    "shufflenet-x1": 2_278_604 - 1_025_000 + 1025 * 10,
}


def build(name, image_shape=(3, 32, 32)):
    return build_model(name, image_shape, 10, Key(1, 1))


def parameters(model):
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("name", COUNTS)
def test_parameter_count(name):
    assert parameters(build(name)) == COUNTS[name]


# In millions (He et al. 2016, Table 6).
@pytest.mark.parametrize(
    ("name", "millions"),
    [("resnet20", 0.27), ("resnet32", 0.46), ("resnet44", 0.66), ("resnet56", 0.85)],
)
def test_residual_networks_have_the_published_size(name, millions):
    model = build(name)
    norms = [block.shortcut_bn for block in model.blocks if block.shortcut_bn is not None]
    assert sum(map(parameters, norms)) == SHORTCUT_NORMS
    assert round((parameters(model) - SHORTCUT_NORMS) / 1e6, 2) == millions
    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(layers) == int(name.removeprefix("resnet"))


def test_mnist_network_has_the_size_of_the_pytorch_example():
    assert parameters(build("mnist", (1, 28, 28))) == 1_199_882


def randomized(model):
    """Set all scales, offsets and statistics to random values, so that none has no effect."""
    for number, tensor in enumerate(model.state_dict().values()):
        if tensor.ndim == 1:
            tensor.copy_(philox_uniform(tuple(tensor.shape), seed=3, counter=(number,)) + 0.5)
    return model


def copy_state(model, peer):
    """Load the state of the model into the peer, tensor by tensor in order."""
    state, names = model.state_dict(), peer.state_dict()
    assert [x.shape for x in state.values()] == [x.shape for x in names.values()]
    peer.load_state_dict(dict(zip(names, state.values(), strict=True)), assign=True)


def assert_same_network(model, peer, images):
    copy_state(randomized(model), peer)
    for training in (False, True):
        torch.testing.assert_close(
            model.train(training)(images), peer.train(training)(images), rtol=1e-5, atol=1e-5
        )


def test_shufflenet_is_torchvisions_with_a_finer_beginning():
    vision = pytest.importorskip("torchvision", reason="torchvision is not installed")
    with torch.device("meta"):
        peer = vision.models.shufflenet_v2_x0_5(num_classes=10)
    peer.conv1[0].stride = (1, 1)
    peer.maxpool = nn.Identity()
    images = philox_normal((4, 3, 32, 32), seed=1)
    assert_same_network(build("shufflenet-x0.5"), peer, images)


@pytest.mark.parametrize(("name", "configuration"), [("vgg11", "A"), ("vgg16", "D")])
def test_vgg_is_torchvisions_with_one_linear_layer(name, configuration):
    pytest.importorskip("torchvision", reason="torchvision is not installed")
    from torchvision.models.vgg import cfgs, make_layers

    with torch.device("meta"):
        features = make_layers(cfgs[configuration], batch_norm=True)
        peer = nn.Sequential(features, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))
    assert_same_network(build(name), peer, philox_normal((2, 3, 64, 32), seed=1))


class Shortcut(nn.Module):
    """A shortcut that subsamples, normalizes, and doubles the channels with zeros."""

    def __init__(self, channels):
        super().__init__()
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x):
        kept = self.bn(avg_pool2d(x, 1, stride=2))
        return torch.cat([kept, torch.zeros_like(kept)], dim=1)


@pytest.mark.parametrize("halving", [False, True])
def test_block_is_torchvisions_with_the_papers_shortcut(halving):
    pytest.importorskip("torchvision", reason="torchvision is not installed")
    from torchvision.models.resnet import BasicBlock

    channels, stride, shortcut = (16, 2, Shortcut(8)) if halving else (8, 1, None)
    with torch.random.fork_rng():
        block = Block(8, channels, stride)
        peer = BasicBlock(8, channels, stride, downsample=shortcut)
    assert_same_network(block, peer, philox_normal((4, 8, 7, 10), seed=1))
