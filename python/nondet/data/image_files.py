"""Reads image files. Every error, and every warning of Pillow, names the file."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""The formats that are read, whatever the extension of the file. Others, such as PostScript, would
start other programs."""

GREY_MODES = ("1", "L", "LA")
"""Pillow's modes of grey images."""

_COLOUR_MODES = ("P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")
_BITS_PER_SAMPLE = 258  # tags of TIFF and EXIF
_ORIENTATION = 274


def mode_of(file: Path) -> str:
    """Return Pillow's mode of an image, from the head of its file.

    Raises ValueError, which names the file, if it is no image, or one of more than 8 bits per
    channel.
    """
    with _naming(file), _open(file) as image:
        mode, deep = str(image.mode), _is_deep(image)
    if mode not in GREY_MODES + _COLOUR_MODES:
        raise ValueError(
            f"{file} holds pixels of Pillow's mode {mode!r}; only 8 bits per channel can be read"
        )
    if deep:
        raise ValueError(
            f"{file} holds more than 8 bits per channel; only 8 can be read: convert it, and "
            "choose which values become black and white"
        )
    return mode


def read_pixels(file: Path, mode: str, size: int | None) -> torch.Tensor:
    """Return the pixels of an image, (channels, height, width) uint8, upright according to its EXIF
    orientation.

    mode: "L" for one channel, "RGB" for three. size: scale the shorter side to it (bilinear, by
    Pillow) and crop the centre, size x size.

    Raises ValueError, which names the file, if it is no image or a damaged one.
    """
    from torchvision.transforms import functional

    with _naming(file), _open(file) as opened:
        # Before any scaling, because the orientation may exchange height and width.
        image = _upright(opened).convert(mode)
        if size is not None:
            image = functional.center_crop(functional.resize(image, size), [size, size])
        pixels = torch.from_numpy(np.array(image))
    return pixels[None] if pixels.dim() == 2 else pixels.permute(2, 0, 1)


def _open(file: Path) -> Any:
    from PIL import Image

    return Image.open(file, formats=FORMATS)


def _upright(image: Any) -> Any:
    """Return the image, turned as its EXIF orientation says. Damaged EXIF data are a warning."""
    from PIL.Image import Transpose

    image.load()  # which turns a TIFF, and removes its orientation
    try:
        orientation = image.getexif().get(_ORIENTATION)
    except Exception as error:
        warnings.warn(f"its EXIF orientation cannot be read: {error}", stacklevel=2)
        return image
    turn = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }.get(orientation)
    return image if turn is None else image.transpose(turn)


def _is_deep(image: Any) -> bool:
    """Return True for more than 8 bits per channel, which Pillow would cut down to 8."""
    if image.format == "TIFF":
        return bool(max(image.tag_v2.get(_BITS_PER_SAMPLE, (1,))) > 8)
    for tile in image.tile:
        parts = tile.args if isinstance(tile.args, tuple) else (tile.args,)
        # The layout of the pixels in PNG ("RGB;16B"), the largest value in PPM.
        if any(";16" in part if isinstance(part, str) else part > 255 for part in parts):
            return str(image.format) in ("PNG", "PPM")
    return False


@contextmanager
def _naming(file: Path) -> Iterator[None]:
    """Name the file in every error and warning of Pillow, which raises errors of all kinds for
    damaged files.
    """
    from PIL import Image

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        # Images up to twice the size that Pillow warns of are read; larger ones it refuses.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            yield
        except Exception as error:
            reason = str(error) or type(error).__name__
            raise ValueError(f"{file} cannot be read as an image: {reason}") from error
    for warning in caught:
        warnings.warn(f"{file}: {warning.message}", stacklevel=4)
