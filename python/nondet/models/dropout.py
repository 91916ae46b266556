"""Dropout layers (Srivastava et al. 2014) whose masks are counter-based random numbers, equal on
every device.
"""

from collections.abc import Sequence

import torch
from torch import nn

from nondet.keys import Key
from nondet_ext import philox_uniform


class KeyedLayer(nn.Module):
    """A layer that draws random numbers in training mode, and none in evaluation mode.

    p: the probability of the random event, in [0, 1). The numbers of a step are drawn from the key
    and the counter (step, number of the layer) that `set_step_key` sets. A forward pass in training
    mode with p > 0 raises RuntimeError before the first `set_step_key`.
    """

    setting = "dropout"
    """The name of `p` in error messages."""

    def __init__(self, p: float) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"{self.setting} is {p}; it must lie in [0, 1)")
        self.p = p
        self._step_key: tuple[Key, tuple[int, int]] | None = None

    def set_step_key(self, key: Key, step: int, number: int) -> None:
        """Set the key and the counter (step, number) of the draws to come."""
        self._step_key = key, (step, number)

    @property
    def step_key(self) -> tuple[Key, tuple[int, int]]:
        """The key and the counter of this step. Raises RuntimeError before `set_step_key`."""
        if self._step_key is None:
            raise RuntimeError(
                f"{self.setting} in training mode: set_step_key must be called first"
            )
        return self._step_key

    @property
    def active(self) -> bool:
        """True in training mode if p > 0."""
        return self.training and self.p > 0

    def mask(self, shape: tuple[int, ...], like: torch.Tensor) -> torch.Tensor:
        """Draw this step's mask: 0 with probability p, else 1 / (1 - p).

        Element j (row-major) is 0 if the j-th uniform variate in [0, 1) is below p. Device and
        dtype are those of `like`.
        """
        key, counter = self.step_key
        mask = philox_uniform(
            shape, seed=key.seed, stream=key.stream, counter=counter, device=like.device
        )
        mask.ge_(self.p).mul_(1 / (1 - self.p))
        return mask.to(like.dtype)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class Dropout(KeyedLayer):
    """Dropout of single elements of a tensor of any shape; the others are divided by 1 - p."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.mask(tuple(x.shape), x) if self.active else x


class LockedDropout(KeyedLayer):
    """Dropout of a tensor (T, ...) with one mask for all T steps of a sequence (Gal and Ghahramani
    2016, "A Theoretically Grounded Application of Dropout in Recurrent Neural Networks").
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.mask((1, *x.shape[1:]), x) if self.active else x


class EmbeddingDropout(KeyedLayer):
    """Dropout of words: every occurrence of a word of the vocabulary, or none, is zeroed (Gal and
    Ghahramani 2016, Sec. 4.2; Merity et al. 2017, Sec. 4.3).
    """

    def forward(
        self, embedded: torch.Tensor, tokens: torch.Tensor, vocabulary_size: int
    ) -> torch.Tensor:
        """Drop from `embedded`, (..., width), the vectors of `tokens`, (...) int64."""
        if not self.active:
            return embedded
        return embedded * self.mask((vocabulary_size, 1), embedded)[tokens]


class WeightDropout(Dropout):
    """Dropout of the elements of a weight (Wan et al. 2013, "Regularization of Neural Networks
    using DropConnect"); a training step uses one mask for every use of the weight (Merity et al.
    2017, Sec. 2).
    """


class Zoneout(KeyedLayer):
    """Zoneout (Krueger et al. 2017): with probability p an element of a recurrence's state keeps
    its previous value. This layer holds p and the step's key; the recurrence draws.
    """

    setting = "zoneout"


def stochastic_layers(model: nn.Module) -> list[KeyedLayer]:
    """Return the layers of a model that draw random numbers in training mode, in the order of
    `model.modules()`: layer number l of `set_step_key` is element l.
    """
    return [layer for layer in model.modules() if isinstance(layer, KeyedLayer) and layer.p > 0]


def set_step_key(layers: Sequence[KeyedLayer], key: Key, step: int) -> None:
    """Set what layers draw in a training step: layer number l from `key` and the counter (step, l).
    Call it before each step.
    """
    for number, layer in enumerate(layers):
        layer.set_step_key(key, step, number)
