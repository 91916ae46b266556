"""Correlations of all pairs of models' outputs."""

from collections.abc import Callable

import torch

from nondet_ext import _check
from nondet_ext import _correlation_ops as ops
from nondet_ext._rank_ops import INTEGERS
from nondet_ext.ranks import NAN_POLICIES


def spearman(
    x: torch.Tensor, y: torch.Tensor | None = None, *, nan_policy: str = "raise"
) -> torch.Tensor:
    """Compute Spearman's rank correlation of every pair of rows, of x with itself or of x with y.

    Ranks (ties averaged, as ``scipy.stats.rankdata``) are computed once per row, doubled and
    centred so that they are integers, and their products are summed without error; the quotient of
    these integers is rounded once. So threads, blocks, devices and strides cannot change a bit, and
    each result is within half a unit in the last place of the true value.

    Args:
        x: (R1, n), or (R1, ...), whose other dimensions are flattened, as the paper flattens the
            logits (N, C) of a model; n >= 2. float64, float32, float16, bfloat16 or integers.
        y: (R2, n), likewise, on x's device; None compares x with itself.
        nan_policy: "raise"; "propagate": NaN for pairs with a row that has a NaN; "omit": such a
            pair is ranked over the positions at which both rows have a value, as
            ``scipy.stats.spearmanr`` does for two samples (one pair at a time, so slow).

    Returns:
        (R1, R2) float64 on x's device; exactly symmetric and with ones on the diagonal where y is
        None. NaN for constant rows. Carries no gradient. On CUDA the call waits for its result.

    Warns:
        DegenerateInputWarning: rows are constant; it names them.

    Raises:
        TypeError: x or y is no dense tensor of such a dtype.
        ValueError: shapes do not fit, or there are NaN and `nan_policy` is "raise".

    Source: "On Nondeterminism and Instability in Neural Network Optimization", Sec. 3.1.
    """
    return _correlate(ops.spearman, x, y, nan_policy)


def pearson(
    x: torch.Tensor, y: torch.Tensor | None = None, *, nan_policy: str = "raise"
) -> torch.Tensor:
    """Compute Pearson's correlation of every pair of rows, of x with itself or of x with y.

    The bits are defined as for :func:`spearman`. Integers are correlated without error, whatever
    their size, and the result is rounded once. Of floats, the deviations from a row's (correctly
    rounded) mean are rounded to multiples of 2^-53 of the power of two above the largest of them,
    and the correlation of these integers is exact and rounded once. The first step changes the
    result by less than about 2^-52 times the largest deviation of either row over its standard
    deviation.

    Args, returns, warns, raises: as for :func:`spearman`, except that infinities, which have no
    deviation from a mean, are treated as NaN.
    """
    return _correlate(ops.pearson, x, y, nan_policy)


def _correlate(
    op: Callable[..., torch.Tensor], x: object, y: object, nan_policy: object
) -> torch.Tensor:
    if nan_policy not in NAN_POLICIES:
        raise _check.unknown_choice("nan_policy", nan_policy, NAN_POLICIES)
    rows = _rows("x", x)
    others = None if y is None else _rows("y", y)
    if others is not None:
        if others.shape[1] != rows.shape[1]:
            raise ValueError(
                f"x and y must have rows of equal length, got {rows.shape[1]} and {others.shape[1]}"
            )
        if others.device != rows.device:
            raise ValueError(
                f"x and y must be on one device, got {rows.device} and {others.device}"
            )
    return op(rows, others, nan_policy)


def _rows(name: str, value: object) -> torch.Tensor:
    """Return the value as rows (R, n), contiguous and without gradient."""
    tensor = _check.dense(
        name,
        value,
        (*_check.FLOATS, *INTEGERS),
        "be a dense tensor of float64, float32, float16, bfloat16, an integer dtype or bool",
    )
    _check.refuse_stray(name, tensor)
    if tensor.dim() < 2:
        raise ValueError(f"{name} must have at least two dimensions, got {tuple(tensor.shape)}")
    _check.no_tangent(**{name: tensor})
    rows = tensor.detach().flatten(1).contiguous()
    if rows.shape[0] < 1 or rows.shape[1] < 2:
        raise ValueError(
            f"{name} must have at least one row and two values a row, got {tuple(tensor.shape)}"
        )
    return rows
