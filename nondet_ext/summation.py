"""Sums in a chosen order.

``order=`` says what the bits of a result depend on (docs/numerics.md has the specification):

- "fixed" (the default): the values and their logical positions. The same bits for any number of
  threads, instruction set, device and memory layout.
- "exact": the values alone. The sum of real numbers, rounded once; any permutation, any split.
- "seeded", with ``seed=``: values, positions and seed. Parts of the sum are added in an order drawn
  from the seed, as in a race; the same bits everywhere.
- "atomic": the race of the threads (CPU; at least two, whatever torch's number of threads) or
  blocks (CUDA) that add their parts as they finish.

float64 is added in float64, everything else in float32 and rounded once at the end ("exact": from
the real number). Dtypes: float64, float32, float16, bfloat16; any strides.

Results have derivatives of any order, in reverse and forward mode, and can be batched by
torch.vmap: each entry has the bits that a call for it alone would give.

``seed`` is an integer in [0, 2**32), or up to four of them such as (seed, step, layer).
"""

from collections.abc import Sequence

import torch

from nondet_ext import _check, _direct
from nondet_ext import _summation_ops as ops
from nondet_ext._layout import overlap
from nondet_ext._order import Seed, key_of

Dim = int | Sequence[int] | None


def sum(
    x: torch.Tensor,
    dim: Dim = None,
    keepdim: bool = False,
    *,
    order: str = "fixed",
    seed: Seed = None,
    out: torch.Tensor | None = None,
) -> torch.Tensor:
    """Sum over all or some dimensions, in a chosen order.

    Args:
        x: any shape and strides; float64, float32, float16 or bfloat16.
        dim: the dimensions to reduce; None or () for all.
        keepdim: keep the reduced dimensions, with size 1.
        order, seed: see the module.
        out: a tensor for the result: contiguous, with its dtype, device and shape. Derivatives and
            transforms of torch.func do not go with it.

    Returns:
        A tensor of the dtype of `x`. The sum of no elements is 0.

    Raises:
        TypeError: `x` is not a tensor of those dtypes, or another argument has the wrong type.
        ValueError, IndexError: the order is unknown, a seed is missing or superfluous, a dimension
            is out of range or named twice, or `out` does not fit.

    Sources: math.fsum computes the exact sum, too (Shewchuk 1997); for error bounds of the others
    see Higham, Accuracy and Stability of Numerical Algorithms (2002), section 4.2.
    """
    if not _direct.is_compiling():
        result = _direct.sum(x, dim, keepdim, order, seed, out)
        if result is not None:
            return result
    _check.float_tensor("x", x)
    dims = _check.reduced_dims(dim, x.dim())
    keepdim = _check.flag("keepdim", keepdim)
    key = key_of(order, seed)
    if out is not None:
        return _reduce_to(out, x, dims, keepdim, False, order, key)
    return ops.sum(x, dims, keepdim, order, key)


def mean(
    x: torch.Tensor,
    dim: Dim = None,
    keepdim: bool = False,
    *,
    order: str = "fixed",
    seed: Seed = None,
    out: torch.Tensor | None = None,
) -> torch.Tensor:
    """Average over all or some dimensions: :func:`sum`, divided by the number of elements.

    The division rounds once more, in float64 or float32; with order="exact" the exact quotient is
    rounded once. The mean of no elements is NaN.
    """
    if not _direct.is_compiling():
        result = _direct.mean(x, dim, keepdim, order, seed, out)
        if result is not None:
            return result
    _check.float_tensor("x", x)
    dims = _check.reduced_dims(dim, x.dim())
    keepdim = _check.flag("keepdim", keepdim)
    key = key_of(order, seed)
    if out is not None:
        return _reduce_to(out, x, dims, keepdim, True, order, key)
    return ops.mean(x, dims, keepdim, order, key)


def accumulate(
    partials: torch.Tensor | Sequence[torch.Tensor],
    *,
    order: str = "fixed",
    seed: Seed = None,
    out: torch.Tensor | None = None,
) -> torch.Tensor:
    """Sum K partial results element by element, as gradient accumulation does.

    Args:
        partials: a tensor of shape (K, ...), or a sequence of K tensors of one shape, dtype and
            device (which are stacked: a copy).
        order, seed, out: as for :func:`sum`.

    Returns:
        ``sum(partials, 0)``, of the shape of one partial result.

    Raises:
        TypeError, ValueError: as :func:`sum`; or `partials` is empty, 0-d, or its tensors differ.
    """
    if not _direct.is_compiling():
        result = _direct.sum(partials, 0, False, order, seed, out)
        if result is not None:
            return result
    if isinstance(partials, torch.Tensor):
        _check.float_tensor("partials", partials)
        _check.refuse_stray("partials", partials)
        if partials.dim() == 0:
            raise ValueError("partials must have shape (K, ...), got a 0-d tensor")
        return sum(partials, 0, order=order, seed=seed, out=out)
    if not isinstance(partials, Sequence) or len(partials) == 0:
        raise ValueError("partials must be a tensor or a sequence of at least one tensor")
    first = _check.float_tensor("partials[0]", partials[0])
    for i, each in enumerate(partials):
        _check.float_tensor(f"partials[{i}]", each)
        _check.refuse_stray(f"partials[{i}]", each)
        if (each.shape, each.dtype, each.device) != (first.shape, first.dtype, first.device):
            raise ValueError(
                f"partials[{i}] must be {first.dtype} of shape {tuple(first.shape)} on "
                f"{first.device} like partials[0], got {each.dtype} of shape {tuple(each.shape)} "
                f"on {each.device}"
            )
    return sum(torch.stack(list(partials)), 0, order=order, seed=seed, out=out)


