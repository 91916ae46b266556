"""Decompositions of elementwise functions that depend on more than the elements at one position:
gradients of losses that divide by the number of elements, and gated linear units.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch._decomp import decomposition_table

aten = torch.ops.aten
_MEAN = 1  # of the argument `reduction`


def _smooth_l1_backward(
    grad: torch.Tensor, x: torch.Tensor, target: torch.Tensor, reduction: int, beta: float
) -> torch.Tensor:
    """Compute in float32 at least, in the order of torch's vector instructions."""
    x, target = torch.broadcast_tensors(x, target)
    wide = torch.float32 if x.dtype in (torch.float16, torch.bfloat16) else x.dtype
    d = x.to(wide) - target.to(wide)
    sign = torch.where(d > 0, 1.0, -1.0).to(wide)
    slope = torch.where(d.abs() >= beta, sign, d / beta)
    return (_share(slope, reduction) * slope * grad.to(wide)).to(x.dtype)


def _huber_backward(
    grad: torch.Tensor, x: torch.Tensor, target: torch.Tensor, reduction: int, delta: float
) -> torch.Tensor:
    """Round every operation to the dtype of `x`, in the order of torch's vector instructions."""
    d = x - target
    limit = torch.full((), delta, dtype=d.dtype, device=d.device)
    slope = torch.where(d.abs() >= limit, torch.where(d > 0, limit, -limit), d)
    return _share(slope, reduction) * slope * grad


def _share(x: torch.Tensor, reduction: int) -> torch.Tensor:
    value = 1 / max(x.numel(), 1) if reduction == _MEAN else 1.0
    return torch.full((), value, dtype=x.dtype, device=x.device)


DECOMPOSITIONS: dict[str, Callable[..., Any]] = {
    "smooth_l1_loss_backward": _smooth_l1_backward,
    "huber_loss_backward": _huber_backward,
    **{
        name: decomposition_table[getattr(aten, name).default]
        for name in (
            *("binary_cross_entropy_backward", "soft_margin_loss_backward"),
            *("mse_loss_backward", "glu", "glu_backward"),
        )
    },
}
