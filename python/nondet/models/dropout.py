"""Layers that drop (Srivastava et al. 2014) by keyed draws: their masks are equal on every
device.
"""

from collections.abc import Sequence

import torch
from torch import nn

from nondet.keys import Key
from nondet_ext import philox_uniform


class KeyedLayer(nn.Module):
    """What draws in training mode with a probability `p`, and does nothing in evaluation mode.

    What a step draws it draws under the key and for the counter (step, number of the layer) that
    `set_step_key` gives. Training mode before the first call of it raises RuntimeError where p is
    not 0.
    """

    what = "dropout"
    """What its errors call it."""

    def __init__(self, p: float) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"{self.what} is {p}; it must lie in [0, 1)")
        self.p = p
        self._draw: tuple[Key, tuple[int, int]] | None = None

    def set_step_key(self, key: Key, step: int, number: int) -> None:
        """Sets for what is drawn from now on."""
        self._draw = key, (step, number)

    @property
    def draw(self) -> tuple[Key, tuple[int, int]]:
        """The key and the counter of this step."""
        if self._draw is None:
            raise RuntimeError(f"{self.what} in training mode: call set_step_key before each step")
        return self._draw

    @property
    def active(self) -> bool:
        """Whether anything is dropped now."""
        return self.training and self.p > 0

    def mask(self, shape: tuple[int, ...], like: torch.Tensor) -> torch.Tensor:
        """A tensor of 0 and 1 / (1 - p), on the device and of the dtype of `like`: element j
        (row-major) is not 0 where the j-th uniform variate in [0, 1) is at least p.
        """
        key, counter = self.draw
        mask = philox_uniform(
            shape, seed=key.seed, stream=key.stream, counter=counter, device=like.device
        )
        mask.ge_(self.p).mul_(1 / (1 - self.p))
        return mask.to(like.dtype)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class Dropout(KeyedLayer):
    """Zeros in place of single elements; what is left is divided by 1 - p. For tensors of any
    shape.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.mask(tuple(x.shape), x) if self.active else x


class LockedDropout(KeyedLayer):
    """Dropout of (T, ...) with one mask for all T steps of a sequence (Gal and Ghahramani 2016, "A
    Theoretically Grounded Application of Dropout in Recurrent Neural Networks").
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.mask((1, *x.shape[1:]), x) if self.active else x


class EmbeddingDropout(KeyedLayer):
    """Dropout of whole word types: of every occurrence of a type or of none (the same, Sec. 4.2;
    Merity et al. 2017, Sec. 4.3).
    """

    def forward(self, embedded: torch.Tensor, tokens: torch.Tensor, types: int) -> torch.Tensor:
        """embedded: (..., width) of tokens (...), of which there are so many types."""
        return embedded * self.mask((types, 1), embedded)[tokens] if self.active else embedded


class WeightDropout(Dropout):
    """Dropout of the elements of a weight (Wan et al. 2013, "Regularization of Neural Networks
    using DropConnect"), one mask for all that a step computes with it (Merity et al. 2017, Sec. 2).
    """


class Zoneout(KeyedLayer):
    """The probability with which single states of a recurrence stay what they were, and the draws
    for it (Krueger et al. 2017, "Zoneout"). The recurrence itself draws.
    """

    what = "zoneout"


def stochastic_layers(model: nn.Module) -> list[KeyedLayer]:
    """The layers of a model that draw in training mode, in the order of their numbers: that of
    `model.modules()`.
    """
    return [layer for layer in model.modules() if isinstance(layer, KeyedLayer) and layer.p > 0]


def set_step_key(layers: Sequence[KeyedLayer], key: Key, step: int) -> None:
    """Before each training step: what layer number l draws it will draw under `key` for the counter
    (step, l).
    """
    for number, layer in enumerate(layers):
        layer.set_step_key(key, step, number)
