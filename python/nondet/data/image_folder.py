"""Loads images that are sorted into one folder per class."""

import functools
import os
from pathlib import Path
from typing import Any

import torch

from nondet.data.dataset import Dataset, make_dataset, make_lazy_dataset
from nondet.data.image_files import GREY_MODES, mode_of, read_pixels
from nondet.data.lazy_images import ImageReader, LazyImages, check_shape
from nondet.data.vision import import_datasets

TEST_FOLDERS = ("test", "val")

MEMORY_VARIABLE = "NONDET_IMAGE_MEMORY"
"""The environment variable with the most MiB of decoded images that a process keeps."""

DEFAULT_MEMORY = 2048  # MiB


def load_image_folder(name: str, path: Path, size: int | None) -> Dataset:
    """Load the images below `path`/train and `path`/test (or `path`/val).

    Each image is in a folder with the name of its class. Classes are numbered in the order of their
    names, and the images of a class are in the order of theirs. Files and folders whose names begin
    with a dot are left out. Images are turned upright as their EXIF orientation says. If all images
    are grey there is one channel, otherwise all become RGB; transparency is dropped.

    All images are decoded once. If they take more memory than `NONDET_IMAGE_MEMORY` says, they are
    not kept, but decoded again whenever they are needed (`LazyImages`); the data set is the same.

    size: scale the shorter side of every image to it (bilinear, by Pillow) and crop the centre,
    size x size. By default images keep their pixels and must have equal sizes.

    Raises FileNotFoundError if a folder or the images of a class are missing, ValueError if the
    parts have different classes, an image cannot be used or the variable is no number, ImportError
    without torchvision.
    """
    bound = memory_bound()
    datasets = import_datasets(name)
    test = next((path / part for part in TEST_FOLDERS if (path / part).is_dir()), path / "test")
    parts = [_list(datasets, folder) for folder in (path / "train", test)]
    if parts[0].classes != parts[1].classes:
        only = set(parts[0].classes) ^ set(parts[1].classes)
        raise ValueError(
            f"{path / 'train'} and {test} must hold the same classes; only one of them has a "
            f"folder {', '.join(sorted(only))}"
        )
    files = [Path(file) for part in parts for file, _ in part.samples]
    mode = "L" if {mode_of(file) for file in files} <= set(GREY_MODES) else "RGB"
    labels = torch.tensor([label for part in parts for label in part.targets])
    classes, end = len(parts[0].classes), len(parts[0].samples)
    read = functools.partial(read_pixels, mode=mode, size=size)
    first = read(files[0])
    if len(files) * first.numel() <= bound:
        images = _decode(files, first, read)
        return make_dataset(name, classes, images[:end], labels[:end], images[end:], labels[end:])
    reader = ImageReader(files, read, bound)
    train, tested = (LazyImages(reader, x) for x in (range(end), range(end, len(files))))
    return make_lazy_dataset(name, classes, train, labels[:end], tested, labels[end:])


def memory_bound() -> int:
    """Return the most bytes of decoded images that this process keeps.

    Raises ValueError if `MEMORY_VARIABLE` is set to anything but a whole number of MiB.
    """
    text = os.environ.get(MEMORY_VARIABLE, "")
    if text and not (text.isascii() and text.isdecimal() and len(text) <= 9):
        raise ValueError(
            f"{MEMORY_VARIABLE} is {text!r}; it must be a whole number of MiB, such as "
            f"{DEFAULT_MEMORY}"
        )
    return (int(text) if text else DEFAULT_MEMORY) << 20


def _list(datasets: Any, folder: Path) -> Any:
    """Return torchvision's list of the images in a folder of class folders, without hidden ones."""
    if not folder.is_dir():
        raise FileNotFoundError(
            f"there is no folder {folder}; a folder of images has the subfolders train and "
            f"{' or '.join(TEST_FOLDERS)}, which hold a folder of images for every class"
        )

    class Visible(datasets.ImageFolder):  # type: ignore[misc]
        def find_classes(self, directory: str) -> tuple[list[str], dict[str, int]]:
            classes = [each for each in super().find_classes(directory)[0] if each[0] != "."]
            if not classes:
                raise FileNotFoundError("Couldn't find any class folder.")
            return classes, {name: number for number, name in enumerate(classes)}

    def is_image(file: str) -> bool:
        inside = Path(file).relative_to(folder).parts
        shown = not any(part.startswith(".") for part in inside)
        return shown and datasets.folder.is_image_file(file)

    try:
        return Visible(str(folder), is_valid_file=is_image)
    except FileNotFoundError as error:
        known = ", ".join(datasets.folder.IMG_EXTENSIONS)
        raise FileNotFoundError(f"{folder}: {error} Images end in {known}.") from error


def _decode(files: list[Path], first: torch.Tensor, read: Any) -> torch.Tensor:
    """Return all images, (n, channels, height, width) uint8. first: that of the first file."""
    decoded = torch.empty(len(files), *first.shape, dtype=torch.uint8)
    for i, file in enumerate(files):
        pixels = read(file) if i else first
        check_shape(file, pixels, files[0], first.shape)
        decoded[i] = pixels
    return decoded
