"""scikit-learn's handwritten digits: 1,797 real 8x8 images with 17 grey levels, inside its wheel,
no download.

Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning
Repository, 1998 (its test part, as scikit-learn ships it).
"""

import functools

import numpy as np
import torch

from nondet.data.dataset import Dataset

TEST_EVERY = 4


@functools.cache
def load_digits() -> Dataset:
    """The digits, split and normalised.

    Image i is a test image when i is a multiple of 4: 450 test and 1,347 training images. The file
    lists the images writer after writer, so both parts hold every writer. Pixels are normalised by
    the mean and the standard deviation of all training pixels together (one channel, one mean, as
    usual for CIFAR-10), not pixel by pixel: an empty pixel becomes a negative constant instead of
    0, so every weight of a first layer takes part in the training from its first step, those of the
    pixels that are empty in every image included.
    """
    from sklearn import datasets  # a second to import, so only where it is used

    source = datasets.load_digits()
    pixels = source.images.astype(np.float64)[:, None] / 16
    is_test = np.arange(len(pixels)) % TEST_EVERY == 0
    mean, std = pixels[~is_test].mean(), pixels[~is_test].std()
    images = torch.from_numpy(((pixels - mean) / std).astype(np.float32))
    labels = torch.from_numpy(source.target.astype(np.int64))
    test = torch.from_numpy(is_test)
    return Dataset(
        name="digits",
        classes=10,
        train_images=images[~test],
        train_labels=labels[~test],
        test_images=images[test],
        test_labels=labels[test],
        background=torch.tensor([-mean / std], dtype=torch.float32),
    )
