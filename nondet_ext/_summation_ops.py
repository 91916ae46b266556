"""Sums as torch ops: memory, layouts, choice of the kernel, derivatives. summation.py checks the
arguments.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from nondet_ext._backend import NATIVE_DTYPE, backend_for
from nondet_ext._layout import merged
from nondet_ext._op import Op
from nondet_ext._order import NATIVE_ORDER
from nondet_ext._transforms import to_dim, total

Gradients = tuple[torch.Tensor | None, ...]


def reduced_shape(shape: Sequence[int], dims: Sequence[int], keepdim: bool) -> list[int]:
    """Return the shape of a reduction over `dims`."""
    if keepdim:
        return [1 if d in dims else size for d, size in enumerate(shape)]
    return [size for d, size in enumerate(shape) if d not in dims]


def _reduce(
    x: torch.Tensor,
    dims: Sequence[int],
    mean: bool,
    order: str,
    key: Sequence[int],
    out: torch.Tensor,
) -> None:
    """Write the sums (or means) of x over `dims` to the contiguous `out`."""
    if out.numel() == 0:
        return
    count = x.numel() // out.numel()
    if count == 0:
        out.fill_(torch.nan if mean else 0)
        return
    kept_sizes, kept_strides = merged(x, [d for d in range(x.dim()) if d not in dims], "x")
    reduced_sizes, reduced_strides = merged(x, dims, "x")
    backend_for(x).run_in_workspace(
        "sum",
        {"outputs": out.numel(), "n": count},
        dtype=NATIVE_DTYPE[x.dtype],
        x=x.data_ptr(),
        kept_sizes=kept_sizes,
        kept_strides=kept_strides,
        reduced_sizes=reduced_sizes,
        reduced_strides=reduced_strides,
        out=out.data_ptr(),
        divisor=count if mean else 0,
        order=NATIVE_ORDER[order],
        key=key,
    )


def _sum(
    x: torch.Tensor, dims: Sequence[int], keepdim: bool, order: str, key: Sequence[int]
) -> torch.Tensor:
    out = x.new_empty(reduced_shape(x.shape, dims, keepdim))
    _reduce(x, dims, False, order, key, out)
    return out


def _mean(
    x: torch.Tensor, dims: Sequence[int], keepdim: bool, order: str, key: Sequence[int]
) -> torch.Tensor:
    out = x.new_empty(reduced_shape(x.shape, dims, keepdim))
    _reduce(x, dims, True, order, key, out)
    return out


def _dot(a: torch.Tensor, b: torch.Tensor, order: str, key: Sequence[int]) -> torch.Tensor:
    out = a.new_empty(())
    if a.numel() == 0:
        return out.zero_()
    left, right = a.contiguous(), b.contiguous()
    backend_for(a).run_in_workspace(
        "dot",
        {"n": a.numel()},
        dtype=NATIVE_DTYPE[a.dtype],
        a=left.data_ptr(),
        b=right.data_ptr(),
        n=a.numel(),
        out=out.data_ptr(),
        order=NATIVE_ORDER[order],
        key=key,
    )
    return out


def _refuse_bad_offsets(offsets: torch.Tensor, rows: int) -> None:
    fits = (offsets[0] >= 0) & (offsets[-1] <= rows) & (offsets[1:] >= offsets[:-1]).all()
    if offsets.device.type == "cuda":
        torch._assert_async(fits, f"nondet_ext: offsets must not decrease and lie in [0, {rows}]")
    elif offsets.device.type == "cpu" and not bool(fits):
        raise ValueError(
            f"offsets must not decrease and lie in [0, {rows}], got {offsets.tolist()[:10]}"
            + (" ..." if offsets.numel() > 10 else "")
        )


def _segment_sum(
    x: torch.Tensor, offsets: torch.Tensor, order: str, key: Sequence[int]
) -> torch.Tensor:
    _refuse_bad_offsets(offsets, x.shape[0])
    segments = offsets.numel() - 1
    out = x.new_empty([segments, *x.shape[1:]])
    if out.numel() == 0:
        return out
    if x.numel() == 0:
        return out.zero_()
    rows, bounds = x.contiguous(), offsets.contiguous()
    backend = backend_for(x)
    sizes = {"segments": segments, "columns": out.numel() // segments}
    if backend.launches:
        sizes["rows"] = x.shape[0]
    backend.run_in_workspace(
        "segment_sum",
        sizes,
        dtype=NATIVE_DTYPE[x.dtype],
        x=rows.data_ptr(),
        offsets=bounds.data_ptr(),
        out=out.data_ptr(),
        order=NATIVE_ORDER[order],
        key=key,
        **sizes,
    )
    return out


def _save_reduction(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
    x, ctx.dims, ctx.keepdim, _, _ = inputs
    ctx.shape = x.shape


def _spread(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
    if not ctx.keepdim:
        for d in ctx.dims:
            grad = grad.unsqueeze(d)
    return grad.expand(ctx.shape)


def _sum_backward(ctx: Any, grad: torch.Tensor) -> Gradients:
    return _spread(ctx, grad), None, None, None, None


def _mean_backward(ctx: Any, grad: torch.Tensor) -> Gradients:
    count = 1
    for d in ctx.dims:
        count *= ctx.shape[d]
    return _spread(ctx, grad / count), None, None, None, None


def _save_factors(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
    ctx.save_for_backward(inputs[0], inputs[1])


def _dot_backward(ctx: Any, grad: torch.Tensor) -> Gradients:
    a, b = ctx.saved_tensors
    needs = ctx.needs_input_grad
    return grad * b if needs[0] else None, grad * a if needs[1] else None, None, None


def _save_offsets(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
    ctx.save_for_backward(inputs[1])
    ctx.rows = inputs[0].shape[0]


def _segment_sum_backward(ctx: Any, grad: torch.Tensor) -> Gradients:
    (offsets,) = ctx.saved_tensors
    if grad.shape[0] == 0:
        return grad.new_zeros([ctx.rows, *grad.shape[1:]]), None, None, None
    position = torch.arange(ctx.rows, device=grad.device)
    segment = torch.searchsorted(offsets, position, right=True) - 1
    inside = (position >= offsets[0]) & (position < offsets[-1])
    rows = grad.index_select(0, segment.clamp(0, grad.shape[0] - 1))
    mask = inside.reshape([-1] + [1] * (grad.dim() - 1))
    return torch.where(mask, rows, torch.zeros_like(rows)), None, None, None


Dims = list[int | None]
Sum = Callable[..., torch.Tensor]


def _tangent_of_first(
    op: Sum, arguments: list[Any], tangents: Sequence[torch.Tensor | None]
) -> torch.Tensor:
    return op(tangents[0], *arguments[1:])


def _batch_reduction(
    op: Sum, size: int, batch: Dims, x: torch.Tensor, dims: Sequence[int], *rest: Any
) -> tuple[torch.Tensor, int]:
    return op(to_dim(x, batch[0], 0, size), [d + 1 for d in dims], *rest), 0


def _dot_tangent(
    op: Sum, arguments: list[Any], tangents: Sequence[torch.Tensor | None]
) -> torch.Tensor:
    a, b, *rest = arguments
    of_a, of_b = tangents[:2]
    return total(
        None if of_a is None else op(of_a, b, *rest), None if of_b is None else op(a, of_b, *rest)
    )


def _batch_dot(
    op: Sum, size: int, dims: Dims, a: torch.Tensor, b: torch.Tensor, order: str, key: Sequence[int]
) -> Any:
    # An exact sum is that of the exact products; compiled code batches the registered op.
    if order == "exact" or op is not dot:
        return NotImplemented
    wide = torch.float64 if a.dtype == torch.float64 else torch.float32
    left, right = (to_dim(x, d, 0, size).to(wide) for x, d in zip((a, b), dims, strict=False))
    return sum(left * right, [1], False, order, key).to(a.dtype), 0


def _batch_segment_sum(
    op: Sum,
    size: int,
    dims: Dims,
    x: torch.Tensor,
    offsets: torch.Tensor,
    order: str,
    key: Sequence[int],
) -> Any:
    if dims[0] is None or dims[1] is not None:
        return NotImplemented
    return op(x.movedim(dims[0], 1), offsets, order, key), 1


sum = Op(
    "sum",
    _sum,
    fake=lambda x, dims, keepdim, *_: x.new_empty(reduced_shape(x.shape, dims, keepdim)),
    backward=_sum_backward,
    setup_context=_save_reduction,
    tangent=_tangent_of_first,
    batch=_batch_reduction,
)
mean = Op(
    "mean",
    _mean,
    fake=lambda x, dims, keepdim, *_: x.new_empty(reduced_shape(x.shape, dims, keepdim)),
    backward=_mean_backward,
    setup_context=_save_reduction,
    tangent=_tangent_of_first,
    batch=_batch_reduction,
)
sum_out = Op("sum_out", _reduce, mutates=("out",))
dot = Op(
    "dot",
    _dot,
    fake=lambda a, *_: a.new_empty(()),
    backward=_dot_backward,
    setup_context=_save_factors,
    tangent=_dot_tangent,
    batch=_batch_dot,
)
segment_sum = Op(
    "segment_sum",
    _segment_sum,
    fake=lambda x, offsets, *_: x.new_empty([offsets.shape[0] - 1, *x.shape[1:]]),
    backward=_segment_sum_backward,
    setup_context=_save_offsets,
    tangent=_tangent_of_first,
    batch=_batch_segment_sum,
)
