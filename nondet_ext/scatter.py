"""Sums at indices, in a chosen order.

Each destination starts from its input value and adds its sources one by one, in the order that
``order=`` names (docs/numerics.md has the specification, summation.py the meaning of the orders):

- "fixed" (the default): in increasing position of the source, as a loop would;
- "exact": in none, the sum of real numbers is rounded once;
- "seeded", with ``seed=``: positions are cut into at most 1,024 parts, added in an order drawn from
  the seed;
- "atomic": as threads (CPU; at least two) or blocks (CUDA) reach them, on a CPU a stretch of
  positions at a time.

float64 is added in float64, everything else in float32 and rounded once, after the last source.
Dtypes: float64, float32, float16, bfloat16; any strides. Indices: int64 or int32, not negative.

Results have derivatives of any order in `input` and the added values, in reverse and forward mode,
and can be batched by torch.vmap: each entry has the bits that a call for it alone would give.

An index out of range raises an IndexError before anything is changed (on CUDA an assertion on the
device fails).
"""

from collections.abc import Callable

import torch

from nondet_ext import _check
from nondet_ext import _scatter_ops as ops
from nondet_ext._layout import shares_memory
from nondet_ext._order import Seed, key_of
from nondet_ext._tracing import has_derivatives


def index_add(
    input: torch.Tensor,
    dim: int,
    index: torch.Tensor,
    source: torch.Tensor,
    *,
    order: str = "fixed",
    seed: Seed = None,
) -> torch.Tensor:
    """Add the slices of `source` to a copy of `input`, along `dim` at `index`.

    Args:
        input: any shape.
        dim: the dimension that `index` indexes.
        index: int64 or int32, shape (n,) or 0-d, entries in [0, input.size(dim)); repeated
            indices accumulate.
        source: the shape of `input` but with n along `dim`; its dtype and device.
        order, seed: see the module.

    Returns:
        A new contiguous tensor with the shape and dtype of `input`.

    Raises:
        TypeError: a tensor has the wrong dtype, or an argument the wrong type.
        ValueError: shapes or devices do not match, the order is unknown, a seed is missing or
            superfluous.
        IndexError: `dim` or an entry of `index` is out of range.

    Equivalent to: ``torch.index_add(input, dim, index, source)``, up to the order.
    """
    axis = _check_index_add(input, dim, index, source)
    return ops.index_add(input, axis, index, source, order, key_of(order, seed))


def index_add_(
    input: torch.Tensor,
    dim: int,
    index: torch.Tensor,
    source: torch.Tensor,
    *,
    order: str = "fixed",
    seed: Seed = None,
) -> torch.Tensor:
    """Do :func:`index_add` in place and return `input`.

    A `source` in the memory of `input` is read before anything is written.

    Raises:
        As :func:`index_add`; ValueError also if elements of `input` share memory.
        RuntimeError: `input` is a leaf that requires grad, and grad mode is on.
    """
    axis = _check_index_add(input, dim, index, source)
    key = key_of(order, seed)
    return _in_place(ops.index_add_, ops.index_add, input, axis, index, source, order, key)


def scatter_add(
    input: torch.Tensor,
    dim: int,
    index: torch.Tensor,
    src: torch.Tensor,
    *,
    order: str = "fixed",
    seed: Seed = None,
) -> torch.Tensor:
    """Add every element of `src` to a copy of `input`, at its position but along `dim` at `index`.

    In three dimensions and for dim = 1: ``out[i, index[i, j, k], k] += src[i, j, k]``, in row-major
    order of (i, j, k) where the order is "fixed".

    Args:
        input: any shape.
        dim: the dimension that `index` indexes.
        index: int64 or int32, as many dimensions as `input`; nowhere larger than `src`, nor than
            `input` in the dimensions other than `dim`; entries in [0, input.size(dim)).
        src: the dtype, device and number of dimensions of `input`; elements beyond the size of
            `index` are not used.
        order, seed: see the module.

    Returns:
        A new contiguous tensor with the shape and dtype of `input`.

    Raises:
        As :func:`index_add`.

    Equivalent to: ``torch.scatter_add(input, dim, index, src)``, up to the order.
    """
    axis = _check_scatter_add(input, dim, index, src)
    return ops.scatter_add(input, axis, index, src, order, key_of(order, seed))


def scatter_add_(
    input: torch.Tensor,
    dim: int,
    index: torch.Tensor,
    src: torch.Tensor,
    *,
    order: str = "fixed",
    seed: Seed = None,
) -> torch.Tensor:
    """Do :func:`scatter_add` in place, as :func:`index_add_` does, and return `input`."""
    axis = _check_scatter_add(input, dim, index, src)
    key = key_of(order, seed)
    return _in_place(ops.scatter_add_, ops.scatter_add, input, axis, index, src, order, key)


