"""The base class of converted layers."""

import torch
from torch import nn

from nondet.lowlevel.accumulation import Accumulation


class Layer(nn.Module):
    """A converted layer, with the parameters, state and forward pass of its original class."""

    accumulation: Accumulation

    def refuse_autocast(self, input: torch.Tensor) -> None:
        """Raises RuntimeError under autocast."""
        if torch.is_autocast_enabled(input.device.type):
            raise RuntimeError(
                f"{type(self).__name__} of nondet.lowlevel computes in the dtype of its input and "
                "weights; autocast must be off"
            )

    @classmethod
    def check(cls, name: str, module: nn.Module) -> None:
        """Raises TypeError if the module has a setting that the backward pass does not support."""
