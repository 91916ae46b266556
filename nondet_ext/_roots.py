"""Square roots, rounded once as IEEE 754 asks on every processor.

Torch takes the square roots of float32 and float64 on a CPU from MKL, which rounds some of them to
a neighbour of the right number: which ones depends on the processor.
"""

from typing import Any

import numpy as np
import torch

from nondet_ext._op import Op

_STRETCH = 1 << 22  # elements between two looks at signals
_FROM_MKL = (torch.float32, torch.float64)


def _run(x: torch.Tensor) -> torch.Tensor:
    out = torch.empty_like(x)
    write(x, out)
    return out


square_root = Op("square_root", _run, fake=torch.empty_like)
"""The square roots of a tensor without gradients, of any real dtype of floats and any device."""


def write(x: torch.Tensor, out: torch.Tensor) -> None:
    """Write the square roots of `x` to `out`, of the same shape and dtype; it may be `x`."""
    if not (x.is_cpu and x.dtype in _FROM_MKL):
        torch.sqrt(x, out=out)
        return
    source, target = x.detach().resolve_neg().numpy(), out.detach().numpy()
    with np.errstate(invalid="ignore"):  # NaN for negative numbers, as in torch
        if not (x.is_contiguous() and out.is_contiguous()):
            np.sqrt(source, out=target)
            return
        source, target = source.reshape(-1), target.reshape(-1)  # views
        for start in range(0, len(source), _STRETCH):
            stretch = slice(start, start + _STRETCH)
            np.sqrt(source[stretch], out=target[stretch])


def _sqrt(x: torch.Tensor) -> torch.Tensor:
    return square_root(x) if x.dtype in _FROM_MKL else torch.ops.aten.sqrt.default(x)


def _sqrt_in_place(x: torch.Tensor) -> torch.Tensor:
    if x.dtype not in _FROM_MKL:
        return torch.ops.aten.sqrt_.default(x)  # type: ignore[no-any-return]
    write(x, x)
    return x


def _sqrt_out(x: torch.Tensor, *, out: torch.Tensor) -> torch.Tensor:
    if x.dtype not in _FROM_MKL or out.dtype != x.dtype or out.shape != x.shape:
        return torch.ops.aten.sqrt.out(x, out=out)  # type: ignore[no-any-return]
    write(x, out)
    return out


ROOTS: dict[Any, Any] = {
    torch.ops.aten.sqrt.default: _sqrt,
    torch.ops.aten.sqrt_.default: _sqrt_in_place,
    torch.ops.aten.sqrt.out: _sqrt_out,
}
"""Torch's operators, and functions that take the same arguments and round once."""
