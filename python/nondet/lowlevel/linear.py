"""Fully-connected layers."""

from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from nondet.lowlevel.accumulation import BIAS, WEIGHT, Accumulation, by_chunk
from nondet.lowlevel.layer import Layer

# Bytes of partial sums at a time: on a CPU, what stays in its caches while it is added up.
_MEMORY = {"cpu": 1 << 22, "cuda": 1 << 28}


class Linear(Layer, nn.Linear):
    """nn.Linear whose weight and bias gradients are sums over chunks of the examples: all leading
    dimensions of the input together.
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
    """(outputs, inputs), from (n, outputs) gradients and (n, inputs) examples, so many outputs at a
    time that the products of all chunks take no more memory than _MEMORY.
    """
    outputs, inputs = rows.shape[1], examples.shape[1]
    memory = _MEMORY.get(rows.device.type, _MEMORY["cuda"])
    taken = max(memory // max(accumulation.chunks * outputs * rows.itemsize, 1), 1)
    if taken >= inputs:
        products = by_chunk(_products, accumulation.chunks, (outputs, inputs), rows, examples)
        return accumulation.add(products, WEIGHT)
    total = rows.new_empty((outputs, inputs))
    for begin in range(0, inputs, taken):
        cut = examples[:, begin : begin + taken]
        products = by_chunk(_products, accumulation.chunks, (outputs, cut.shape[1]), rows, cut)
        total[:, begin : begin + taken] = accumulation.add(products, WEIGHT)
    return total


def _products(grads: torch.Tensor, examples: torch.Tensor) -> torch.Tensor:
    return torch.bmm(grads.transpose(1, 2), examples)
