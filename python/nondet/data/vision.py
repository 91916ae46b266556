"""Loads CIFAR-10, CIFAR-100, MNIST, Fashion-MNIST and SVHN through torchvision."""

import warnings
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import torch

from nondet.data.dataset import Dataset, make_dataset


class _Source(NamedTuple):
    """The class of torchvision that reads a data set, and its number of classes."""

    reader: str
    classes: int


_SOURCES = {
    "cifar10": _Source("CIFAR10", 10),
    "cifar100": _Source("CIFAR100", 100),
    "mnist": _Source("MNIST", 10),
    "fashion-mnist": _Source("FashionMNIST", 10),
    "svhn": _Source("SVHN", 10),
}
VISION_DATASETS = tuple(_SOURCES)


def load_vision(name: str, root: Path, download: bool) -> Dataset:
    """Load one of VISION_DATASETS from the files below `root`, in torchvision's layout.

    The training and the test part are those published (SVHN without its "extra" images).

    download: download missing files.

    Raises ImportError without torchvision, FileNotFoundError if files are missing, OSError if a
    download fails, ValueError if files are damaged.
    """
    datasets = import_datasets(name)
    source = _SOURCES[name]
    reader = getattr(datasets, source.reader)
    if download:
        _download(name, reader, root)
    files = _files(name, reader)
    missing = [file for file in files if not (root / file).is_file()]
    if missing:
        raise FileNotFoundError(
            f"{name} is not in {root}: no {', no '.join(missing)}. Either add --download (from "
            f"Python: load_dataset({name!r}, download=True)), or put these files there; the "
            "variable NONDET_DATA names another folder"
        )
    try:
        parts = [_arrays(name, _read(name, reader, root, train)) for train in (True, False)]
        return make_dataset(name, source.classes, *parts[0], *parts[1])
    except (ImportError, MemoryError):
        raise
    except Exception as error:  # damaged files raise errors of all kinds
        raise ValueError(
            f"{name} cannot be read from {root}: {error or type(error).__name__}. One of these "
            f"files is damaged: {', '.join(files)}; delete them and put whole ones there"
        ) from error


def import_datasets(name: str) -> ModuleType:
    """Return torchvision.datasets; raise ImportError, with the command to install it."""
    try:
        from torchvision import datasets
    except ImportError as error:
        raise ImportError(
            f"the data set {name} needs torchvision: pip install 'nondet[vision]'"
        ) from error
    return datasets  # type: ignore[no-any-return]


def _files(name: str, reader: Any) -> list[str]:
    """Return the paths of the files of a data set, relative to its root."""
    if name == "svhn":
        return [reader.split_list[split][1] for split in ("train", "test")]
    if name in ("mnist", "fashion-mnist"):
        folder = f"{reader.__name__}/raw"
        return [f"{folder}/{archive.removesuffix('.gz')}" for archive, _ in reader.resources]
    files = [file for file, _ in reader.train_list + reader.test_list] + [reader.meta["filename"]]
    return [f"{reader.base_folder}/{file}" for file in files]


def _read(name: str, reader: Any, root: Path, train: bool, download: bool = False) -> Any:
    part = {"split": "train" if train else "test"} if name == "svhn" else {"train": train}
    with warnings.catch_warnings():
        # CIFAR's pickles hold integers for a dtype's flags; NumPy 2.4.0 to 2.4.4 warn of that.
        warnings.filterwarnings("ignore", message=".*align should be passed as")
        return reader(root, **part, download=download)


def _download(name: str, reader: Any, root: Path) -> None:
    try:
        root.mkdir(parents=True, exist_ok=True)
        for train in (True, False):
            _read(name, reader, root, train, download=True)
    except (OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())  # torchvision's message has several lines
        raise OSError(
            f"{name} could not be downloaded to {root}: {reason}. The files can also be put there "
            f"by hand: {', '.join(_files(name, reader))}"
        ) from error


def _arrays(name: str, part: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the images (n, channels, height, width) uint8 and labels (n,) int64 of a part."""
    images = torch.as_tensor(part.data)
    if name in ("mnist", "fashion-mnist"):
        images = images[:, None]
    elif name in ("cifar10", "cifar100"):
        images = images.permute(0, 3, 1, 2)
    labels = torch.as_tensor(part.labels if name == "svhn" else part.targets)
    return images.contiguous(), labels.to(torch.int64)