def bincount(
    index: torch.Tensor,
    weights: torch.Tensor,
    minlength: int = 0,
    *,
    order: str = "fixed",
    seed: Seed = None,
) -> torch.Tensor:
    """Sum the weights at each value of `index`.

    Args:
        index: integers of any dtype, not negative, shape (n,).
        weights: shape (n,), on the same device.
        minlength: the least number of bins, at least 0.
        order, seed: see the module. Each bin starts from 0.

    Returns:
        Shape (max(max(index) + 1, minlength),), the dtype of `weights`. Finding the maximum waits
        for the device.

    Raises:
        TypeError, ValueError: as :func:`index_add`.
        IndexError: an index is negative.

    Equivalent to: ``torch.bincount(index, weights, minlength)``, up to the order and the dtype.
    """
    _check.with_values("weights", _check.float_tensor("weights", weights))
    index = _check.with_values("index", _check.integers("index", index))
    if index.dim() != 1 or weights.shape != index.shape:
        raise ValueError(
            f"index and weights must have one shape (n,), got {tuple(index.shape)} and "
            f"{tuple(weights.shape)}"
        )
    _refuse_devices(weights, "weights", index=index)
    bins = _check.integer("minlength", minlength, 0, 2**62)
    key = key_of(order, seed)
    where = index.detach().to(torch.int64)
    if torch.compiler.is_dynamo_compiling() and has_derivatives():
        raise RuntimeError(
            "nondet_ext.bincount cannot be compiled by torch.compile where a transform of "
            "torch.func differentiates it: the number of bins depends on the values of index; use "
            "index_add"
        )
    zeros = weights.new_zeros(ops.bins(where, bins))
    return ops.index_add(zeros, 0, where, weights, order, key)


def _in_place(
    op_in_place: Callable[..., None],
    op: Callable[..., torch.Tensor],
    input: torch.Tensor,
    dim: int,
    index: torch.Tensor,
    source: torch.Tensor,
    order: str,
    key: tuple[int, ...],
) -> torch.Tensor:
    _check.writable("input", input)
    if shares_memory(input):
        raise ValueError(
            f"input has elements that share memory (shape {tuple(input.shape)}, "
            f"strides {input.stride()}): adding to one would change others; "
            "pass a tensor that owns its elements, such as input.clone()"
        )
    recorded = torch.is_grad_enabled() and (input.requires_grad or source.requires_grad)
    if recorded or _check.in_transform() or _check.in_dual_level():
        if recorded and input.requires_grad and input.is_leaf:
            raise RuntimeError(
                "input is a leaf that requires grad: it cannot be changed in place while autograd "
                "records; use torch.no_grad(), or the function without the underscore"
            )
        return input.copy_(op(input, dim, index, source, order, key))
    op_in_place(input, dim, index, source, order, key)
    return input


def _axis(dim: object, ndim: int) -> int:
    bound = max(ndim, 1)  # as in torch, a 0-d tensor takes 0 and -1
    number = _check.as_int("dim", dim)
    if not -bound <= number < bound:
        raise IndexError(f"dim must be in [{-bound}, {bound - 1}], got {number}")
    return number % bound


def _check_tensors(
    input: torch.Tensor, dim: object, index: torch.Tensor, source: torch.Tensor, name: str
) -> int:
    _check.float_tensor("input", input)
    _check.float_tensor(name, source)
    if source.dtype != input.dtype:
        raise TypeError(f"{name} must be {input.dtype} like input, got {source.dtype}")
    _check.index_tensor("index", index)
    _refuse_devices(input, "input", index=index, **{name: source})
    return _axis(dim, input.dim())


def _refuse_devices(first: torch.Tensor, name: str, **others: torch.Tensor) -> None:
    for other, tensor in others.items():
        if tensor.device != first.device:
            raise ValueError(f"{other} must be on {first.device} like {name}, got {tensor.device}")


def _check_index_add(
    input: torch.Tensor, dim: object, index: torch.Tensor, source: torch.Tensor
) -> int:
    axis = _check_tensors(input, dim, index, source, "source")
    if index.dim() > 1:
        raise ValueError(f"index must have shape (n,), got {tuple(index.shape)}")
    wanted = list(input.shape)
    if wanted:
        wanted[axis] = index.numel()
    if list(source.shape) != wanted or (not wanted and index.numel() != 1):
        raise ValueError(
            f"source must have the shape of input, {tuple(input.shape)}, with one slice per index, "
            f"{index.numel()}, along dim {axis}; got {tuple(source.shape)}"
        )
    return axis


def _check_scatter_add(
    input: torch.Tensor, dim: object, index: torch.Tensor, src: torch.Tensor
) -> int:
    axis = _check_tensors(input, dim, index, src, "src")
    shapes = [tuple(each.shape) or (1,) for each in (input, index, src)]
    into, at, values = shapes
    if index.numel() == 0:
        return axis
    fits = len(into) == len(at) == len(values) and all(
        size <= values[d] and (d == axis or size <= into[d]) for d, size in enumerate(at)
    )
    if not fits:
        raise ValueError(
            "index must have as many dimensions as input and src, be nowhere larger than src, and "
            f"not larger than input except along dim {axis}; got index {tuple(index.shape)}, "
            f"input {tuple(input.shape)}, src {tuple(src.shape)}"
        )
    return axis
