"""The mean loss of a batch, added up like the gradients."""

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

# No layer of a model has this number.
_LOSS = 2**32 - 1


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
    """The mean cross-entropy of (n, classes) logits and (n,) int64 labels, in nats: a 0-d tensor.

    The losses of the examples are the vendor's; their sums over chunks of the batch are added in
    `order`, then divided by n. Gradients of the logits add nothing and are torch's own.
    seed, step: of the key of a seeded order.
    """
    check_order(order)
    check_chunks(chunks)
    losses = F.cross_entropy(logits, labels, reduction="none", label_smoothing=label_smoothing)
    mean: torch.Tensor = _Mean.apply(losses, Accumulation(order, chunks, _LOSS, seed, step))
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
