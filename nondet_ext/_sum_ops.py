"""Sums as registered torch ops: allocation, layouts, dispatch, derivatives. The checks of arguments
are in summation.py.
"""

from collections.abc import Sequence
from typing import Any

import torch

from nondet_ext._backend import NATIVE_DTYPE, backend_for, cpu_threads, emulating
from nondet_ext._eager import PLAIN, is_plain
from nondet_ext._layout import merged
from nondet_ext._native import _C
from nondet_ext._order import NATIVE_ORDER
from nondet_ext._sum_launches import run_in_workspace


def reduced_shape(shape: Sequence[int], dims: Sequence[int], keepdim: bool) -> list[int]:
    if keepdim:
        return [1 if d in dims else size for d, size in enumerate(shape)]
    return [size for d, size in enumerate(shape) if d not in dims]


def run_sum(
    x: torch.Tensor,
    dims: Sequence[int],
    out: torch.Tensor,
    mean: bool,
    order: str,
    key: Sequence[int],
) -> None:
    """Writes the sums (or means) of x over `dims` to the contiguous `out`."""
    if out.numel() == 0:
        return
    count = x.numel() // out.numel()
    if count == 0:
        out.fill_(torch.nan if mean else 0)
        return
    kept_sizes, kept_strides = merged(x, [d for d in range(x.dim()) if d not in dims], "x")
    reduced_sizes, reduced_strides = merged(x, dims, "x")
    backend = backend_for(x)
    arguments = {
        "dtype": NATIVE_DTYPE[x.dtype],
        "x": x.data_ptr(),
        "kept_sizes": kept_sizes,
        "kept_strides": kept_strides,
        "reduced_sizes": reduced_sizes,
        "reduced_strides": reduced_strides,
        "out": out.data_ptr(),
        "divisor": count if mean else 0,
        "order": NATIVE_ORDER[order],
        "key": key,
    }
    run_in_workspace(backend, "sum", arguments, {"outputs": out.numel(), "n": count})


_EAGER = {dtype: (native, torch.zeros((), dtype=dtype)) for dtype, native in NATIVE_DTYPE.items()}


def _is_quick(x: torch.Tensor) -> bool:
    """Whether the shortest way to the kernels is open."""
    return (
        type(x) in PLAIN
        and x.is_cpu
        and x.is_contiguous()
        and not x.is_neg()
        and is_plain()
        and not (x.requires_grad and torch.is_grad_enabled())
        and not emulating()
    )


def quick_sum(x: torch.Tensor) -> torch.Tensor | None:
    """The fixed sum of all elements by the shortest way there is, or None where that is closed."""
    known = _EAGER.get(x.dtype)
    if known is None or not _is_quick(x):
        return None
    dtype, scalar = known
    out = torch.empty_like(scalar)
    _C.cpu.sum_all(dtype, x.data_ptr(), x.numel(), out.data_ptr(), torch.get_num_threads())
    return out


def quick_accumulate(partials: torch.Tensor, order: str, key: Sequence[int]) -> torch.Tensor | None:
    """The sum over the first dimension by the shortest way there is, or None where it is closed."""
    dtype = NATIVE_DTYPE.get(partials.dtype)
    if dtype is None or partials.numel() == 0 or not _is_quick(partials):
        return None
    rows = len(partials)
    out = partials.new_empty(partials.shape[1:])
    _C.cpu.sum_rows(
        dtype,
        partials.data_ptr(),
        rows,
        partials.numel() // rows,
        out.data_ptr(),
        NATIVE_ORDER[order],
        key,
        cpu_threads(),
    )
    return out


def _reduce(
    x: torch.Tensor, dims: Sequence[int], keepdim: bool, mean: bool, order: str, key: Sequence[int]
) -> torch.Tensor:
    out = x.new_empty(reduced_shape(x.shape, dims, keepdim))
    run_sum(x, dims, out, mean, order, key)
    return out


@torch.library.custom_op("nondet_ext::sum", mutates_args=())
def sum(
    x: torch.Tensor, dims: Sequence[int], keepdim: bool, order: str, key: Sequence[int]
) -> torch.Tensor:
    return _reduce(x, dims, keepdim, False, order, key)


@torch.library.custom_op("nondet_ext::mean", mutates_args=())
def mean(
    x: torch.Tensor, dims: Sequence[int], keepdim: bool, order: str, key: Sequence[int]
) -> torch.Tensor:
    return _reduce(x, dims, keepdim, True, order, key)


@torch.library.custom_op("nondet_ext::sum_out", mutates_args=("out",))
def sum_out(
    x: torch.Tensor,
    dims: Sequence[int],
    mean: bool,
    order: str,
    key: Sequence[int],
    out: torch.Tensor,
) -> None:
    run_sum(x, dims, out, mean, order, key)


