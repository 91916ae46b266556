"""Writers of small files in the formats of the published data sets."""

import pickle
import struct
from pathlib import Path
from typing import ClassVar

import numpy as np
from scipy.io import savemat

CIFAR10_TRAIN = [f"data_batch_{number}" for number in range(1, 6)]


class _Python2Pickler(pickle._Pickler):
    """A pickler that writes like Python 2 and its NumPy, with which CIFAR was published: text and
    the contents of arrays as byte strings, the flags of a dtype as integers.
    """

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    dtype_flags: ClassVar = (0, 1)

    def _save_bytes_as_text(self, text):
        data = text.encode("latin-1")
        self.write(pickle.BINSTRING + struct.pack("<i", len(data)) + data)
        self.memoize(text)

    dispatch[str] = _save_bytes_as_text

    def reducer_override(self, value):
        if isinstance(value, np.dtype):
            return (
                np.dtype,
                (value.str[1:], *self.dtype_flags),
                (3, "|", None, None, None, -1, -1, 0),
            )
        if isinstance(value, np.ndarray):
            reconstruct = value.__reduce__()[0]
            content = value.tobytes().decode("latin-1")
            state = (1, value.shape, value.dtype, False, content)
            return reconstruct, (np.ndarray, (0,), "b"), state
        return NotImplemented


def _write_pickle(path: Path, content: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        _Python2Pickler(file, protocol=2).dump(content)
    path.write_bytes(path.read_bytes().replace(b"cnumpy._core.", b"cnumpy.core."))


def _rows(images: np.ndarray) -> np.ndarray:
    """Return one row per image: the red, green and blue planes, each row by row."""
    return images.reshape(len(images), -1)


def write_cifar10(root: Path, train, test) -> None:
    """Write CIFAR-10: `train` into five files, `test` into one. Each is a pair of images (n, 3, 32,
    32) uint8 and labels.
    """
    folder = root / "cifar-10-batches-py"
    images, labels = np.array_split(train[0], 5), np.array_split(train[1], 5)
    for name, pixels, classes in zip(CIFAR10_TRAIN, images, labels, strict=True):
        content = {"batch_label": name, "labels": classes.tolist(), "data": _rows(pixels)}
        _write_pickle(folder / name, content)
    content = {"batch_label": "testing", "labels": test[1].tolist(), "data": _rows(test[0])}
    _write_pickle(folder / "test_batch", content)
    names = [f"class {number}" for number in range(10)]
    _write_pickle(folder / "batches.meta", {"label_names": names, "num_vis": 3072})


def write_cifar100(root: Path, train, test) -> None:
    """Write CIFAR-100, with arguments as for write_cifar10; all coarse labels are 0."""
    folder = root / "cifar-100-python"
    for name, (images, labels) in (("train", train), ("test", test)):
        coarse = [0] * len(labels)
        content = {"coarse_labels": coarse, "fine_labels": labels.tolist(), "data": _rows(images)}
        _write_pickle(folder / name, content)
    names = [f"class {number}" for number in range(100)]
    _write_pickle(folder / "meta", {"fine_label_names": names, "coarse_label_names": names[:20]})


def _write_idx(path: Path, values: np.ndarray) -> None:
    """Write unsigned bytes in IDX format: magic number, big-endian sizes, content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape)
    path.write_bytes(header + values.astype(np.uint8).tobytes())


def write_mnist(root: Path, train, test, name: str = "MNIST") -> None:
    """Write MNIST; `train` and `test` are pairs of images (n, 1, 28, 28) uint8 and labels."""
    for part, (images, labels) in (("train", train), ("t10k", test)):
        _write_idx(root / name / "raw" / f"{part}-images-idx3-ubyte", images[:, 0])
        _write_idx(root / name / "raw" / f"{part}-labels-idx1-ubyte", labels)


def write_fashion_mnist(root: Path, train, test) -> None:
    write_mnist(root, train, test, "FashionMNIST")


def write_svhn(root: Path, train, test) -> None:
    """Write SVHN as MATLAB files: images along the last axis, the digit 0 with label 10."""
    root.mkdir(parents=True, exist_ok=True)
    for part, (images, labels) in (("train", train), ("test", test)):
        content = {
            "X": images.transpose(2, 3, 1, 0),
            "y": np.where(labels == 0, 10, labels).astype(np.uint8)[:, None],
        }
        savemat(root / f"{part}_32x32.mat", content)
