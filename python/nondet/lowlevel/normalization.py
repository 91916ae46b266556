"""Batch normalization whose scale and offset gradients are sums in a given order."""

from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn.modules.batchnorm import _BatchNorm

from nondet.lowlevel.accumulation import BIAS, WEIGHT, Accumulation, chunk_sizes
from nondet.lowlevel.layer import Layer


class _Converted(Layer, _BatchNorm):
    """Batch norm whose scale and offset gradients, in training mode, are sums over chunks of the
    batch. The vendor's kernels compute the statistics of the batch, the input's gradient with its
    two sums, and everything in evaluation mode.
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return super().forward(input)
        self.refuse_autocast(input)
        self._check_input_dim(input)  # type: ignore[no-untyped-call]
        if input.numel() == input.shape[1]:
            raise ValueError(
                "batch norm in training mode needs more than one value per channel, got an input "
                f"of shape {tuple(input.shape)}"
            )
        output: torch.Tensor = _BatchNormFunction.apply(
            input, self.weight, self.bias, self, self._count_batch()
        )
        return output

    def _count_batch(self) -> float:
        """Count this batch, and return its weight in the running statistics."""
        if self.num_batches_tracked is None:
            return self.momentum or 0.0
        self.num_batches_tracked.add_(1)
        if self.momentum is None:
            return 1.0 / float(self.num_batches_tracked)
        return self.momentum


class BatchNorm1d(_Converted, nn.BatchNorm1d):
    __doc__ = _Converted.__doc__


class BatchNorm2d(_Converted, nn.BatchNorm2d):
    __doc__ = _Converted.__doc__


class _BatchNormFunction(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        input: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor,
        layer: _Converted,
        momentum: float,
    ) -> torch.Tensor:
        # F.batch_norm calls this function, which also returns the statistics of the batch.
        output, mean, inverse_sd, *_ = torch._batch_norm_impl_index(
            input,
            weight,
            bias,
            layer.running_mean,
            layer.running_var,
            True,
            momentum,
            layer.eps,
            torch.backends.cudnn.enabled,
        )
        ctx.save_for_backward(input, weight, mean, inverse_sd)
        ctx.eps = layer.eps
        ctx.accumulation = layer.accumulation
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        input, weight, mean, inverse_sd = ctx.saved_tensors
        accumulation: Accumulation = ctx.accumulation

        def backward(
            grads: torch.Tensor, examples: torch.Tensor, mask: list[bool]
        ) -> tuple[torch.Tensor, ...]:
            parts: tuple[torch.Tensor, ...] = torch.ops.aten.native_batch_norm_backward(
                grads, examples, weight, None, None, mean, inverse_sd, True, ctx.eps, mask
            )
            return parts

        grad_input = grad_weight = grad_bias = None
        if ctx.needs_input_grad[0]:
            grad_input = backward(grad, input, [True, False, False])[0]
        if ctx.needs_input_grad[1] or ctx.needs_input_grad[2]:
            sizes = chunk_sizes(len(grad), accumulation.chunks)
            partials = weight.new_empty((2, len(sizes), *weight.shape))
            cut = zip(grad.split(sizes), input.split(sizes), strict=True)
            for number, (grads, examples) in enumerate(cut):
                _, scale, offset = backward(grads, examples, [False, True, True])
                partials[0, number] = scale
                partials[1, number] = offset
            if ctx.needs_input_grad[1]:
                grad_weight = accumulation.add(partials[0], WEIGHT)
            if ctx.needs_input_grad[2]:
                grad_bias = accumulation.add(partials[1], BIAS)
        return grad_input, grad_weight, grad_bias, None, None
