"""The mean loss of a batch as a sum in a given order."""

from typing import Any

import torch
from torch.nn import functional as F

from nondet.lowlevel.accumulation import (
    OTHER,
    Accumulation,
    Order,
    by_chunk,
    check_chunks,
    check_order,
)

# The loss counts as a layer, with a number that no layer of a model has.
_LOSS_LAYER = 2**32 - 1


def cross_entropy(
    logits: torch.Tensor,
    labels: torch.Tensor,
    *,
    order: Order = "fixed",
    seed: int | None = None,
    step: int = 0,
    chunks: int = 8,
    label_smoothing: float = 0.0,
) -> torch.Tensor:
    """Return the mean cross-entropy of (n, classes) logits and (n,) int64 labels, 0-d, in nats.

    The vendor's kernels compute the losses of the examples and their sums over chunks of the batch;
    these are added in `order`, then divided by n. Gradients of the logits involve no sum and are
    torch's own. seed, step: words of the key of a seeded order.
    Raises ValueError for an unknown order or chunks below 1.
    """
    check_order(order)
    chunks = check_chunks(chunks)
    losses = F.cross_entropy(logits, labels, reduction="none", label_smoothing=label_smoothing)
    mean: torch.Tensor = _Mean.apply(losses, Accumulation(order, chunks, _LOSS_LAYER, seed, step))
    return mean


class _Mean(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, losses: torch.Tensor, accumulation: Accumulation) -> torch.Tensor:
        ctx.examples = len(losses)
        partials = by_chunk(lambda part: part.sum(1), accumulation.chunks, (), losses)
        return accumulation.add(partials, OTHER) / len(losses)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None]:
        return (grad / ctx.examples).expand(ctx.examples), None
