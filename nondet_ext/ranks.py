"""Ranks along the last dimension, ties averaged."""

import torch

from nondet_ext import _check
from nondet_ext import _rank_ops as ops

NAN_POLICIES = ("raise", "propagate", "omit")


def rankdata(x: torch.Tensor, *, nan_policy: str = "raise") -> torch.Tensor:
    """Rank the elements of each row, from 1 to n; equal elements share the average of their ranks.

    Equivalent to: ``scipy.stats.rankdata(x, axis=-1, nan_policy=...)``

    Args:
        x: (..., n), any strides; float64, float32, float16, bfloat16, any integer dtype or bool.
            -0.0 equals 0.0; subnormals differ from zero whatever the flush-to-zero mode.
        nan_policy: "raise" raises a ValueError at a NaN; "propagate" gives NaN for its whole row;
            "omit" gives NaN for it and ranks the rest of its row without it.

    Returns:
        A float64 tensor of x's shape on its device; ranks are multiples of one half, so exact. The
        same bits for any number of threads and on every device.

    Raises:
        TypeError: `x` is no dense tensor of such a dtype.
        ValueError: `x` is 0-d, has 2**32 or more elements in a row (on CUDA 2**31, torch's
            limit for sorting), holds a NaN under ``nan_policy="raise"`` (the first row that does is
            named), or the policy is unknown.

    Ranks have no derivative: `x` is detached. On CUDA, "raise" waits for the result.
    """
    _check.dense(
        "x",
        x,
        (*_check.FLOATS, *ops.INTEGERS),
        "be a dense tensor of float64, float32, float16, bfloat16, an integer dtype or bool",
    )
    _check.refuse_stray("x", x)
    if x.dim() == 0:
        raise ValueError("x must have at least one dimension, got a 0-d tensor")
    if nan_policy not in NAN_POLICIES:
        raise _check.unknown_choice("nan_policy", nan_policy, NAN_POLICIES)
    ops.refuse_long_rows(x.shape[-1])
    _check.no_tangent(x=x)
    values = x.detach()
    if nan_policy != "omit" or not x.dtype.is_floating_point:
        return ops.ranks(values, False, nan_policy == "raise")
    # NaNs ranked last do not change the ranks of the others.
    values = values.resolve_neg()  # for the view of its bits
    missing = values.isnan()
    keys = ops.ordered_integers(values)
    last = keys.masked_fill(missing, torch.iinfo(keys.dtype).max)
    return ops.ranks(last, False, False).masked_fill(missing, torch.nan)
