"""Tests of data sets in memory, of the digits, and of the order of examples."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from nondet.data import batch, epoch_order, load_dataset, make_dataset
from nondet.names import DATASETS, check_dataset, image_folder
from nondet.studies.seeds import Seeds

KEY = Seeds().key("augment")


@pytest.fixture
def colours():
    """20 training and 6 test images of 5 x 7 pixels, with 2 channels of different brightness."""
    numbers = np.random.default_rng(3)
    images = numbers.integers([[[[0]], [[90]]]], [[[[30]], [[256]]]], (26, 2, 5, 7), np.uint8)
    labels = torch.arange(26) % 3
    pixels = torch.from_numpy(images)
    return make_dataset("colours", 3, pixels[:20], labels[:20], pixels[20:], labels[20:])


def test_digits_are_split_by_index_and_nothing_is_lost(digits):
    source = load_digits()
    of_test = [i for i in range(1797) if i % 4 == 0]
    of_train = [i for i in range(1797) if i % 4 != 0]
    assert (len(of_test), len(of_train)) == (450, 1347)
    assert digits.image_shape == (1, 8, 8)
    for images, labels, indices in (
        (digits.test_images, digits.test_labels, of_test),
        (digits.train_images, digits.train_labels, of_train),
    ):
        assert images.dtype == torch.uint8
        np.testing.assert_array_equal(images[:, 0].numpy(), source.images[indices])
        assert labels.tolist() == source.target[indices].tolist()
        assert set(labels.tolist()) == set(range(10))


def test_digits_share_one_mean_and_deviation(digits):
    pixels = load_digits().images[np.arange(1797) % 4 != 0]
    assert digits.mean.tolist() == [np.float32(pixels.mean())]
    assert digits.std.tolist() == [np.float32(pixels.std())]


def test_pixels_are_normalised_channel_by_channel(colours):
    stored = colours.train_images.numpy().astype(np.float64)
    mean, std = stored.mean((0, 2, 3)), stored.std((0, 2, 3))
    np.testing.assert_array_equal(colours.mean, mean.astype(np.float32))
    np.testing.assert_array_equal(colours.std, std.astype(np.float32))

    normalized = colours.normalized(colours.test_images)
    assert normalized.dtype == torch.float32
    expected = colours.test_images.numpy().astype(np.float32)
    expected = (expected - mean.astype(np.float32)[:, None, None]) / std.astype(np.float32)[
        :, None, None
    ]
    np.testing.assert_array_equal(normalized, expected)


def test_a_batch_holds_the_examples_asked_for(colours):
    chosen = torch.tensor([7, 0, 19, 7])
    images = batch(colours, chosen, KEY, epoch=0, padding=0, flip=False)
    assert torch.equal(images, colours.normalized(colours.train_images[[7, 0, 19, 7]]))


@pytest.mark.parametrize(("padding", "flip"), [(0, True), (2, False), (2, True)])
def test_an_example_looks_the_same_in_every_batch_of_an_epoch(colours, padding, flip):
    def images_of(examples, key=KEY, epoch=4):
        return batch(colours, torch.tensor(examples), key, epoch, padding, flip)

    together = images_of(list(range(20)))
    assert torch.equal(images_of([19, 3, 3, 11]), together[[19, 3, 3, 11]])
    split = [images_of(list(range(begin, min(begin + 6, 20)))) for begin in range(0, 20, 6)]
    assert torch.equal(torch.cat(split), together)
    assert not torch.equal(images_of(list(range(20)), epoch=5), together)
    assert not torch.equal(images_of(list(range(20)), Seeds(augment=2).key("augment")), together)


def test_another_data_set_gets_draws_of_its_own_length(colours):
    examples = torch.arange(3)
    batch(colours, examples, KEY, epoch=1, padding=1, flip=True)
    fewer = replace(colours, train_images=colours.train_images[:3])
    longer = replace(colours, train_images=colours.train_images.repeat(5, 1, 1, 1))
    for other in (fewer, longer):
        images = batch(other, examples, KEY, epoch=1, padding=1, flip=True)
        assert torch.equal(images, batch(colours, examples, KEY, epoch=1, padding=1, flip=True))


def test_data_can_move_to_another_device(colours):
    moved = colours.to("meta")
    tensors = [value for value in vars(moved).values() if isinstance(value, torch.Tensor)]
    assert len(tensors) == 6
    assert all(tensor.device.type == "meta" for tensor in tensors)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"train_images": torch.zeros(4, 1, 2, 2)},
            TypeError,
            "toy: train_images are torch.float32; they must be torch.uint8",
        ),
        (
            {"test_labels": torch.zeros(4, dtype=torch.int32)},
            TypeError,
            "toy: test_labels are torch.int32; they must be torch.int64",
        ),
        (
            {"train_images": torch.zeros(4, 2, 2, dtype=torch.uint8)},
            ValueError,
            r"toy: train_images are of shape \(4, 2, 2\); it must be \(examples, channels",
        ),
        (
            {"test_images": torch.ones(4, 1, 2, 3, dtype=torch.uint8)},
            ValueError,
            r"train_images are of shape \(1, 2, 2\), test_images of \(1, 2, 3\)",
        ),
        (
            {"train_labels": torch.zeros(5, dtype=torch.int64)},
            ValueError,
            r"train_labels are of shape \(5,\); one per image would be \(4,\)",
        ),
        (
            {"test_labels": torch.tensor([0, 1, 2, 3])},
            ValueError,
            "test_labels lie in 0 to 3; with 3 classes they must lie in 0 to 2",
        ),
        (
            {"train_images": torch.full((4, 1, 2, 2), 9, dtype=torch.uint8)},
            ValueError,
            "every pixel of channel 0 of toy's training images is 9",
        ),
    ],
)
def test_unfit_images_and_labels_are_refused(change, error, message):
    images = torch.arange(16, dtype=torch.uint8).view(4, 1, 2, 2)
    labels = torch.tensor([0, 1, 2, 0])
    parts = {
        "train_images": images,
        "train_labels": labels,
        "test_images": images,
        "test_labels": labels,
    }
    make_dataset("toy", 3, **parts)
    with pytest.raises(error, match=message):
        make_dataset("toy", 3, **(parts | change))


def test_unknown_data_sets_are_refused_with_similar_names():
    with pytest.raises(ValueError, match=r"'cifar-10'; did you mean cifar10.*digits"):
        load_dataset("cifar-10")
    with pytest.raises(ValueError, match="dataset is 'imagefolder:'; a folder of images is"):
        load_dataset("imagefolder:")
    for size in ("0", "16385", "9" * 5000):
        with pytest.raises(ValueError, match="with a size of 1 to 16,384 pixels"):
            load_dataset(f"imagefolder:here@{size}")


def test_names_of_image_folders():
    assert image_folder("imagefolder:a/b") == ("a/b", None)
    assert image_folder("imagefolder:a@b@32") == ("a@b", 32)
    assert image_folder("imagefolder:a@b") == ("a@b", None)
    assert [name for name in DATASETS if image_folder(name)] == []
    for name in (*DATASETS, "imagefolder:a@8"):
        check_dataset(name)


def test_every_epoch_has_its_own_permutation():
    key = Seeds().key("shuffle")
    orders = [epoch_order(1347, key, epoch, "cpu") for epoch in range(3)]
    for order in orders:
        assert sorted(order.tolist()) == list(range(1347))
    assert len({tuple(order.tolist()) for order in orders}) == 3
    assert torch.equal(epoch_order(1347, key, 1, "cpu"), orders[1])


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_shows_the_same_images(colours):
    examples = torch.tensor([4, 19, 0, 7])
    expected = batch(colours, examples, KEY, epoch=2, padding=2, flip=True)
    images = batch(colours.to("cuda"), examples.cuda(), KEY, epoch=2, padding=2, flip=True)
    assert torch.equal(images.cpu(), expected)
