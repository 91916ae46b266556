"""Loads images that are sorted into one folder per class."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from nondet.data.dataset import Dataset, make_dataset
from nondet.data.vision import import_datasets

TEST_FOLDERS = ("test", "val")

_EIGHT_BIT_GREY = ("1", "L", "LA")
_EIGHT_BIT_COLOUR = ("P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")


def load_image_folder(name: str, path: Path, size: int | None) -> Dataset:
    """Load the images below `path`/train and `path`/test (or `path`/val).

    Each image is in a folder with the name of its class. Classes are numbered in the order of their
    names, and the images of a class are in the order of theirs. If all images are grey there is one
    channel, otherwise all become RGB; transparency is dropped.

    size: scale the shorter side of every image to it (bilinear, by Pillow) and crop the centre,
    size x size. By default images keep their pixels and must have equal sizes.

    Raises FileNotFoundError if a folder or the images of a class are missing, ValueError if the
    parts have different classes or an image cannot be used, ImportError without torchvision.
    """
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
    mode = "L" if {_mode(file) for file in files} <= set(_EIGHT_BIT_GREY) else "RGB"
    images = _decode(files, mode, size)
    labels = torch.tensor([label for part in parts for label in part.targets])
    end = len(parts[0].samples)
    return make_dataset(
        name, len(parts[0].classes), images[:end], labels[:end], images[end:], labels[end:]
    )


def _list(datasets: Any, folder: Path) -> Any:
    """Return torchvision's list of the images in a folder of class folders."""
    if not folder.is_dir():
        raise FileNotFoundError(
            f"there is no folder {folder}; a folder of images has the subfolders train and "
            f"{' or '.join(TEST_FOLDERS)}, which hold a folder of images for every class"
        )
    try:
        return datasets.ImageFolder(str(folder))
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{folder}: {error}") from error


def _mode(file: Path) -> str:
    with _open(file) as image:
        if image.mode not in _EIGHT_BIT_GREY + _EIGHT_BIT_COLOUR:
            raise ValueError(
                f"{file} holds pixels of Pillow's mode {image.mode!r}; only 8 bits per channel "
                "can be read"
            )
        return str(image.mode)


def _decode(files: list[Path], mode: str, size: int | None) -> torch.Tensor:
    """Return all images, (n, channels, height, width) uint8."""
    decoded: torch.Tensor | None = None
    for i, file in enumerate(files):
        pixels = _pixels(file, mode, size)
        if decoded is None:
            decoded = torch.empty(len(files), *pixels.shape, dtype=torch.uint8)
        if pixels.shape != decoded.shape[1:]:
            raise ValueError(
                f"{file} is {pixels.shape[2]} x {pixels.shape[1]} pixels and {files[0]} "
                f"{decoded.shape[3]} x {decoded.shape[2]}; scale them to one size, for example "
                "to 32 x 32 with imagefolder:PATH@32"
            )
        decoded[i] = pixels
    assert decoded is not None  # torchvision refuses a folder without images
    return decoded


def _pixels(file: Path, mode: str, size: int | None) -> torch.Tensor:
    from torchvision.transforms import functional

    with _open(file) as image:
        try:
            image = image.convert(mode)
        except OSError as error:
            raise ValueError(f"{file} cannot be read as an image: {error}") from error
    if size is not None:
        image = functional.center_crop(functional.resize(image, size), [size, size])
    pixels = torch.from_numpy(np.array(image))
    return pixels[None] if pixels.dim() == 2 else pixels.permute(2, 0, 1)


def _open(file: Path) -> Any:
    from PIL import Image

    try:
        return Image.open(file)
    except OSError as error:
        raise ValueError(f"{file} cannot be read as an image: {error}") from error
