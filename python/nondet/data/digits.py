"""scikit-learn's handwritten digits: 1,797 real 8x8 images with 17 grey levels, inside its wheel,
no download.

Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning
Repository, 1998 (its test part, as scikit-learn ships it).
"""

import numpy as np
import torch

from nondet.data.dataset import Dataset, make_dataset

TEST_EVERY = 4


def load_digits() -> Dataset:
    """The digits, split.

    Image i is a test image when i is a multiple of 4: 450 test and 1,347 training images. The file
    lists the images writer after writer, so both parts hold every writer. Pixels are 0 to 16; they
    are normalised by the mean and the standard deviation of all training pixels together (one
    channel, one mean, as usual for CIFAR-10), not pixel by pixel: an empty pixel becomes a negative
    constant instead of 0, so every weight of a first layer takes part in the training from its
    first step, those of the pixels that are empty in every image included.
    """
    from sklearn import datasets  # a second to import, so only where it is used

    source = datasets.load_digits()
    images = torch.from_numpy(source.images.astype(np.uint8)[:, None])
    labels = torch.from_numpy(source.target.astype(np.int64))
    test = torch.arange(len(images)) % TEST_EVERY == 0
    return make_dataset("digits", 10, images[~test], labels[~test], images[test], labels[test])
