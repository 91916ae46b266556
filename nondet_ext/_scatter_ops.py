"""Sums at indices as registered torch ops: allocation, layouts, dispatch, derivatives. The checks
of arguments are in scatter.py.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch

from nondet_ext._backend import NATIVE_DTYPE, backend_for
from nondet_ext._order import NATIVE_ORDER
from nondet_ext._sum_launches import launch_index_add


def out_of_range(index: torch.Tensor, position: int, rows: int) -> IndexError:
    """For the index at a flat position."""
    at = tuple(int(each) for each in torch.unravel_index(torch.tensor(position), index.shape))
    value = int(index.reshape(-1)[position])
    allowed = f"allowed: 0 to {rows - 1}" if rows else "it has none to add to"
    where = ", ".join(map(str, at))
    return IndexError(
        f"index[{where}] = {value} is out of range for a dimension of size {rows} ({allowed})"
    )


def _run_index_add(
    out: torch.Tensor,
    index: torch.Tensor,
    source: torch.Tensor,
    outer: int,
    rows: int,
    n: int,
    inner: int,
    order: str,
    key: Sequence[int],
) -> int:
    """Adds source (outer, n, inner) to out (outer, rows, inner) at index (n), all contiguous, the
    index int64. The first position whose index is not in [0, rows), and then nothing is changed;
    else -1.
    """
    backend = backend_for(out)
    if backend.launches:
        return launch_index_add(backend, out, index, source, outer, rows, n, inner, order, key)
    fault: int = backend.run(
        "index_add",
        dtype=NATIVE_DTYPE[out.dtype],
        out=out.data_ptr(),
        index=index.data_ptr(),
        source=source.data_ptr(),
        outer=outer,
        rows=rows,
        n=n,
        inner=inner,
        order=NATIVE_ORDER[order],
        key=key,
    )
    return fault


def apart(tensor: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
    """The tensor contiguous and not in the memory of `out`."""
    if tensor.untyped_storage().data_ptr() == out.untyped_storage().data_ptr():
        return tensor.clone(memory_format=torch.contiguous_format)
    return tensor.contiguous()


def add_index(
    out: torch.Tensor,
    dim: int,
    index: torch.Tensor,
    source: torch.Tensor,
    order: str,
    key: Sequence[int],
) -> None:
    """index_add into the contiguous `out`, with torch's broadcasting of nothing."""
    n = index.numel()
    shape = out.shape or torch.Size([1])
    where = apart(index, out).to(torch.int64)
    fault = _run_index_add(
        out,
        where,
        apart(source, out),
        math.prod(shape[:dim]),
        shape[dim],
        n,
        math.prod(shape[dim + 1 :]),
        order,
        key,
    )
    if fault >= 0:
        raise out_of_range(index, fault, shape[dim])


def flat_destinations(index: torch.Tensor, dim: int, shape: Sequence[int]) -> torch.Tensor:
    """Where in a contiguous tensor of `shape` each element of scatter_add's index points."""
    if math.prod(shape) == shape[dim]:
        return index.to(torch.int64)
    strides = [math.prod(shape[d + 1 :]) for d in range(len(shape))]
    flat = index.to(torch.int64) * strides[dim]
    for d in range(len(shape)):
        if d != dim and index.shape[d] > 1:
            steps = torch.arange(index.shape[d], device=index.device) * strides[d]
            flat += steps.reshape([-1 if each == d else 1 for each in range(len(shape))])
    # A wrong index could point to another row's element, which the kernel would not notice.
    if index.is_cpu:
        lowest, highest = index.aminmax()
        if int(lowest) < 0 or int(highest) >= shape[dim]:
            wrong = ((index < 0) | (index >= shape[dim])).reshape(-1)
            raise out_of_range(index, int(wrong.nonzero()[0]), shape[dim])
        return flat
    return flat.masked_fill_((index < 0) | (index >= shape[dim]), -1)


def add_scattered(
    out: torch.Tensor,
    dim: int,
    index: torch.Tensor,
    src: torch.Tensor,
    order: str,
    key: Sequence[int],
) -> None:
    """scatter_add into the contiguous `out`."""
    if index.numel() == 0:
        return
    shape = out.shape or torch.Size([1])
    at = index if index.dim() else index.reshape(1)
    values = src if src.dim() else src.reshape(1)
    values = values[tuple(slice(size) for size in at.shape)]
    flat = flat_destinations(at, dim, shape)
    fault = _run_index_add(
        out,
        apart(flat, out),
        apart(values, out),
        1,
        out.numel(),
        flat.numel(),
        1,
        order,
        key,
    )
    if fault >= 0:
        raise out_of_range(at, fault, shape[dim])


