"""Draws the order of the training examples in an epoch."""

import torch

from nondet.keys import Key
from nondet_ext import philox_permutation


def epoch_order(examples: int, key: Key, epoch: int, device: str | torch.device) -> torch.Tensor:
    """Return a permutation of range(examples), (examples,) int64, drawn for (key, epoch) alone."""
    return philox_permutation(
        examples, seed=key.seed, stream=key.stream, counter=(epoch,), device=device
    )
