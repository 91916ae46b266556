"""Tests of augmentation against torchvision, and of the distribution of its draws."""

import numpy as np
import pytest
import torch
from torchvision.transforms import functional

from nondet.data import Augmentation, apply_augmentation, draw_augmentation
from nondet.studies.seeds import Seeds
from nondet_ext import philox_bits, philox_randint

KEY = Seeds(augment=12).key("augment")


def as_torchvision(images, augmentation, padding):
    """Apply RandomCrop(padding=...) and RandomHorizontalFlip with these draws to each image."""
    height, width = images.shape[2:]
    augmented = []
    for image, (down, right), flip in zip(
        images, augmentation.offsets.tolist(), augmentation.flips.tolist(), strict=True
    ):
        padded = functional.pad(image, [padding] * 4)
        moved = functional.crop(padded, padding - down, padding - right, height, width)
        augmented.append(functional.hflip(moved) if flip else moved)
    return torch.stack(augmented)


def pixels(*shape):
    return torch.from_numpy(np.random.default_rng(5).integers(1, 256, shape, np.uint8))


@pytest.mark.parametrize(
    ("shape", "padding", "flip"),
    [
        ((200, 3, 32, 32), 4, True),
        ((50, 1, 28, 28), 2, False),
        ((40, 2, 5, 9), 3, True),
        ((40, 1, 9, 5), 0, True),
        ((30, 2, 3, 2), 5, True),
        ((1, 4, 1, 1), 1, True),
    ],
)
def test_pixels_are_those_of_torchvision(shape, padding, flip):
    images = pixels(*shape)
    before = images.clone()
    drawn = draw_augmentation(torch.arange(len(images)), KEY, 3, padding, flip)
    moved = apply_augmentation(images, drawn)
    assert moved.dtype == torch.uint8
    assert torch.equal(moved, as_torchvision(images, drawn, padding))
    assert torch.equal(images, before)


def test_every_offset_with_and_without_flip():
    images = pixels(1, 2, 4, 5)
    for down, right in torch.cartesian_prod(torch.arange(-6, 7), torch.arange(-6, 7)).tolist():
        for flip in (False, True):
            augmentation = Augmentation(torch.tensor([[down, right]]), torch.tensor([flip]))
            moved = apply_augmentation(images, augmentation)
            assert torch.equal(moved, as_torchvision(images, augmentation, 6)), (down, right, flip)


def test_images_need_not_be_contiguous():
    images = pixels(6, 8, 9, 3).permute(0, 3, 2, 1)
    drawn = draw_augmentation(torch.arange(6), KEY, 0, 2, True)
    assert torch.equal(apply_augmentation(images, drawn), as_torchvision(images, drawn, 2))


def test_draws_depend_on_the_example_not_on_its_place():
    every = draw_augmentation(torch.arange(1000), KEY, 3, 2, True)
    some = torch.tensor([999, 5, 5, 0])
    chosen = draw_augmentation(some, KEY, 3, 2, True)
    assert torch.equal(chosen.offsets, every.offsets[some])
    assert torch.equal(chosen.flips, every.flips[some])
    other_seed = Seeds(augment=13).key("augment")
    for other in (
        draw_augmentation(torch.arange(1000), KEY, 4, 2, True),
        draw_augmentation(torch.arange(1000), other_seed, 3, 2, True),
    ):
        assert not torch.equal(other.offsets, every.offsets)
        assert not torch.equal(other.flips, every.flips)


def test_draws_are_philox_draws_of_epoch_and_example():
    examples = list(range(30, 60))
    drawn = draw_augmentation(torch.tensor(examples), KEY, 7, 4, True)
    key = {"seed": KEY.seed, "stream": KEY.stream}
    offsets = [philox_randint(-4, 5, 2, counter=(7, i), **key).tolist() for i in examples]
    words = [philox_bits(1, counter=(7, i, 1), **key).item() for i in examples]
    assert drawn.offsets.tolist() == offsets
    assert drawn.flips.tolist() == [word % 2 == 1 for word in words]


def test_crop_and_flip_are_drawn_independently():
    examples = torch.arange(100)
    both = draw_augmentation(examples, KEY, 0, 4, True)
    assert torch.equal(draw_augmentation(examples, KEY, 0, 4, False).offsets, both.offsets)
    assert torch.equal(draw_augmentation(examples, KEY, 0, 0, True).flips, both.flips)
    neither = draw_augmentation(examples, KEY, 0, 0, False)
    assert not neither.offsets.any()
    assert not neither.flips.any()


def test_all_crops_and_flips_are_equally_frequent():
    drawn = draw_augmentation(torch.arange(18_000), KEY, 0, 1, True)
    cells = torch.column_stack([drawn.offsets, drawn.flips])
    counts = np.unique(cells.numpy(), axis=0, return_counts=True)[1]
    # Binomial(18000, 1/18): mean 1000, standard deviation 30.7; five of them on either side.
    assert len(counts) == 18
    assert abs(counts - 1000).max() < 5 * 30.7