@torch.library.custom_op("nondet_ext::dot", mutates_args=())
def dot(a: torch.Tensor, b: torch.Tensor, order: str, key: Sequence[int]) -> torch.Tensor:
    out = a.new_empty(())
    if a.numel() == 0:
        return out.zero_()
    left, right = a.contiguous(), b.contiguous()
    arguments = {
        "dtype": NATIVE_DTYPE[a.dtype],
        "a": left.data_ptr(),
        "b": right.data_ptr(),
        "n": a.numel(),
        "out": out.data_ptr(),
        "order": NATIVE_ORDER[order],
        "key": key,
    }
    run_in_workspace(backend_for(a), "dot", arguments, {"n": a.numel()})
    return out


def refuse_bad_offsets(offsets: torch.Tensor, rows: int) -> None:
    fits = (offsets[0] >= 0) & (offsets[-1] <= rows) & (offsets[1:] >= offsets[:-1]).all()
    if offsets.device.type == "cuda":
        torch._assert_async(fits, f"nondet_ext: offsets must not decrease and lie in [0, {rows}]")
    elif offsets.device.type == "cpu" and not bool(fits):
        raise ValueError(
            f"offsets must not decrease and lie in [0, {rows}], got {offsets.tolist()[:10]}"
            + (" ..." if offsets.numel() > 10 else "")
        )


@torch.library.custom_op("nondet_ext::segment_sum", mutates_args=())
def segment_sum(
    x: torch.Tensor, offsets: torch.Tensor, order: str, key: Sequence[int]
) -> torch.Tensor:
    refuse_bad_offsets(offsets, x.shape[0])
    segments = offsets.numel() - 1
    out = x.new_empty([segments, *x.shape[1:]])
    if out.numel() == 0:
        return out
    if x.numel() == 0:
        return out.zero_()
    rows, bounds = x.contiguous(), offsets.contiguous()
    sizes = {"segments": segments, "columns": out.numel() // segments}
    arguments = {
        "dtype": NATIVE_DTYPE[x.dtype],
        "x": rows.data_ptr(),
        "offsets": bounds.data_ptr(),
        "out": out.data_ptr(),
        "order": NATIVE_ORDER[order],
        "key": key,
        **sizes,
    }
    run_in_workspace(backend_for(x), "segment_sum", arguments, sizes, rows=x.shape[0])
    return out


@sum.register_fake
@mean.register_fake
def _(
    x: torch.Tensor, dims: Sequence[int], keepdim: bool, order: str, key: Sequence[int]
) -> torch.Tensor:
    return x.new_empty(reduced_shape(x.shape, dims, keepdim))


@sum_out.register_fake
def _(
    x: torch.Tensor,
    dims: Sequence[int],
    mean: bool,
    order: str,
    key: Sequence[int],
    out: torch.Tensor,
) -> None:
    return None


@dot.register_fake
def _(a: torch.Tensor, b: torch.Tensor, order: str, key: Sequence[int]) -> torch.Tensor:
    return a.new_empty(())


@segment_sum.register_fake
def _(x: torch.Tensor, offsets: torch.Tensor, order: str, key: Sequence[int]) -> torch.Tensor:
    return x.new_empty([offsets.shape[0] - 1, *x.shape[1:]])


def _keep_reduction(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
    x, ctx.dims, ctx.keepdim, _, _ = inputs
    ctx.shape = x.shape


def _spread(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
    if not ctx.keepdim:
        for d in ctx.dims:
            grad = grad.unsqueeze(d)
    return grad.expand(ctx.shape)


def _sum_backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
    return _spread(ctx, grad), None, None, None, None


def _mean_backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
    count = 1
    for d in ctx.dims:
        count *= ctx.shape[d]
    return _spread(ctx, grad / count), None, None, None, None


def _keep_factors(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
    ctx.save_for_backward(inputs[0], inputs[1])


def _dot_backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
    a, b = ctx.saved_tensors
    needs = ctx.needs_input_grad
    return grad * b if needs[0] else None, grad * a if needs[1] else None, None, None


def _keep_offsets(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
    ctx.save_for_backward(inputs[1])
    ctx.rows = inputs[0].shape[0]


def _segment_sum_backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
    (offsets,) = ctx.saved_tensors
    if grad.shape[0] == 0:
        return grad.new_zeros([ctx.rows, *grad.shape[1:]]), None, None, None
    position = torch.arange(ctx.rows, device=grad.device)
    segment = torch.searchsorted(offsets, position, right=True) - 1
    inside = (position >= offsets[0]) & (position < offsets[-1])
    rows = grad.index_select(0, segment.clamp(0, grad.shape[0] - 1))
    mask = inside.reshape([-1] + [1] * (grad.dim() - 1))
    return torch.where(mask, rows, torch.zeros_like(rows)), None, None, None


sum.register_autograd(_sum_backward, setup_context=_keep_reduction)
mean.register_autograd(_mean_backward, setup_context=_keep_reduction)
dot.register_autograd(_dot_backward, setup_context=_keep_factors)
segment_sum.register_autograd(_segment_sum_backward, setup_context=_keep_offsets)
