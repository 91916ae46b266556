"""Random crops that are scaled to the size of the image (Szegedy et al. 2015, "Going Deeper with
Convolutions", Sec. 6), drawn for each (seed, epoch, example).

The law of a crop is that of torchvision's RandomResizedCrop with its default arguments, and its
pixels are those of Pillow's bilinear filter. Both are computed by operations that round alike
everywhere, so that no bit depends on the batch, the worker, the processor or the device.
"""

import numpy as np
import torch

import nondet_ext
from nondet.keys import Key

SCALE = (0.08, 1.0)
"""The lowest and the highest share of the image's area that a crop covers."""

RATIO = (3 / 4, 4 / 3)
"""The lowest and the highest width of a crop, divided by its height."""

TRIES = 10
"""Crops that are drawn until one lies within the image; if none does, the centre is taken."""

_LOG_RATIO = 0.28768207245178085  # log(4/3); RATIO is symmetric around 1
_BITS = 22  # of a weight, as Pillow writes it
_ONE = 1 << _BITS
_CHUNK = 1 << 22  # pixels that are scaled at a time


def draw_crops(
    examples: torch.Tensor, key: Key, epoch: int, height: int, width: int
) -> torch.Tensor:
    """Draw the crops of examples in an epoch, from images of height x width pixels.

    Up to `TRIES` times, a share of the area is drawn uniformly from `SCALE` and the logarithm of
    the ratio uniformly from that of `RATIO`; both sides are rounded to whole pixels. The first crop
    that is not larger than the image gets a place in it, uniformly. If all are larger, the crop is
    the largest one in the centre whose ratio lies in `RATIO`.

    examples: (b,) int64, numbers of examples. The draw of an example depends on its number, not on
    its place in the tensor. Returns (b, 4) int64 on the CPU: top, left, height and width.
    """
    # Per try: area, ratio, top, left. The third coordinate sets these draws apart from others.
    draws = nondet_ext.philox_uniform(
        (TRIES, 4),
        seed=key.seed,
        stream=key.stream,
        counter=(epoch, examples.cpu(), 2),
        dtype=torch.float64,
    )
    area, position, top, left = draws.unbind(2)
    area = (SCALE[0] + area * (SCALE[1] - SCALE[0])) * (height * width)
    ratio = _exp(_LOG_RATIO * (2 * position - 1))
    heights, widths = _root(area / ratio).round(), _root(area * ratio).round()
    fits = (heights >= 1) & (heights <= height) & (widths >= 1) & (widths <= width)
    first = fits.to(torch.int8).argmax(1, keepdim=True)
    crop_height, crop_width = heights.gather(1, first), widths.gather(1, first)
    crops = torch.cat(
        [
            _place(top.gather(1, first), height - crop_height),
            _place(left.gather(1, first), width - crop_width),
            crop_height,
            crop_width,
        ],
        dim=1,
    ).to(torch.int64)
    centre = torch.tensor(_centre(height, width)).expand_as(crops)
    return torch.where(fits.any(1, keepdim=True), crops, centre)


def apply_crops(images: torch.Tensor, crops: torch.Tensor) -> torch.Tensor:
    """Scale a crop of every image to the size of the image.

    Along each axis, a pixel is the mean of the two pixels of the crop between whose centres it
    lies, weighted by its distance from them. As in Pillow, weights are multiples of 2**-22, and
    rows are rounded to whole numbers before columns are scaled.

    images: (b, channels, height, width) uint8. crops: (b, 4) int64: top, left, height and width of
    parts of the images. Returns a new tensor of the shape and dtype of `images`.
    """
    _, channels, height, width = images.shape
    crops = crops.to(images.device)
    scaled = torch.empty_like(images, memory_format=torch.contiguous_format)
    count = max(_CHUNK // (channels * height * width), 1)
    for part, boxes, pixels in zip(
        scaled.split(count), crops.split(count), images.split(count), strict=True
    ):
        top, left, rows, columns = boxes.unbind(1)
        across = [taps[:, None, None, :] for taps in _taps(left, columns, width)]
        down = [taps[:, None, :, None] for taps in _taps(top, rows, height)]
        part.copy_(_scaled(_scaled(pixels, 3, *across), 2, *down))
    return scaled


def _root(x: torch.Tensor) -> torch.Tensor:
    """Return square roots, rounded once by NumPy: those of torch differ between processors."""
    return torch.from_numpy(np.sqrt(x.numpy()))


def _exp(x: torch.Tensor) -> torch.Tensor:
    """Return exp(x) for |x| < 0.3 within 2 ulp, by Taylor's series: libraries round differently."""
    value = torch.ones_like(x)
    for n in range(15, 0, -1):
        value = 1 + x * value / n
    return value


def _place(share: torch.Tensor, room: torch.Tensor) -> torch.Tensor:
    """Return a whole number from 0 to `room`, uniformly, given a uniform draw from [0, 1)."""
    return torch.minimum((share * (room + 1)).floor(), room)


def _centre(height: int, width: int) -> tuple[int, int, int, int]:
    """Return top, left, height and width of the largest crop in the centre within `RATIO`."""
    rows, columns = height, width
    if width / height < RATIO[0]:
        rows = round(width / RATIO[0])
    elif width / height > RATIO[1]:
        columns = round(height * RATIO[1])
    return (height - rows) // 2, (width - columns) // 2, rows, columns


def _taps(
    start: torch.Tensor, length: torch.Tensor, size: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return what scales parts of an axis to the size of the whole axis: for every new pixel, the
    indices of the two old ones, int64, and their weights times 2**22, int32; each (b, size).

    start, length: (b,) int64, the first pixel and the number of pixels of each part. At its ends, a
    new pixel has one old one, which stands twice, the second time with the weight 0.
    """
    pixels = torch.arange(size, device=start.device, dtype=torch.float64)
    long = length.to(torch.float64)[:, None]
    centre = (pixels + 0.5) * (long / size)
    first = (centre - 1 + 0.5).trunc().clamp(min=0)
    second = first + 1
    both = second < torch.minimum((centre + 1 + 0.5).trunc(), long)
    near = _triangle(first - centre + 0.5)
    far = torch.where(both, _triangle(second - centre + 0.5), 0.0)
    total = near + far
    begin = first.to(torch.int64) + start[:, None]
    weights = [(each / total * _ONE + 0.5).to(torch.int32) for each in (near, far)]
    return begin, begin + both, weights[0], weights[1]


def _triangle(distance: torch.Tensor) -> torch.Tensor:
    return (1 - distance.abs()).clamp(min=0)


def _scaled(
    pixels: torch.Tensor,
    dim: int,
    first: torch.Tensor,
    second: torch.Tensor,
    near: torch.Tensor,
    far: torch.Tensor,
) -> torch.Tensor:
    """Scale one axis of images, given its `_taps`, which are 1 long in all other dimensions but the
    first. Sums stay below 2**31.
    """
    old = [pixels.gather(dim, index.expand_as(pixels)) for index in (first, second)]
    sums = old[0].to(torch.int32).mul_(near).add_(old[1].to(torch.int32).mul_(far))
    return sums.add_(_ONE // 2).bitwise_right_shift_(_BITS).to(torch.uint8)
