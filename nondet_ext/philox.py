"""Random numbers keyed by their purpose: Philox4x32-10.

A draw is identified by its key, (seed, stream), and its coordinates, `counter`. Its element j
depends on these and on j only: not on the number of earlier draws, nor on the device, the thread or
the batch.

Source: Salmon, Moraes, Dror and Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011. Key
words: seed, stream. Counter words: the running number of the block of four words, then the three
coordinates.
"""

from collections.abc import Sequence

import torch

from nondet_ext import _check
from nondet_ext import _philox_ops as ops

Size = int | Sequence[int]
Counter = Sequence[int | torch.Tensor]
Device = torch.device | str | int | None


def philox_bits(
    size: Size,
    *,
    seed: int,
    stream: int = 0,
    counter: Counter = (),
    offset: int = 0,
    device: Device = None,
) -> torch.Tensor:
    """Draw random 32-bit words.

    Args:
        size: the shape of one draw, an int or a sequence of ints; its elements are numbered in
            row-major order.
        seed, stream: the key, each in [0, 2**32).
        counter: up to three coordinates that identify the draw, such as (epoch, example); missing
            ones are 0. Each is an int in [0, 2**32) or a tensor of such integers; tensors
            broadcast together and give one draw per entry.
        offset: index of the first element, to take a long draw in pieces.
        device: of the result; by default that of a tensor coordinate, else the CPU.

    Returns:
        uint32, of shape ``broadcast shape of counter + size``. Element j is word j % 4 of block
        (offset + j) // 4.

    Raises:
        TypeError: an argument is of the wrong type.
        ValueError: a number is out of its range, coordinates do not broadcast or lie on different
            devices, or the draw is longer than a block counter of 32 bits reaches (2**34 words).
    """
    draw = ops.Draw.of(size, seed, stream, counter, offset, device, elements_per_block=4)
    return draw.compute(ops.philox_bits)


def philox_uniform(
    size: Size,
    *,
    seed: int,
    stream: int = 0,
    counter: Counter = (),
    offset: int = 0,
    dtype: torch.dtype = torch.float32,
    device: Device = None,
) -> torch.Tensor:
    """Draw uniform variates in [0, 1): multiples of 2**-p, all equally likely; p is the
    precision of the dtype (53, 24, 11 or 8).

    Each element takes one word; in float64 two, the low one first. See :func:`philox_bits` for the
    arguments and errors.
    """
    per_block = 2 if _check.float_dtype("dtype", dtype) == torch.float64 else 4
    draw = ops.Draw.of(size, seed, stream, counter, offset, device, elements_per_block=per_block)
    return draw.compute(ops.philox_uniform, dtype)


def philox_normal(
    size: Size,
    *,
    seed: int,
    stream: int = 0,
    counter: Counter = (),
    offset: int = 0,
    dtype: torch.dtype = torch.float32,
    device: Device = None,
) -> torch.Tensor:
    """Draw standard normal variates: one float64 variate per element from 64 bits by inversion,
    rounded once to the dtype.

    The distribution function is inverted by algorithm AS 241 (Wichura, Applied Statistics 37, 1988)
    with +, -, *, /, sqrt and explicit fma only, hence the same bits on every device; sizes reach
    8.2. See :func:`philox_bits` for the arguments and errors.
    """
    _check.float_dtype("dtype", dtype)
    draw = ops.Draw.of(size, seed, stream, counter, offset, device, elements_per_block=2)
    return draw.compute(ops.philox_normal, dtype)


def philox_randint(
    low: int,
    high: int,
    size: Size,
    *,
    seed: int,
    stream: int = 0,
    counter: Counter = (),
    offset: int = 0,
    device: Device = None,
) -> torch.Tensor:
    """Draw uniform integers in [low, high), int64.

    Element j is low + floor((high - low) * b / 2**128) with b the j-th block as a 128-bit integer,
    so its distribution is within 2**-64 (total variation) of the uniform one for every range. See
    :func:`philox_bits` for the other arguments.

    Raises:
        ValueError: also if low >= high, or a bound is outside the range of int64.
    """
    low = _check.integer("low", low, -(2**63), 2**63 - 1)
    high = _check.integer("high", high, -(2**63), 2**63 - 1)
    if low >= high:
        raise ValueError(f"high must be above low, got low={low}, high={high}")
    draw = ops.Draw.of(size, seed, stream, counter, offset, device, elements_per_block=1)
    return draw.compute(ops.philox_randint, low, high)


def philox_permutation(
    n: int, *, seed: int, stream: int = 0, counter: Counter = (), device: Device = None
) -> torch.Tensor:
    """Draw a random permutation of 0 to n - 1, int64: the order that sorts n random 64-bit keys.

    Equal keys (probability below n**2 / 2**65) keep their order. See :func:`philox_bits` for the
    other arguments; tensor coordinates give one permutation per entry, along the last dimension.
    """
    length = _check.integer("n", n, 0, 2**33)
    words = philox_bits(2 * length, seed=seed, stream=stream, counter=counter, device=device)
    return ops.philox_order(words)
