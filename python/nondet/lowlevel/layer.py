"""What converted layers have in common."""

import torch
from torch import nn

from nondet.lowlevel.accumulation import Accumulation


class Layer(nn.Module):
    """A layer that has been converted: parameters, state and forward pass are those of the class it
    was converted from.
    """

    accumulation: Accumulation

    def refuse_autocast(self, input: torch.Tensor) -> None:
        if torch.is_autocast_enabled(input.device.type):
            raise RuntimeError(
                f"{type(self).__name__} of nondet.lowlevel computes in the dtype of its input and "
                "weights; autocast must be off"
            )

    @classmethod
    def check(cls, name: str, module: nn.Module) -> None:
        """Raises TypeError where the module has a setting that the backward pass does not know."""
