"""Stable sorting by torch, whose limit on a device is told before it is met."""

import torch

MOST_ON_A_DEVICE = 2**31 - 1
"""The longest row that torch.sort takes on CUDA."""


def stable_sort(x: torch.Tensor, name: str, *, launches: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Sort rows, the last dimension, equal elements in their order; return values and positions.

    Args:
        x: integers of any shape.
        name: what is sorted, for the message.
        launches: whether `x` belongs to a device for which kernels are launched.

    Raises:
        ValueError: a row is longer than torch sorts there.
    """
    n = x.shape[-1]
    if launches and n > MOST_ON_A_DEVICE:
        raise ValueError(
            f"{name} has {n} elements; on CUDA torch sorts at most {MOST_ON_A_DEVICE} in a row"
        )
    values, positions = torch.sort(x, stable=True)
    return values, positions
