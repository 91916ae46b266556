"""Composite reductions, decomposed into sums that have a handler and elementwise operators.

Most of the decompositions are torch's own, which torch.compile uses, too.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch._decomp import decomposition_table

aten = torch.ops.aten
Dim = int | Sequence[int] | None

# Packets of aten whose overloads are decomposed by torch's table.
TORCH_DECOMPOSITIONS = """
    native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_functional
    _native_batch_norm_legit_no_training _batch_norm_with_update _batch_norm_no_update
    _batch_norm_with_update_functional native_batch_norm_backward batch_norm_backward
    cudnn_batch_norm cudnn_batch_norm_backward miopen_batch_norm_backward
    native_layer_norm native_layer_norm_backward native_group_norm native_group_norm_backward
    _fused_rms_norm _fused_rms_norm_backward
    _softmax _softmax_backward_data _log_softmax _log_softmax_backward_data _safe_softmax logsumexp
    nll_loss_forward nll_loss2d_forward mse_loss smooth_l1_loss huber_loss soft_margin_loss
    binary_cross_entropy binary_cross_entropy_with_logits
    nansum _unsafe_masked_index_put_accumulate _weight_norm_interface
    _weight_norm_interface_backward
"""


@functools.cache
def decompositions() -> dict[Any, Callable[..., Any]]:
    """Return a dict from overloads to functions of the same arguments, to be called inside the
    mode.
    """
    table = {}
    for name in TORCH_DECOMPOSITIONS.split():
        packet = getattr(aten, name, None)  # some exist only in some versions
        for overload in packet.overloads() if packet is not None else ():
            operator = getattr(packet, overload)
            if operator in decomposition_table:
                table[operator] = decomposition_table[operator]
    return table | _OWN


def _accumulation(dtype: torch.dtype) -> torch.dtype:
    return torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype


def _var_mean(
    x: torch.Tensor, dim: Dim = None, *, correction: float | None = None, keepdim: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute in two passes: the mean, then the mean square of the differences."""
    dims = list(range(x.dim())) if dim is None or dim == [] or dim == () else dim
    wide = x.to(_accumulation(x.dtype))
    mean = aten.mean.dim(wide, dims, True)
    squares = aten.sum.dim_IntList((wide - mean).square(), dims, keepdim)
    count = x.numel() / max(mean.numel(), 1)
    freedom = max(count - (1 if correction is None else correction), 0)
    variance = squares / freedom if freedom else squares / torch.zeros_like(squares)
    return variance.to(x.dtype), mean.reshape(variance.shape).to(x.dtype)


def _var(x: torch.Tensor, dim: Dim = None, **kwargs: Any) -> torch.Tensor:
    return _var_mean(x, dim, **kwargs)[0]


def _std(x: torch.Tensor, dim: Dim = None, **kwargs: Any) -> torch.Tensor:
    return _var_mean(x.to(_accumulation(x.dtype)), dim, **kwargs)[0].sqrt().to(x.dtype)


def _std_mean(x: torch.Tensor, dim: Dim = None, **kwargs: Any) -> tuple[torch.Tensor, torch.Tensor]:
    variance, mean = _var_mean(x.to(_accumulation(x.dtype)), dim, **kwargs)
    return variance.sqrt().to(x.dtype), mean.to(x.dtype)


def _vector_norm(
    x: torch.Tensor,
    ord: float = 2,
    dim: Dim = None,
    keepdim: bool = False,
    *,
    dtype: torch.dtype | None = None,
) -> Any:
    if not x.is_floating_point():
        return NotImplemented
    dims = list(range(x.dim())) if dim is None or dim == [] else dim
    target = dtype or x.dtype
    magnitude = x.to(target).to(_accumulation(target)).abs()
    if ord == math.inf:
        return aten.amax.default(magnitude, dims, keepdim).to(target)
    if ord == -math.inf:
        return aten.amin.default(magnitude, dims, keepdim).to(target)
    if ord == 0:
        return aten.sum.dim_IntList((magnitude != 0).to(magnitude.dtype), dims, keepdim).to(target)
    if ord == 1:
        return aten.sum.dim_IntList(magnitude, dims, keepdim).to(target)
    if ord == 2:
        return aten.sum.dim_IntList(magnitude.square(), dims, keepdim).sqrt().to(target)
    return aten.sum.dim_IntList(magnitude**ord, dims, keepdim).pow(1 / ord).to(target)


