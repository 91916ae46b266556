"""Data sets by name."""

import os
from pathlib import Path

from nondet.data.dataset import Dataset
from nondet.data.digits import load_digits
from nondet.data.image_folder import load_image_folder
from nondet.data.vision import load_vision
from nondet.names import check_dataset, image_folder

_loaded: dict[tuple[str, Path], Dataset] = {}


def load_dataset(name: str, root: Path | str | None = None, download: bool = False) -> Dataset:
    """The data set called `name`, on the CPU; read once in a process.

    name: "digits", which scikit-learn brings; "cifar10", "cifar100", "mnist", "fashion-mnist",
    "svhn", which torchvision reads from files below `root`; or "imagefolder:PATH" and
    "imagefolder:PATH@SIZE" (see `image_folder.load_image_folder`).
    root: by default the folder that the environment variable NONDET_DATA names, else
    ~/.cache/nondet/data.
    download: fetch files that are missing; never done unasked.

    Raises ValueError for an unknown name or damaged files, FileNotFoundError where files are
    missing, ImportError where torchvision is needed and not installed, OSError where a download
    fails.
    """
    check_dataset(name)
    named = image_folder(name)
    if named is not None:
        path, size = named
        folder = Path(path)
    else:
        folder = Path(root) if root is not None else default_root()
    folder = folder.expanduser().absolute()
    if (name, folder) not in _loaded:
        if name == "digits":
            dataset = load_digits()
        elif named is not None:
            dataset = load_image_folder(name, folder, size)
        else:
            dataset = load_vision(name, folder, download)
        _loaded[name, folder] = dataset
    return _loaded[name, folder]


def default_root() -> Path:
    """Where data sets lie if nothing else is said."""
    return Path(os.environ.get("NONDET_DATA") or "~/.cache/nondet/data").expanduser()
