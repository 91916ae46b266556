"""Sums at indices as torch ops: memory, layouts, choice of the kernel, derivatives. scatter.py
checks the arguments.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

from nondet_ext._backend import NATIVE_DTYPE, Backend, backend_for
from nondet_ext._layout import apart
from nondet_ext._op import Op
from nondet_ext._order import NATIVE_ORDER
from nondet_ext._sorting import stable_sort
from nondet_ext._transforms import to_dim

MOST_BINS = 2**48  # more than any memory holds
MAX_PARTS = 1024  # kMaxParts of csrc/numerics/summation.h
FEW_KEYS = 4096  # a sort of no more takes a launch or two, whatever the keys

Gradients = tuple[torch.Tensor | None, ...]


def _out_of_range(index: torch.Tensor, position: int, rows: int) -> IndexError:
    """Return the error for the index at a flat position."""
    at = tuple(
        int(each) for each in torch.unravel_index(torch.tensor(position, device="cpu"), index.shape)
    )
    value = int(index.reshape(-1)[position])
    allowed = f"allowed: 0 to {rows - 1}" if rows else "it has none to add to"
    where = ", ".join(map(str, at))
    return IndexError(
        f"index[{where}] = {value} is out of range for a dimension of size {rows} ({allowed})"
    )


def _run(
    out: torch.Tensor,
    index: torch.Tensor,
    source: torch.Tensor,
    outer: int,
    rows: int,
    inner: int,
    order: str,
    key: Sequence[int],
) -> int:
    """Add source (outer, n, inner) to out (outer, rows, inner) at index (n,), all contiguous, the
    index int64.

    Returns:
        -1; or the first position whose index is not in [0, rows), and then `out` is unchanged.
    """
    backend = backend_for(out)
    arguments = {
        "dtype": NATIVE_DTYPE[out.dtype],
        "out": out.data_ptr(),
        "source": source.data_ptr(),
        "outer": outer,
        "rows": rows,
        "n": index.numel(),
        "inner": inner,
    }
    if backend.launches:
        return _launch(backend, arguments, out, index, order, key)
    fault: int = backend.run(
        "index_add", **arguments, index=index.data_ptr(), order=NATIVE_ORDER[order], key=key
    )
    return fault


def _launch(
    backend: Backend,
    arguments: dict[str, Any],
    out: torch.Tensor,
    index: torch.Tensor,
    order: str,
    key: Sequence[int],
) -> int:
    """Do the same with launchers. On a CUDA device an assertion there finds a bad index."""
    flat, rows = index.reshape(-1), arguments["rows"]
    fault = torch.zeros(1, dtype=torch.int32, device=out.device)
    arguments["fault"] = fault.data_ptr()
    if order == "atomic":
        wide = out.dtype in (torch.float64, torch.float32)
        totals = torch.empty(0 if wide else out.numel(), dtype=torch.float32, device=out.device)
        backend.run(
            "index_add_atomic", **arguments, index=index.data_ptr(), totals=totals.data_ptr()
        )
    else:
        # Sources of one destination must go to one thread, in the order of the sum: a stable
        # sort brings them together.
        if order == "seeded":
            visited = _summing_order(backend, arguments["n"], key)
            sorted_index, positions = _sorted(flat[visited], rows)
            positions = visited[positions]
        else:
            sorted_index, positions = _sorted(flat, rows)
        backend.run(
            "index_add_sorted",
            **arguments,
            sorted=sorted_index.data_ptr(),
            positions=positions.data_ptr(),
            exact=order == "exact",
        )
    if out.device.type == "cuda":
        torch._assert_async(
            fault == 0, f"nondet_ext: index is not in [0, {rows}); nothing was changed"
        )
    elif fault.item():
        return int(((flat < 0) | (flat >= rows)).nonzero()[0])
    return -1


def _sorted(index: torch.Tensor, rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Sort indices stably; return them and their positions, both int64. One out of range may come
    back as another that is out of range.

    A radix sort passes over keys of 32 bits half as often as over those of 64.
    """
    if index.numel() <= FEW_KEYS or rows >= 2**31:
        return stable_sort(index, "index", launches=True)
    keys = index.clamp(-1, rows).to(torch.int32)
    ascending, positions = stable_sort(keys, "index", launches=True)
    return ascending.to(torch.int64), positions