def _norm(x: torch.Tensor, p: float | None = 2, *args: Any, **kwargs: Any) -> Any:
    """Compute the overloads (x, p), (x, p, dim, keepdim) and (x, p, dim, keepdim, dtype=)."""
    return _vector_norm(x, 2 if p is None else p, *args, **kwargs)


def _norm_dtype(x: torch.Tensor, p: float | None, *, dtype: torch.dtype) -> Any:
    return _norm(x, p, dtype=dtype)


def _foreach_norm(
    xs: Sequence[torch.Tensor], ord: float = 2, dtype: torch.dtype | None = None
) -> Any:
    if not all(x.is_floating_point() for x in xs):
        return NotImplemented
    return [_vector_norm(x, ord, dtype=dtype) for x in xs]


def _dist(a: torch.Tensor, b: torch.Tensor, p: float = 2) -> Any:
    return _vector_norm(a - b, p)


def _trace(x: torch.Tensor) -> torch.Tensor:
    result: torch.Tensor = aten.sum.default(x.diagonal())
    return result


def _mvlgamma(x: torch.Tensor, p: int) -> Any:
    """Compute the logarithm of the multivariate gamma function, a sum of p terms."""
    if p < 1:
        return NotImplemented  # torch raises the error
    wide = x if x.is_floating_point() else x.to(torch.get_default_dtype())
    terms = torch.stack([(wide - i / 2).lgamma() for i in range(p)], -1)
    constant = p * (p - 1) / 4 * math.log(math.pi)
    return aten.sum.dim_IntList(terms, [-1]) + constant


def _mvlgamma_in_place(x: torch.Tensor, p: int) -> Any:
    result = _mvlgamma(x, p) if x.is_floating_point() else NotImplemented
    return NotImplemented if result is NotImplemented else x.copy_(result)


def _mvlgamma_out(x: torch.Tensor, p: int, *, out: torch.Tensor) -> Any:
    result = _mvlgamma(x, p)
    if result is NotImplemented or out.dtype != result.dtype:
        return NotImplemented
    return aten.clone.out(result, out=out)


def _convolution_backward(grad: torch.Tensor, *args: Any) -> Any:
    """Compute the bias gradient as a sum; call the operator without it for the other gradients."""
    *rest, (wants_x, wants_weight, wants_bias) = args
    if not wants_bias:
        return NotImplemented
    bias = aten.sum.dim_IntList(grad, [d for d in range(grad.dim()) if d != 1])
    if not wants_x and not wants_weight:
        return None, None, bias
    mask = [wants_x, wants_weight, False]
    x_grad, weight_grad, _ = aten.convolution_backward.default(grad, *rest, mask)
    return x_grad, weight_grad, bias


_OWN: dict[Any, Callable[..., Any]] = {
    aten.var.correction: _var,
    aten.var_mean.correction: _var_mean,
    aten.std.correction: _std,
    aten.std_mean.correction: _std_mean,
    aten.linalg_vector_norm.default: _vector_norm,
    aten.norm.Scalar: _norm,
    aten.norm.ScalarOpt_dim: _norm,
    aten.norm.ScalarOpt_dim_dtype: _norm,
    aten.norm.ScalarOpt_dtype: _norm_dtype,
    aten._foreach_norm.Scalar: _foreach_norm,
    aten.dist.default: _dist,
    aten.trace.default: _trace,
    aten.mvlgamma.default: _mvlgamma,
    aten.mvlgamma_.default: _mvlgamma_in_place,
    aten.mvlgamma.out: _mvlgamma_out,
    aten.convolution_backward.default: _convolution_backward,
}
