import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from nondet.data import epoch_order, load_dataset, random_shifts, shift
from nondet.seeds import Seeds

KEY = Seeds().key("augment")


def test_digits_are_split_by_index_and_nothing_is_lost(digits):
    source = load_digits()
    of_test = [i for i in range(1797) if i % 4 == 0]
    of_train = [i for i in range(1797) if i % 4 != 0]
    assert (len(of_test), len(of_train)) == (450, 1347)
    assert digits.test_labels.tolist() == source.target[of_test].tolist()
    assert digits.train_labels.tolist() == source.target[of_train].tolist()

    mean, std = (source.images[of_train] / 16).mean(), (source.images[of_train] / 16).std()
    for images, indices in ((digits.test_images, of_test), (digits.train_images, of_train)):
        expected = (source.images[indices] / 16 - mean) / std
        assert images.dtype == torch.float32
        np.testing.assert_array_equal(images[:, 0].numpy(), expected.astype(np.float32))


def test_background_is_the_value_of_an_empty_pixel(digits):
    assert digits.image_shape == (1, 8, 8)
    assert digits.background.item() == digits.train_images.min().item() != 0


def test_every_class_is_in_both_parts(digits):
    assert set(digits.train_labels.tolist()) == set(digits.test_labels.tolist()) == set(range(10))


def test_unknown_data_set_is_refused():
    with pytest.raises(ValueError, match="dataset is 'mnist'; known data sets: digits"):
        load_dataset("mnist")


def naive_shift(images, offsets, background):
    moved = torch.empty_like(images)
    n, channels, height, width = images.shape
    for i in range(n):
        down, right = offsets[i].tolist()
        for c in range(channels):
            for y in range(height):
                for x in range(width):
                    y0, x0 = y - down, x - right
                    inside = 0 <= y0 < height and 0 <= x0 < width
                    moved[i, c, y, x] = images[i, c, y0, x0] if inside else background[c]
    return moved


def test_shift_moves_pixels_as_a_loop_does():
    images = torch.arange(7 * 2 * 3 * 5, dtype=torch.float32).view(7, 2, 3, 5)
    offsets = torch.tensor([[0, 0], [1, 0], [0, -1], [-1, 2], [2, 2], [-3, 1], [9, -9]])
    background = torch.tensor([-1.0, -2.0])
    expected = naive_shift(images, offsets, background)
    assert torch.equal(shift(images, offsets, background), expected)


def test_shifts_belong_to_the_example_not_to_its_place():
    every = random_shifts(torch.arange(1000), KEY, epoch=3, max_shift=1)
    some = torch.tensor([999, 5, 5, 0])
    assert torch.equal(random_shifts(some, KEY, epoch=3, max_shift=1), every[some])
    assert not torch.equal(random_shifts(torch.arange(1000), KEY, epoch=4, max_shift=1), every)


def test_shifts_are_spread_evenly_over_all_directions():
    shifts = random_shifts(torch.arange(9000), KEY, epoch=0, max_shift=1)
    counts = np.unique(shifts.numpy(), axis=0, return_counts=True)[1]
    # Binomial(9000, 1/9): mean 1000, standard deviation 29.8; five of them on either side.
    assert len(counts) == 9
    assert abs(counts - 1000).max() < 5 * 29.8


def test_order_is_a_permutation_of_its_own_for_every_epoch():
    key = Seeds().key("shuffle")
    orders = [epoch_order(1347, key, epoch, "cpu") for epoch in range(3)]
    for order in orders:
        assert sorted(order.tolist()) == list(range(1347))
    assert len({tuple(order.tolist()) for order in orders}) == 3
    assert torch.equal(epoch_order(1347, key, 1, "cpu"), orders[1])
