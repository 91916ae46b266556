"""Random resized crops: pixels against Pillow's, and their law against torchvision's."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import chi2_contingency
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.transforms import InterpolationMode, RandomResizedCrop, functional

from nondet.data.resized_crop import TRIES, apply_crops, draw_crops
from nondet.studies.seeds import Seeds
from nondet_ext import philox_uniform

KEY = Seeds(augment=12).key("augment")
SIZES = [(32, 32), (9, 5), (5, 12), (40, 24), (1, 1), (2, 3), (60, 7), (3, 50)]


def pixels(*shape):
    return torch.from_numpy(np.random.default_rng(5).integers(0, 256, shape, np.uint8))


def by_pillow(image, crop):
    """Crop and scale one image by torchvision, which leaves it to Pillow."""
    size = list(image.shape[1:])
    scaled = functional.resized_crop(
        functional.to_pil_image(image), *crop, size, InterpolationMode.BILINEAR
    )
    return functional.pil_to_tensor(scaled)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [1, 3])
def test_pixels_are_those_of_pillow(size, channels):
    images = pixels(60, channels, *size)
    before = images.clone()
    crops = draw_crops(torch.arange(60), KEY, 3, *size)
    found = apply_crops(images, crops)
    assert found.dtype == torch.uint8
    expected = [by_pillow(*each) for each in zip(images, crops.tolist(), strict=True)]
    assert torch.equal(found, torch.stack(expected))
    assert torch.equal(images, before)


def test_pixels_of_every_crop_of_a_small_image_are_those_of_pillow():
    height, width = 5, 6
    crops = torch.tensor(
        [
            (top, left, rows, columns)
            for rows in range(1, height + 1)
            for columns in range(1, width + 1)
            for top in range(height - rows + 1)
            for left in range(width - columns + 1)
        ]
    )
    images = pixels(len(crops), 2, height, width)[:, :1]
    expected = [by_pillow(*each) for each in zip(images, crops.tolist(), strict=True)]
    assert torch.equal(apply_crops(images, crops), torch.stack(expected))


@pytest.mark.parametrize("value", [0, 1, 254, 255])
def test_constant_images_stay_as_they_are(value):
    images = torch.full((50, 3, 19, 33), value, dtype=torch.uint8)
    crops = draw_crops(torch.arange(50), KEY, 0, 19, 33)
    assert torch.equal(apply_crops(images, crops), images)


def test_the_whole_image_stays_as_it_is():
    images = pixels(4, 3, 7, 9)
    assert torch.equal(apply_crops(images, torch.tensor([[0, 0, 7, 9]] * 4)), images)


def test_an_image_does_not_depend_on_its_batch_or_layout(monkeypatch):
    images = pixels(30, 3, 20, 24)
    crops = draw_crops(torch.arange(30), KEY, 1, 20, 24)
    together = apply_crops(images, crops)
    one_by_one = [apply_crops(images[i : i + 1], crops[i : i + 1]) for i in range(30)]
    assert torch.equal(torch.cat(one_by_one), together)
    last = images.to(memory_format=torch.channels_last)
    assert torch.equal(apply_crops(last, crops), together)
    monkeypatch.setattr("nondet.data.resized_crop._CHUNK", 1)
    assert torch.equal(apply_crops(images, crops), together)


def plain_crop(example, epoch, height, width):
    """Choose a crop as torchvision's RandomResizedCrop.get_params does, one number at a time."""
    draws = philox_uniform(
        (TRIES, 4),
        seed=KEY.seed,
        stream=KEY.stream,
        counter=(epoch, example, 2),
        dtype=torch.float64,
    )
    for area, ratio, top, left in draws.tolist():
        target = height * width * (0.08 + area * (1.0 - 0.08))
        aspect = math.exp(math.log(3 / 4) + ratio * (math.log(4 / 3) - math.log(3 / 4)))
        columns, rows = round(math.sqrt(target * aspect)), round(math.sqrt(target / aspect))
        if 0 < columns <= width and 0 < rows <= height:
            top, left = int(top * (height - rows + 1)), int(left * (width - columns + 1))
            return top, left, rows, columns
    rows, columns = height, width
    if width / height < 3 / 4:
        rows = round(width / (3 / 4))
    elif width / height > 4 / 3:
        columns = round(height * (4 / 3))
    return (height - rows) // 2, (width - columns) // 2, rows, columns


@pytest.mark.parametrize("size", SIZES)
def test_crops_follow_the_algorithm_step_by_step(size):
    crops = draw_crops(torch.arange(200), KEY, 7, *size)
    assert [tuple(crop) for crop in crops.tolist()] == [plain_crop(i, 7, *size) for i in range(200)]


@pytest.mark.parametrize("size", [(8, 8), (6, 9), (7, 3), (4, 30)])
def test_crops_are_distributed_as_those_of_torchvision(size):
    """Chi-square tests that both sets of counts have one law; seeds are fixed."""
    count = 6000
    ours = draw_crops(torch.arange(count), KEY, 0, *size).numpy()
    torch.manual_seed(3)
    image = torch.empty(1, *size)
    transform = RandomResizedCrop(size)
    theirs = np.array(
        [transform.get_params(image, transform.scale, transform.ratio) for _ in range(count)]
    )
    for columns in ((0,), (1,), (2,), (3,), (2, 3), (0, 2), (1, 3)):
        names, cells = np.unique(
            np.vstack([ours[:, columns], theirs[:, columns]]), axis=0, return_inverse=True
        )
        cells = cells.reshape(2, count)
        counts = np.array([np.bincount(each, minlength=len(names)) for each in cells])
        rare = counts.sum(0) < 20
        counts = np.column_stack([counts[:, ~rare], counts[:, rare].sum(1)])
        counts = counts[:, counts.sum(0) > 0]
        if counts.shape[1] > 1:
            assert chi2_contingency(counts).pvalue > 1e-4, columns


def test_draws_depend_on_the_example_not_on_its_place():
    every = draw_crops(torch.arange(500), KEY, 3, 30, 40)
    some = torch.tensor([499, 5, 5, 0])
    assert torch.equal(draw_crops(some, KEY, 3, 30, 40), every[some])
    assert not torch.equal(draw_crops(torch.arange(500), KEY, 4, 30, 40), every)
    other = Seeds(augment=13).key("augment")
    assert not torch.equal(draw_crops(torch.arange(500), other, 3, 30, 40), every)


def test_no_examples_have_no_crops():
    crops = draw_crops(torch.arange(0), KEY, 0, 5, 5)
    assert crops.shape == (0, 4)
    assert apply_crops(pixels(0, 3, 5, 5), crops).shape == (0, 3, 5, 5)


INEXACT = {"sqrt", "rsqrt", "exp", "expm1", "log", "log1p", "pow", "sin", "cos", "mean", "sum"}
"""Operators of torch whose last bit differs between processors or numbers of threads."""


class Called(TorchDispatchMode):
    """The names of the operators that are called inside the block."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, function, types, arguments=(), named=None):
        self.names.add(function.overloadpacket.__name__.rstrip("_"))
        return function(*arguments, **(named or {}))


def test_no_operator_rounds_differently_elsewhere():
    with Called() as called:
        apply_crops(pixels(5, 3, 20, 30), draw_crops(torch.arange(5), KEY, 0, 20, 30))
    assert {"mul", "div", "gather"} <= called.names
    assert not called.names & INEXACT
