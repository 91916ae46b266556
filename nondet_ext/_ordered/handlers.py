"""Handlers of torch operators whose sums nondet_ext computes itself.

A handler takes a function that returns the order of the next sum, and the operator's arguments. It
returns NotImplemented for what it does not support (integers, sparse layouts, complex elements
outside of plain sums), before it asks for an order or changes anything.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from nondet_ext import _check, scatter, summation
from nondet_ext._ordered.harmless import is_strided

aten = torch.ops.aten
NextOrder = Callable[[], dict[str, Any]]
Handler = Callable[..., Any]
HANDLERS: dict[Any, Handler] = {}


def handles(*operators: Any) -> Callable[[Handler], Handler]:
    def register(handler: Handler) -> Handler:
        HANDLERS.update(dict.fromkeys(operators, handler))
        return handler

    return register


def also_out(*operators: Any) -> Callable[[Handler], Handler]:
    """Register the handler for overloads that write their one result to `out`, too."""

    def register(handler: Handler) -> Handler:
        def to_out(next_order: NextOrder, *args: Any, out: torch.Tensor, **kwargs: Any) -> Any:
            result = handler(next_order, *args, **kwargs)
            if result is not NotImplemented:
                aten.clone.out(result, out=out)  # resizes as torch does
                return out
            return NotImplemented

        HANDLERS.update(dict.fromkeys(operators, to_out))
        return handler

    return register


def _is_supported(*tensors: torch.Tensor) -> bool:
    return all(
        tensor.dtype in _check.FLOATS
        and is_strided(tensor)
        and tensor.device.type in ("cpu", "cuda")
        for tensor in tensors
    )


@handles(aten.sum.default, aten.sum.dim_IntList)
def _sum(next_order: NextOrder, x: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
    return _reduce(summation.sum, next_order, x, *args, **kwargs)


@handles(aten.mean.default, aten.mean.dim)
def _mean(next_order: NextOrder, x: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
    return _reduce(summation.mean, next_order, x, *args, **kwargs)


@handles(aten.sum.out, aten.sum.IntList_out)
def _sum_out(next_order: NextOrder, x: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
    return _reduce_out(summation.sum, next_order, x, *args, **kwargs)


@handles(aten.mean.out, aten.mean.dtype_out)
def _mean_out(next_order: NextOrder, x: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
    return _reduce_out(summation.mean, next_order, x, *args, **kwargs)


def _reduce(
    reduce: Callable[..., torch.Tensor],
    next_order: NextOrder,
    x: torch.Tensor,
    dim: int | Sequence[int] | None = None,
    keepdim: bool = False,
    *,
    dtype: torch.dtype | None = None,
) -> Any:
    if dtype is not None and (dtype.is_floating_point or dtype.is_complex):
        x = x.to(dtype)
    elif dtype is not None:
        return NotImplemented
    if x.is_complex() and x.dim() > 0 and is_strided(x):
        parts = torch.view_as_real(x.resolve_conj())
        if not _is_supported(parts):
            return NotImplemented
        dims = _check.reduced_dims(dim, x.dim())
        return torch.view_as_complex(reduce(parts, dims, keepdim, **next_order()).contiguous())
    if not _is_supported(x):
        return NotImplemented
    return reduce(x, dim, keepdim, **next_order())


def _reduce_out(
    reduce: Callable[..., torch.Tensor],
    next_order: NextOrder,
    x: torch.Tensor,
    *args: Any,
    out: torch.Tensor,
    dtype: torch.dtype | None = None,
    **kwargs: Any,
) -> Any:
    if dtype not in (None, out.dtype):
        return NotImplemented  # torch raises the error
    result = _reduce(reduce, next_order, x, *args, dtype=out.dtype, **kwargs)
    if result is NotImplemented:
        return NotImplemented
    aten.clone.out(result, out=out)
    return out


@handles(aten.dot.default, aten.vdot.default)
@also_out(aten.dot.out, aten.vdot.out)
def _dot(next_order: NextOrder, a: torch.Tensor, b: torch.Tensor) -> Any:
    if not _is_supported(a, b):
        return NotImplemented
    return summation.dot(a, b, **next_order())


@handles(aten.index_add.default)
@also_out(aten.index_add.out)
def _index_add(next_order: NextOrder, x: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
    return _add_rows("index_add", next_order, x, *args, **kwargs)


@handles(aten.index_add_.default)
def _index_add_in_place(next_order: NextOrder, x: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
    return _add_rows("index_add_", next_order, x, *args, **kwargs)


def _add_rows(
    function: str,
    next_order: NextOrder,
    x: torch.Tensor,
    dim: int,
    index: torch.Tensor,
    source: torch.Tensor,
    *,
    alpha: float = 1,
) -> Any:
    if not _is_supported(x, source) or x.dim() == 0:
        return NotImplemented
    rows = source if source.dim() else source.reshape(1)
    if alpha != 1:
        rows = rows * alpha
    return getattr(scatter, function)(x, dim, index.reshape(-1), rows, **next_order())


@handles(aten.scatter_add.default)
@also_out(aten.scatter_add.out)
def _scatter_add(next_order: NextOrder, x: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
    return _add_elements("scatter_add", next_order, x, *args, **kwargs)


@handles(aten.scatter_add_.default)
def _scatter_add_in_place(next_order: NextOrder, x: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
    return _add_elements("scatter_add_", next_order, x, *args, **kwargs)


def _add_elements(
    function: str,
    next_order: NextOrder,
    x: torch.Tensor,
    dim: int,
    index: torch.Tensor,
    source: torch.Tensor,
) -> Any:
    if not _is_supported(x, source) or x.dim() == 0:
        return NotImplemented
    return getattr(scatter, function)(x, dim, index, source, **next_order())


@handles(aten.scatter_reduce.two)
@also_out(aten.scatter_reduce.two_out)
def _scatter_reduce(next_order: NextOrder, x: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
    return _reduce_elements("scatter_add", next_order, x, *args, **kwargs)


@handles(aten.scatter_reduce_.two)
def _scatter_reduce_in_place(
    next_order: NextOrder, x: torch.Tensor, *args: Any, **kwargs: Any
) -> Any:
    return _reduce_elements("scatter_add_", next_order, x, *args, **kwargs)


def _reduce_elements(
    function: str,
    next_order: NextOrder,
    x: torch.Tensor,
    dim: int,
    index: torch.Tensor,
    source: torch.Tensor,
    reduce: str,
    *,
    include_self: bool = True,
) -> Any:
    if reduce != "sum" or not _is_supported(x, source):
        return NotImplemented
    if not include_self:
        # Destinations without a source keep their value; the others begin at zero.
        begin = x.scatter(dim, index, 0)
        result = _add_elements("scatter_add", next_order, begin, dim, index, source)
        if result is NotImplemented or function == "scatter_add":
            return result
        return x.copy_(result)
    return _add_elements(function, next_order, x, dim, index, source)


@handles(aten.index_put.default, aten._unsafe_index_put.default)
@also_out(aten.index_put.out)
def _index_put(
    next_order: NextOrder,
    x: torch.Tensor,
    indices: Sequence[torch.Tensor | None],
    values: torch.Tensor,
    accumulate: bool = False,
) -> Any:
    if not accumulate or not _is_supported(x, values):
        return NotImplemented
    return _index_put_in_place(next_order, x.clone(), indices, values, accumulate)


@handles(aten.index_put_.default, aten._index_put_impl_.default)
def _index_put_in_place(
    next_order: NextOrder,
    x: torch.Tensor,
    indices: Sequence[torch.Tensor | None],
    values: torch.Tensor,
    accumulate: bool = False,
    unsafe: bool = False,
) -> Any:
    if not accumulate or not _is_supported(x, values):
        return NotImplemented
    dims, rows, linear = _linear_index(x.shape, indices)
    if not dims:
        return NotImplemented
    moved = x.permute([*dims, *(d for d in range(x.dim()) if d not in dims)])
    others = moved.shape[len(dims) :]
    sources = _expand_values(values, dims, linear.shape, others)
    target = moved.reshape(rows, *others)
    scatter.index_add_(
        target, 0, linear.reshape(-1), sources.reshape(linear.numel(), *others), **next_order()
    )
    if not moved.is_contiguous():  # target may be a copy
        moved.copy_(target.reshape(moved.shape))
    return x


def _linear_index(
    shape: torch.Size, indices: Sequence[torch.Tensor | None]
) -> tuple[list[int], int, torch.Tensor]:
    """Convert indices of several dimensions to indices of one.

    Returns:
        The indexed dimensions, the number of their positions, and for each entry of the broadcast
        indices the position (row-major) it names. An entry out of range gets a position out of
            range,
        which the sum refuses.
    """
    dims: list[int] = []
    given: list[torch.Tensor] = []
    at = 0
    for index in indices:
        if index is None:
            at += 1
            continue
        is_mask = index.dtype in (torch.bool, torch.uint8)
        expanded = index.nonzero().unbind(1) if is_mask else [index]
        for each in expanded:
            dims.append(at)
            given.append(each)
            at += 1
    rows = 1
    for d in dims:
        rows *= shape[d]
    device = given[0].device if given else torch.device("cpu")
    linear = torch.zeros((), dtype=torch.int64, device=device)
    outside = torch.zeros((), dtype=torch.bool, device=device)
    for d, each in zip(dims, torch.broadcast_tensors(*given), strict=True):
        wrapped = torch.where(each < 0, each + shape[d], each).to(torch.int64)
        linear = linear * shape[d] + wrapped
        outside = outside | (wrapped < 0) | (wrapped >= shape[d])
    return dims, rows, torch.where(outside, rows, linear)


def _expand_values(
    values: torch.Tensor, dims: list[int], entries: torch.Size, others: torch.Size
) -> torch.Tensor:
    """Return the values for x[indices], with the dimensions of the indices moved to the front."""
    first = dims[0] if dims == list(range(dims[0], dims[0] + len(dims))) else 0
    shape = [*others[:first], *entries, *others[first:]]
    order = list(range(first, first + len(entries)))
    order += [d for d in range(len(shape)) if d not in order]
    return values.expand(shape).permute(order)


@handles(aten.put.default)
@also_out(aten.put.out)
def _put(next_order: NextOrder, x: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
    return _put_in_place(next_order, x.clone(), *args, **kwargs)


@handles(aten.put_.default)
def _put_in_place(
    next_order: NextOrder,
    x: torch.Tensor,
    index: torch.Tensor,
    source: torch.Tensor,
    accumulate: bool = False,
) -> Any:
    if source.numel() != index.numel():
        return NotImplemented  # torch raises the error
    flat, where = x.reshape(-1), [index.reshape(-1)]
    result = _index_put_in_place(next_order, flat, where, source.reshape(-1), accumulate)
    if result is NotImplemented:
        return NotImplemented
    return x if x.is_contiguous() else x.copy_(flat.reshape(x.shape))


@handles(aten.embedding_dense_backward.default)
@also_out(aten.embedding_dense_backward.out)
def _embedding_dense_backward(
    next_order: NextOrder,
    grad: torch.Tensor,
    indices: torch.Tensor,
    num_weights: int,
    padding_idx: int,
    scale_grad_by_freq: bool,
) -> Any:
    if not _is_supported(grad):
        return NotImplemented
    where = indices.reshape(-1).to(torch.int64)
    rows = grad.reshape(where.numel(), grad.shape[-1])
    if scale_grad_by_freq:
        counts = torch.zeros(num_weights, dtype=torch.int64, device=where.device)
        counts.index_add_(0, where, torch.ones_like(where))
        rows = rows / counts[where].unsqueeze(1)
    # Add the rows of the padding index to an extra row, which is dropped.
    where = torch.where(where == padding_idx, num_weights, where)
    zeros = grad.new_zeros(num_weights + 1, grad.shape[-1])
    return scatter.index_add(zeros, 0, where, rows, **next_order())[:num_weights]


@handles(aten.bincount.default)
@also_out(aten.bincount.out)
def _bincount(
    next_order: NextOrder,
    index: torch.Tensor,
    weights: torch.Tensor | None = None,
    minlength: int = 0,
) -> Any:
    if weights is None:
        return NotImplemented
    if weights.dtype not in (torch.float32, torch.float64):
        weights = weights.to(torch.float64)  # as torch does
    if not _is_supported(weights):
        return NotImplemented
    return scatter.bincount(index, weights, minlength, **next_order())


@handles(
    aten.arange.default,
    aten.arange.start,
    aten.arange.start_step,
    aten.arange.out,
    aten.arange.start_out,
)
def _arange(next_order: NextOrder, *args: Any, **kwargs: Any) -> Any:
    """Compute start + i * step of floating-point numbers: torch's roundings depend on where a
    thread's share begins.
    """
    operator = aten.arange.start_out if "out" in kwargs else aten.arange.start_step
    start, end, step = (0, *args, 1)[:3] if len(args) == 1 else (*args, 1)[:3]
    step = kwargs.pop("step", step)
    result = operator(start, end, step, **kwargs)
    if result.is_floating_point() and result.device.type == "cpu":
        index = torch.ops.aten.arange.default(result.numel(), dtype=torch.float64, device="cpu")
        result.copy_(index.mul_(step).add_(start).view(result.shape))
    return result
