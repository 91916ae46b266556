import pytest
import torch
from torch.nn.functional import conv2d, linear

from nondet.keys import Key
from nondet.models import build_model, representations
from nondet_ext import philox_normal, philox_uniform

SHAPE = (2, 8, 8)
RESNET14 = ["conv1", "block1.1", "block1", "block2.1", "block2", "block3.1", "block3"]


@pytest.fixture(scope="module")
def images():
    return philox_normal((5, *SHAPE), seed=1)


@pytest.fixture
def model():
    model = build_model("resnet14-w8", SHAPE, 10, Key(1, 1))
    for number, tensor in enumerate(model.state_dict().values()):
        if tensor.ndim == 1:
            tensor.copy_(philox_uniform(tuple(tensor.shape), seed=2, counter=(number,)) + 0.5)
    return model


def test_representations_are_what_the_layers_put_out(model, images):
    found = representations(model, images)
    assert list(found) == [*RESNET14, "avgpool", "logits"]

    model.eval()
    x = conv2d(images, model.conv1.weight, padding=1)
    assert torch.equal(found["conv1"], x)
    x = model.bn1(x).relu()
    for name, block in zip(RESNET14[1:], model.blocks, strict=True):
        x = block(x)
        assert torch.equal(found[name], x)
    x = x.mean((2, 3))
    assert torch.equal(found["avgpool"], x)
    assert torch.equal(found["logits"], linear(x, model.fc.weight, model.fc.bias))
    assert torch.equal(found["logits"], model(images))


@pytest.mark.parametrize(
    ("name", "taps"),
    [
        ("linear", ["logits"]),
        ("hidden", ["hidden", "logits"]),
        ("hidden-conv", ["conv1", "hidden", "logits"]),
        ("mnist", ["conv1", "conv2", "hidden", "logits"]),
        ("resnet6", ["conv1", "block1.1", "block1", "avgpool", "logits"]),
        ("vgg11", ["conv1", *(f"block{i}" for i in range(1, 6)), "avgpool", "logits"]),
    ],
)
def test_taps_of_the_other_models(name, taps, images):
    model = build_model(name, SHAPE, 10, Key(1, 1))
    found = representations(model, images)
    assert list(found) == taps
    assert torch.equal(found["logits"], model.eval()(images))
    if name == "vgg11":
        # After the pools: images of 32 x 32 are halved five times.
        assert [found[f"block{i}"].shape[2] for i in range(1, 6)] == [16, 8, 4, 2, 1]
    if "hidden" in found:
        last = model.fc2 if name != "hidden-conv" else model.fc
        again = linear(found["hidden"].flatten(1), last.weight, last.bias)
        assert torch.equal(found["logits"], again)


def test_every_block_of_a_shufflenet_has_a_tap(images):
    model = build_model("shufflenet-x0.5", SHAPE, 10, Key(1, 1))
    names = [f"block{stage}.{i}" for stage in (1, 2, 3) for i in range(1, (4, 8, 4)[stage - 1])]
    found = representations(model, images, ["conv1", *names, "block1", "block2", "block3"])
    assert [found[f"block{stage}"].shape[1:] for stage in (1, 2, 3)] == [
        (48, 4, 4),
        (96, 2, 2),
        (192, 1, 1),
    ]
    # Half the channels pass a unit unchanged, to every second place.
    assert torch.equal(found["block3"][:, ::2], found["block3.3"][:, :96])


def test_batches_are_put_together_in_order(model, images):
    whole, parts = representations(model, images), representations(model, images, batch_size=2)
    for name in whole:
        torch.testing.assert_close(parts[name], whole[name])


def test_names_are_chosen_and_ordered_by_the_caller(model, images):
    found = representations(model, images, ["logits", "block2"])
    assert [(name, tuple(x.shape)) for name, x in found.items()] == [
        ("logits", (5, 10)),
        ("block2", (5, 16, 4, 4)),
    ]


def test_the_model_is_left_as_it_was(model, images):
    model.train()
    model.bn1.eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    representations(model, images)
    with pytest.raises(RuntimeError):
        representations(model, images[:, :1])
    assert all(torch.equal(before[name], x) for name, x in model.state_dict().items())
    assert not model.bn1.training
    assert model.training
    assert model.blocks[0].bn1.training
    assert not any(module._forward_hooks for module in model.modules())


def test_wrong_arguments_are_refused(model, images):
    with pytest.raises(
        ValueError, match=r"names has 'block4'; taps of the model: conv1, block1\.1"
    ):
        representations(model, images, ["block4"])
    with pytest.raises(ValueError, match="batch_size is 0"):
        representations(model, images, batch_size=0)
    with pytest.raises(ValueError, match="no images"):
        representations(model, images[:0])
