"""Convolutions whose weight gradients are sums in a given order."""

from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from nondet.lowlevel.accumulation import BIAS, WEIGHT, Accumulation, by_chunk, chunk_sizes
from nondet.lowlevel.layer import Layer


class Conv2d(Layer, nn.Conv2d):
    """nn.Conv2d whose weight and bias gradients are sums over chunks of the batch."""

    @classmethod
    def check(cls, name: str, module: nn.Module) -> None:
        assert isinstance(module, nn.Conv2d)
        if module.padding_mode != "zeros":
            raise TypeError(
                f"{name} is a Conv2d with padding_mode={module.padding_mode!r}; only 'zeros' can "
                "be converted"
            )
        if module.padding == "same" and any(total % 2 for total in _same_padding(module)):
            raise TypeError(
                f"{name} is a Conv2d whose padding 'same' adds more on one side than on the "
                "other, which cannot be converted"
            )

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        if input.dim() == 3:
            return self.forward(input[None])[0]
        self.refuse_autocast(input)
        output: torch.Tensor = _Conv2d.apply(input, self.weight, self.bias, self)
        return output

    def numeric_padding(self) -> list[int]:
        """Return the padding of height and width, on each side, in pixels."""
        if self.padding == "valid":
            return [0, 0]
        if self.padding == "same":
            return [total // 2 for total in _same_padding(self)]
        return [int(each) for each in self.padding]


def _same_padding(module: nn.Conv2d) -> list[int]:
    """Return the total padding of height and width for the padding 'same', in pixels."""
    pairs = zip(module.dilation, module.kernel_size, strict=True)
    return [dilation * (size - 1) for dilation, size in pairs]


class _Conv2d(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        input: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        layer: Conv2d,
    ) -> torch.Tensor:
        ctx.save_for_backward(input, weight)
        ctx.geometry = (
            list(layer.stride),
            layer.numeric_padding(),
            list(layer.dilation),
            False,
            [0, 0],
            layer.groups,
        )
        ctx.accumulation = layer.accumulation
        return F.conv2d(
            input, weight, bias, layer.stride, layer.padding, layer.dilation, layer.groups
        )

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        input, weight = ctx.saved_tensors
        accumulation: Accumulation = ctx.accumulation
        backward = torch.ops.aten.convolution_backward
        grad_input = grad_weight = grad_bias = None
        if ctx.needs_input_grad[0]:
            mask = [True, False, False]
            grad_input = backward(grad, input, weight, None, *ctx.geometry, mask)[0]
        if ctx.needs_input_grad[1]:
            sizes = chunk_sizes(len(grad), accumulation.chunks)
            partials = weight.new_empty((len(sizes), *weight.shape))
            cut = zip(grad.split(sizes), input.split(sizes), strict=True)
            mask = [False, True, False]
            for partial, (grads, examples) in zip(partials, cut, strict=True):
                partial.copy_(backward(grads, examples, weight, None, *ctx.geometry, mask)[1])
            grad_weight = accumulation.add(partials, WEIGHT)
        if ctx.needs_input_grad[2]:
            sums = by_chunk(
                lambda chunk: chunk.sum((1, 3, 4)), accumulation.chunks, (len(weight),), grad
            )
            grad_bias = accumulation.add(sums, BIAS)
        return grad_input, grad_weight, grad_bias, None
