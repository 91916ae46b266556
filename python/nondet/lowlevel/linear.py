"""Fully connected layers whose gradients are sums in a given order."""

from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from nondet.lowlevel.accumulation import BIAS, WEIGHT, Accumulation, by_chunk
from nondet.lowlevel.layer import Layer

PARTIAL_BYTES = {"cpu": 1 << 22, "cuda": 1 << 28}
"""Bytes of partial sums computed at a time: on a CPU, few enough to stay in its caches."""


class Linear(Layer, nn.Linear):
    """nn.Linear whose weight and bias gradients are sums over chunks of the examples; all leading
    dimensions of the input count as examples.
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        self.refuse_autocast(input)
        output: torch.Tensor = _Linear.apply(input, self.weight, self.bias, self.accumulation)
        return output


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        input: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        accumulation: Accumulation,
    ) -> torch.Tensor:
        ctx.save_for_backward(input, weight)
        ctx.accumulation = accumulation
        return F.linear(input, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        input, weight = ctx.saved_tensors
        add, chunks = ctx.accumulation.add, ctx.accumulation.chunks
        rows = grad.reshape(-1, grad.shape[-1])
        grad_input = grad_weight = grad_bias = None
        if ctx.needs_input_grad[0]:
            grad_input = (rows @ weight).view_as(input)
        if ctx.needs_input_grad[1]:
            examples = input.reshape(-1, input.shape[-1])
            grad_weight = _weight_gradient(rows, examples, ctx.accumulation)
        if ctx.needs_input_grad[2]:
            sums = by_chunk(lambda chunk: chunk.sum(1), chunks, (rows.shape[1],), rows)
            grad_bias = add(sums, BIAS)
        return grad_input, grad_weight, grad_bias, None


def _weight_gradient(
    rows: torch.Tensor, examples: torch.Tensor, accumulation: Accumulation
) -> torch.Tensor:
    """Return the weight gradient, (outputs, inputs), from gradients `rows`, (n, outputs), and
    examples, (n, inputs). It is computed for so many inputs at a time that the products of all
    chunks take at most PARTIAL_BYTES.
    """
    outputs, inputs = rows.shape[1], examples.shape[1]
    memory = PARTIAL_BYTES.get(rows.device.type, PARTIAL_BYTES["cuda"])
    width = max(memory // max(accumulation.chunks * outputs * rows.itemsize, 1), 1)
    if width >= inputs:
        products = by_chunk(_products, accumulation.chunks, (outputs, inputs), rows, examples)
        return accumulation.add(products, WEIGHT)
    total = rows.new_empty((outputs, inputs))
    for begin in range(0, inputs, width):
        cut = examples[:, begin : begin + width]
        # Without a name for the products, their memory is free for the next ones: it stays cached.
        total[:, begin : begin + width] = accumulation.add(
            by_chunk(_products, accumulation.chunks, (outputs, cut.shape[1]), rows, cut), WEIGHT
        )
    return total


def _products(grads: torch.Tensor, examples: torch.Tensor) -> torch.Tensor:
    return torch.bmm(grads.transpose(1, 2), examples)
