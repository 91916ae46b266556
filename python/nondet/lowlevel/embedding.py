"""Embeddings whose weight gradients are sums in a given order."""

from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from nondet.lowlevel.accumulation import Accumulation
from nondet.lowlevel.layer import Layer


class Embedding(Layer, nn.Embedding):
    """nn.Embedding whose weight gradient is a sum, for every row, over the positions at which the
    row was used: position by position, in the orders of `nondet_ext.index_add`, not by chunks.
    """

    @classmethod
    def check(cls, name: str, module: nn.Module) -> None:
        assert isinstance(module, nn.Embedding)
        for setting in ("max_norm", "scale_grad_by_freq", "sparse"):
            if getattr(module, setting):
                raise TypeError(
                    f"{name} is an Embedding with {setting}={getattr(module, setting)}, which "
                    "cannot be converted"
                )

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = _Embedding.apply(
            input, self.weight, self.padding_idx, self.accumulation
        )
        return output


class _Embedding(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        input: torch.Tensor,
        weight: torch.Tensor,
        padding_idx: int | None,
        accumulation: Accumulation,
    ) -> torch.Tensor:
        ctx.save_for_backward(input)
        ctx.shape = weight.shape
        ctx.padding_idx = padding_idx
        ctx.accumulation = accumulation
        return F.embedding(input, weight, padding_idx)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (input,) = ctx.saved_tensors
        rows = grad.reshape(-1, grad.shape[-1])
        total = ctx.accumulation.add_at(input.reshape(-1), rows, ctx.shape[0])
        if ctx.padding_idx is not None:
            total[ctx.padding_idx] = 0
        return None, total, None, None
