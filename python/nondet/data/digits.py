"""Loads the handwritten digits of scikit-learn, which needs no download.

They are 1,797 images of 8x8 pixels with 17 grey levels.

Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning
Repository, 1998 (its test part, as scikit-learn distributes it).
"""

import numpy as np
import torch

from nondet.data.dataset import Dataset, make_dataset

TEST_EVERY = 4


def load_digits() -> Dataset:
    """Load the digits, split into 1,347 training and 450 test images.

    Image i is a test image if i is a multiple of 4. The file lists the images by writer, so both
    parts have every writer.

    Pixels are 0 to 16. They are normalised by one mean and one standard deviation per channel, as
    usual for CIFAR-10, not per pixel. An empty pixel thus becomes a negative constant instead of 0,
    and every weight of a first layer is trained from the first step, even for pixels that are empty
    in every image.
    """
    from sklearn import datasets  # takes a second to import

    source = datasets.load_digits()
    images = torch.from_numpy(source.images.astype(np.uint8)[:, None])
    labels = torch.from_numpy(source.target.astype(np.int64))
    test = torch.arange(len(images)) % TEST_EVERY == 0
    return make_dataset("digits", 10, images[~test], labels[~test], images[test], labels[test])