def copied(x: torch.Tensor) -> torch.Tensor:
    return x.clone(memory_format=torch.contiguous_format)


def added(
    input: torch.Tensor,
    dim: int,
    index: torch.Tensor,
    source: torch.Tensor,
    order: str,
    key: Sequence[int],
) -> torch.Tensor:
    out = copied(input)
    add_index(out, dim, index, source, order, key)
    return out


def scattered(
    input: torch.Tensor,
    dim: int,
    index: torch.Tensor,
    src: torch.Tensor,
    order: str,
    key: Sequence[int],
) -> torch.Tensor:
    out = copied(input)
    add_scattered(out, dim, index, src, order, key)
    return out


def add_in_place(
    add: Any,
    input: torch.Tensor,
    dim: int,
    index: torch.Tensor,
    source: torch.Tensor,
    order: str,
    key: Sequence[int],
) -> None:
    """`add` (add_index or add_scattered) into an input of any strides."""
    if input.is_contiguous():
        add(input, dim, index, source, order, key)
    else:
        out = copied(input)
        add(out, dim, index, source, order, key)
        input.copy_(out)


@torch.library.custom_op("nondet_ext::index_add", mutates_args=())
def index_add(
    input: torch.Tensor,
    dim: int,
    index: torch.Tensor,
    source: torch.Tensor,
    order: str,
    key: Sequence[int],
) -> torch.Tensor:
    return added(input, dim, index, source, order, key)


@torch.library.custom_op("nondet_ext::scatter_add", mutates_args=())
def scatter_add(
    input: torch.Tensor,
    dim: int,
    index: torch.Tensor,
    src: torch.Tensor,
    order: str,
    key: Sequence[int],
) -> torch.Tensor:
    return scattered(input, dim, index, src, order, key)


@torch.library.custom_op("nondet_ext::index_add_", mutates_args=("input",))
def index_add_(
    input: torch.Tensor,
    dim: int,
    index: torch.Tensor,
    source: torch.Tensor,
    order: str,
    key: Sequence[int],
) -> None:
    add_in_place(add_index, input, dim, index, source, order, key)


@torch.library.custom_op("nondet_ext::scatter_add_", mutates_args=("input",))
def scatter_add_(
    input: torch.Tensor,
    dim: int,
    index: torch.Tensor,
    src: torch.Tensor,
    order: str,
    key: Sequence[int],
) -> None:
    add_in_place(add_scattered, input, dim, index, src, order, key)


@index_add.register_fake
def _(
    input: torch.Tensor,
    dim: int,
    index: torch.Tensor,
    source: torch.Tensor,
    order: str,
    key: Sequence[int],
) -> torch.Tensor:
    return input.new_empty(input.shape)


@scatter_add.register_fake
def _(
    input: torch.Tensor,
    dim: int,
    index: torch.Tensor,
    src: torch.Tensor,
    order: str,
    key: Sequence[int],
) -> torch.Tensor:
    return input.new_empty(input.shape)


@index_add_.register_fake
def _(
    input: torch.Tensor,
    dim: int,
    index: torch.Tensor,
    source: torch.Tensor,
    order: str,
    key: Sequence[int],
) -> None:
    return None


@scatter_add_.register_fake
def _(
    input: torch.Tensor,
    dim: int,
    index: torch.Tensor,
    src: torch.Tensor,
    order: str,
    key: Sequence[int],
) -> None:
    return None


def _keep_index(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
    _, ctx.dim, index, source, _, _ = inputs
    ctx.shape = source.shape
    ctx.save_for_backward(index)


def _index_add_backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
    (index,) = ctx.saved_tensors
    of_source = None
    if ctx.needs_input_grad[3]:
        of_source = grad.index_select(ctx.dim, index.reshape(-1)).reshape(ctx.shape)
    return grad if ctx.needs_input_grad[0] else None, None, None, of_source, None, None


def _scatter_add_backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
    (index,) = ctx.saved_tensors
    of_src = None
    if ctx.needs_input_grad[3]:
        of_src = grad.gather(ctx.dim, index.to(torch.int64))
        if index.shape != ctx.shape:  # sources beyond the index were not used
            missing = [
                m
                for full, used in zip(reversed(ctx.shape), reversed(index.shape), strict=True)
                for m in (0, full - used)
            ]
            of_src = torch.nn.functional.pad(of_src, missing)
    return grad if ctx.needs_input_grad[0] else None, None, None, of_src, None, None


index_add.register_autograd(_index_add_backward, setup_context=_keep_index)
scatter_add.register_autograd(_scatter_add_backward, setup_context=_keep_index)