def _summing_order(backend: Backend, n: int, key: Sequence[int]) -> torch.Tensor:
    """Return the positions 0 to n - 1, the parts of a seeded sum of n elements in the order in
    which they are added.
    """
    size = 1
    while -(-n // size) > MAX_PARTS:
        size *= 2
    parts = torch.empty(-(-n // size), dtype=torch.int32, device=backend.device)
    backend.run("part_order", n=n, key=key, out=parts.data_ptr())
    inside = torch.arange(size, device=backend.device)
    positions = (parts.to(torch.int64)[:, None] * size + inside).reshape(-1)
    if positions.numel() == n:
        return positions
    # Only the last part can be short: drop its positions beyond the end.
    last = (parts == parts.numel() - 1).to(torch.int8).argmax()
    index = torch.arange(n, device=backend.device)
    end = (last + 1) * size - (positions.numel() - n)
    return positions[index + torch.where(index >= end, positions.numel() - n, 0)]


def _copy(x: torch.Tensor) -> torch.Tensor:
    return x.clone(memory_format=torch.contiguous_format)


def _index_add(
    input: torch.Tensor,
    dim: int,
    index: torch.Tensor,
    source: torch.Tensor,
    order: str,
    key: Sequence[int],
) -> torch.Tensor:
    out = _copy(input)
    _index_add_(out, dim, index, source, order, key)
    return out


def _index_add_(
    input: torch.Tensor,
    dim: int,
    index: torch.Tensor,
    source: torch.Tensor,
    order: str,
    key: Sequence[int],
) -> None:
    if not input.is_contiguous():
        input.copy_(_index_add(input, dim, index, source, order, key))
        return
    shape = input.shape or torch.Size([1])
    at = apart(index, input).to(torch.int64)
    outer, rows, inner = math.prod(shape[:dim]), shape[dim], math.prod(shape[dim + 1 :])
    fault = _run(input, at, apart(source, input), outer, rows, inner, order, key)
    if fault >= 0:
        raise _out_of_range(index, fault, rows)


def _flat_destinations(index: torch.Tensor, dim: int, shape: Sequence[int]) -> torch.Tensor:
    """Return the flat position in a contiguous tensor of `shape` to which each element of
    scatter_add's index points.
    """
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
            raise _out_of_range(index, int(wrong.nonzero()[0]), shape[dim])
        return flat
    return flat.masked_fill_((index < 0) | (index >= shape[dim]), -1)


def _scatter_add(
    input: torch.Tensor,
    dim: int,
    index: torch.Tensor,
    src: torch.Tensor,
    order: str,
    key: Sequence[int],
) -> torch.Tensor:
    out = _copy(input)
    _scatter_add_(out, dim, index, src, order, key)
    return out


def _scatter_add_(
    input: torch.Tensor,
    dim: int,
    index: torch.Tensor,
    src: torch.Tensor,
    order: str,
    key: Sequence[int],
) -> None:
    if index.numel() == 0:
        return
    if not input.is_contiguous():
        input.copy_(_scatter_add(input, dim, index, src, order, key))
        return
    shape = input.shape or torch.Size([1])
    at = index if index.dim() else index.reshape(1)
    values = src if src.dim() else src.reshape(1)
    values = values[tuple(slice(size) for size in at.shape)]
    flat = _flat_destinations(at, dim, shape)
    flat, values = apart(flat, input), apart(values, input)
    fault = _run(input, flat, values, 1, input.numel(), 1, order, key)
    if fault >= 0:
        raise _out_of_range(at, fault, shape[dim])


def _bins(index: torch.Tensor, least: int) -> int:
    """Return how many bins bincount needs for the indices, at least `least`."""
    if index.numel() == 0:
        return least
    lowest, highest = (int(each) for each in index.aminmax())
    if lowest < 0:
        at = int((index < 0).nonzero()[0])
        raise IndexError(f"index[{at}] = {int(index[at])} must not be negative")
    if highest >= MOST_BINS:
        at = int((index == highest).nonzero()[0])
        raise IndexError(f"index[{at}] = {highest} is out of range (allowed: 0 to {MOST_BINS - 1})")
    return max(least, highest + 1)


def _save_index(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
    _, ctx.dim, index, source, _, _ = inputs
    ctx.shape = source.shape
    ctx.save_for_backward(index)


def _index_add_backward(ctx: Any, grad: torch.Tensor) -> Gradients:
    (index,) = ctx.saved_tensors
    of_source = None
    if ctx.needs_input_grad[3]:
        of_source = grad.index_select(ctx.dim, index.reshape(-1)).reshape(ctx.shape)
    return grad if ctx.needs_input_grad[0] else None, None, None, of_source, None, None


def _scatter_add_backward(ctx: Any, grad: torch.Tensor) -> Gradients:
    (index,) = ctx.saved_tensors
    of_src = None
    if ctx.needs_input_grad[3] and index.numel() == 0:  # of any number of dimensions
        of_src = grad.new_zeros(ctx.shape)
    elif ctx.needs_input_grad[3]:
        # 0-d tensors count as tensors of one element.
        at, shape = (index if index.dim() else index.reshape(1)), ctx.shape or (1,)
        of_src = (grad if grad.dim() else grad.reshape(1)).gather(ctx.dim, at.to(torch.int64))
        if at.shape != shape:  # sources beyond the index were not used
            missing = [
                m
                for full, used in zip(reversed(shape), reversed(at.shape), strict=True)
                for m in (0, full - used)
            ]
            of_src = torch.nn.functional.pad(of_src, missing)
        of_src = of_src.reshape(ctx.shape)
    return grad if ctx.needs_input_grad[0] else None, None, None, of_src, None, None


Dims = list[int | None]


def _tangent(
    op: Callable[..., torch.Tensor],
    arguments: list[Any],
    tangents: Sequence[torch.Tensor | None],
) -> torch.Tensor:
    input, dim, index, source, order, key = arguments
    of_input = torch.zeros_like(input) if tangents[0] is None else tangents[0]
    of_source = torch.zeros_like(source) if tangents[3] is None else tangents[3]
    return op(of_input, dim, index, of_source, order, key)


def _batch_index_add(
    op: Callable[..., torch.Tensor],
    size: int,
    dims: Dims,
    input: torch.Tensor,
    dim: int,
    index: torch.Tensor,
    source: torch.Tensor,
    order: str,
    key: Sequence[int],
) -> Any:
    # A 0-d input has no dimension `dim` before which a batch could stand.
    if dims[2] is not None or input.dim() == (dims[0] is not None):
        return NotImplemented
    into, values = to_dim(input, dims[0], 0, size), to_dim(source, dims[3], 0, size)
    return op(into, dim + 1, index, values, order, key), 0


def _batch_scatter_add(
    op: Callable[..., torch.Tensor],
    size: int,
    dims: Dims,
    input: torch.Tensor,
    dim: int,
    index: torch.Tensor,
    src: torch.Tensor,
    order: str,
    key: Sequence[int],
) -> Any:
    # The parts of a seeded sum are drawn for the number of all sources.
    given = ((input, dims[0]), (index, dims[2]), (src, dims[3]))
    ranks = {x.dim() - (d is not None) for x, d in given}
    if order == "seeded" or index.numel() == 0 or 0 in ranks or len(ranks) > 1:
        return NotImplemented
    into, at, values = (to_dim(x, d, 0, size) for x, d in given)
    return op(into, dim + 1, at, values, order, key), 0


index_add = Op(
    "index_add",
    _index_add,
    fake=lambda input, *_: input.new_empty(input.shape),
    backward=_index_add_backward,
    setup_context=_save_index,
    tangent=_tangent,
    batch=_batch_index_add,
)
scatter_add = Op(
    "scatter_add",
    _scatter_add,
    fake=lambda input, *_: input.new_empty(input.shape),
    backward=_scatter_add_backward,
    setup_context=_save_index,
    tangent=_tangent,
    batch=_batch_scatter_add,
)
bins = Op("bins", _bins, fake=lambda *_: torch.library.get_ctx().new_dynamic_size())
index_add_ = Op("index_add_", _index_add_, mutates=("input",))
scatter_add_ = Op("scatter_add_", _scatter_add_, mutates=("input",))