def dot(
    a: torch.Tensor, b: torch.Tensor, *, order: str = "fixed", seed: Seed = None
) -> torch.Tensor:
    """Sum the products of two vectors.

    Products are rounded to float64 or float32 and then added as :func:`sum` does; with
    order="exact" the exact sum of the exact products is rounded once.

    Args:
        a, b: 1-d tensors of one length, dtype and device.
        order, seed: as for :func:`sum`.

    Raises:
        TypeError, ValueError: as :func:`sum`; or the two do not match.
    """
    _check.float_tensor("a", a)
    _check.float_tensor("b", b)
    if a.dtype != b.dtype:
        raise TypeError(f"a and b must have one dtype, got {a.dtype} and {b.dtype}")
    if a.dim() != 1 or b.shape != a.shape:
        raise ValueError(
            f"a and b must be vectors of one length, got shapes {tuple(a.shape)} and "
            f"{tuple(b.shape)}"
        )
    if a.device != b.device:
        raise ValueError(f"a and b must be on one device, got {a.device} and {b.device}")
    return ops.dot(a, b, order, key_of(order, seed))


def segment_sum(
    x: torch.Tensor, offsets: torch.Tensor, *, order: str = "fixed", seed: Seed = None
) -> torch.Tensor:
    """Sum segments of consecutive rows.

    Args:
        x: shape (n, ...).
        offsets: int64 or int32, shape (S + 1,), non-decreasing, in [0, n]: segment s has the rows
            offsets[s] to offsets[s + 1] - 1.
        order, seed: as for :func:`sum`, applied to each segment separately.

    Returns:
        A tensor (S, ...), at s ``sum(x[offsets[s]:offsets[s + 1]], 0)``.

    Raises:
        TypeError, ValueError: as :func:`sum`; or `offsets` is not as described (on CUDA an
            assertion on the device checks that).
    """
    _check.float_tensor("x", x)
    key = key_of(order, seed)
    _check.refuse_stray("offsets", _check.index_tensor("offsets", offsets))
    if x.dim() == 0 or offsets.dim() != 1 or offsets.numel() == 0:
        raise ValueError(
            "x must have shape (n, ...) and offsets shape (S + 1,), got "
            f"{tuple(x.shape)} and {tuple(offsets.shape)}"
        )
    if offsets.device != x.device:
        raise ValueError(f"offsets must be on {x.device} like x, got {offsets.device}")
    return ops.segment_sum(x, offsets.to(torch.int64), order, key)


def _reduce_to(
    out: torch.Tensor,
    x: torch.Tensor,
    dims: Sequence[int],
    keepdim: bool,
    mean: bool,
    order: str,
    key: Sequence[int],
) -> torch.Tensor:
    _check_out(out, x, ops.reduced_shape(x.shape, dims, keepdim))
    ops.sum_out(x, dims, mean, order, key, out)
    return out


def _check_out(out: torch.Tensor, x: torch.Tensor, shape: Sequence[int]) -> None:
    if isinstance(out, torch.Tensor):
        _check.dense("out", out, (out.dtype,), "be a dense tensor")
    fits = (
        isinstance(out, torch.Tensor)
        and (out.dtype, out.device) == (x.dtype, x.device)
        and list(out.shape) == list(shape)
        and out.is_contiguous()
        and (torch.compiler.is_compiling() or not out.is_neg())
    )
    if not fits:
        got = (
            f"{out.dtype} of shape {tuple(out.shape)}, strides {out.stride()}, on {out.device}"
            if isinstance(out, torch.Tensor)
            else type(out).__name__
        )
        raise ValueError(
            f"out must be contiguous (and no lazy negation) {x.dtype} of shape {tuple(shape)} on "
            f"{x.device}, got {got}"
        )
    _check.no_derivative(out, x)
    if torch.compiler.is_compiling():
        return  # tensors have no addresses there, and ops write to copies where memory is shared
    if overlap(out, x):
        raise ValueError("out must not share memory with x")
