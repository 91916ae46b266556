"""The memory format of images follows from the model and the device."""

import pytest
import torch

from nondet.keys import Key
from nondet.models import build_model
from nondet.models.memory_format import to_memory_format
from nondet_ext import philox_normal

SHAPE = (3, 8, 8)


@pytest.mark.parametrize("name", ["hidden-conv", "resnet6-w2"])
def test_convolutions_on_a_cpu_read_channels_last(name):
    images = philox_normal((4, *SHAPE), seed=1)
    found = to_memory_format(images, build_model(name, SHAPE, 10, Key(1, 1)))
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(found, images)


def test_other_images_are_returned_as_they_are():
    images = philox_normal((4, *SHAPE), seed=1)
    convolutional, linear = (
        build_model(name, SHAPE, 10, Key(1, 1)) for name in ("mnist", "linear")
    )
    assert to_memory_format(images, linear) is images
    elsewhere = images.to("meta")
    assert to_memory_format(elsewhere, convolutional) is elsewhere
