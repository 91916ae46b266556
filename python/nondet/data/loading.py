"""Data sets by name."""

import os
from pathlib import Path

from nondet.data.dataset import Dataset
from nondet.data.digits import load_digits
from nondet.data.image_folder import load_image_folder
from nondet.data.pydoc import load_pydoc
from nondet.data.text import TextDataset
from nondet.data.text_files import load_penn_treebank, load_text
from nondet.data.vision import load_vision
from nondet.names import TextSource, check_dataset, image_folder, text_source

_loaded: dict[tuple[str, Path], Dataset | TextDataset] = {}


def load_dataset(
    name: str, root: Path | str | None = None, download: bool = False
) -> Dataset | TextDataset:
    """The data set called `name`, on the CPU; read once in a process.

    name: of images "digits", which scikit-learn brings; "cifar10", "cifar100", "mnist",
    "fashion-mnist", "svhn", which torchvision reads from files below `root`; or "imagefolder:PATH"
    and "imagefolder:PATH@SIZE" (see `image_folder.load_image_folder`). Of texts "pydoc" and
    "pydoc@TYPES", which Python brings (`pydoc.load_pydoc`); "penn-treebank", from files in the
    folder of that name in `root` (`text_files.load_penn_treebank`); or "text:PATH" and
    "text:PATH@TYPES" (`text_files.load_text`).
    root: by default the folder that the environment variable NONDET_DATA names, else
    ~/.cache/nondet/data.
    download: fetch files that are missing; never done unasked, and never for a text.

    Raises ValueError for an unknown name or damaged files, FileNotFoundError where files are
    missing, ImportError where torchvision is needed and not installed or Python lacks a text,
    OSError where a download fails.
    """
    check_dataset(name)
    source, images = text_source(name), image_folder(name)
    if images is not None:
        folder = Path(images[0])
    elif source is not None and source.path:
        folder = Path(source.path)
    else:
        folder = Path(root) if root is not None else default_root()
    folder = folder.expanduser().absolute()
    if (name, folder) not in _loaded:
        dataset: Dataset | TextDataset
        if source is not None:
            dataset = _load_text(name, source, folder)
        elif images is not None:
            dataset = load_image_folder(name, folder, images[1])
        elif name == "digits":
            dataset = load_digits()
        else:
            dataset = load_vision(name, folder, download)
        _loaded[name, folder] = dataset
    return _loaded[name, folder]


def _load_text(name: str, source: TextSource, folder: Path) -> TextDataset:
    if source.kind == "pydoc":
        return load_pydoc(name, source.types)
    if source.kind == "penn-treebank":
        return load_penn_treebank(folder / "penn-treebank")
    return load_text(name, folder, source.types)


def default_root() -> Path:
    """Where data sets lie if nothing else is said."""
    return Path(os.environ.get("NONDET_DATA") or "~/.cache/nondet/data").expanduser()
