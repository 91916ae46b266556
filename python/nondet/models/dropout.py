"""Dropout (Srivastava et al. 2014) whose masks are keyed draws: equal on every device."""

from collections.abc import Sequence

import torch
from torch import nn

from nondet.seeds import Key
from nondet_ext import philox_uniform


class Dropout(nn.Module):
    """In training mode, a zero with probability `p` in place of each element; what is left is
    divided by 1 - p. The identity in evaluation mode.

    The mask of a step is drawn under the key and for the counter (step, number of the layer) that
    `begin_step` gives; element j (row-major) is kept where the j-th uniform variate in [0, 1) is at
    least p. Works on tensors of any shape; training mode before the first `begin_step` raises
    RuntimeError.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"dropout is {p}; it must lie in [0, 1)")
        self.p = p
        self._draw: tuple[Key, tuple[int, int]] | None = None

    def begin_step(self, key: Key, step: int, number: int) -> None:
        """Sets for what the masks are drawn from now on."""
        self._draw = key, (step, number)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training or self.p == 0:
            return x
        if self._draw is None:
            raise RuntimeError("dropout in training mode: begin_step must say what step it is")
        key, counter = self._draw
        mask = philox_uniform(
            tuple(x.shape), seed=key.seed, stream=key.stream, counter=counter, device=x.device
        )
        mask.ge_(self.p).mul_(1 / (1 - self.p))
        return x * mask.to(x.dtype)

    def extra_repr(self) -> str:
        return f"p={self.p}"


def stochastic_layers(model: nn.Module) -> list[Dropout]:
    """The layers of a model that draw in training mode, in the order of their numbers: that of
    `model.modules()`.
    """
    return [layer for layer in model.modules() if isinstance(layer, Dropout) and layer.p > 0]


def begin_step(layers: Sequence[Dropout], key: Key, step: int) -> None:
    """Before each training step: the masks of layer number l will be drawn under `key` for the
    counter (step, l).
    """
    for number, layer in enumerate(layers):
        layer.begin_step(key, step, number)
