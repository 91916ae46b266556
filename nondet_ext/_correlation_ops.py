"""Correlations of all pairs of rows as torch ops. Each row becomes a vector of integers; all
further steps are exact. correlation.py checks the arguments.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from nondet_ext import summation
from nondet_ext._float_mode import in_default_mode
from nondet_ext._integer_products import EXACT_BITS, IntegerProducts
from nondet_ext._op import Op
from nondet_ext._quotients import correlations
from nondet_ext._rank_ops import ordered_integers, ranks
from nondet_ext._warnings import warn_degenerate


class _Prepared(NamedTuple):
    """Integers of each row, (rows, n), of magnitude up to `bound`; and a mask of the rows with a
    missing value, (rows,), whose integers are zeros.
    """

    integers: torch.Tensor
    missing: torch.Tensor
    bound: int


@dataclass(frozen=True)
class _Kind:
    """Maps from rows of floats and of integers to integers, which sum to zero if `centred`. That of
    floats has the magnitude `bound(n)` at most; it is applied to groups of rows whose float64
    values take about `group_bytes`.
    """

    prepare: Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
    prepare_integers: Callable[[torch.Tensor], _Prepared] | None
    bound: Callable[[int], int]
    centred: bool
    group_bytes: int


def _centred_ranks(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    ranked = ranks(x, True, False)
    missing = ranked[:, 0].isnan()  # all ranks of a row with NaN are NaN
    if bool(missing.any()):
        ranked[missing] = 0
    return ranked, missing


def _quantised(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the deviations from each row's mean, rounded to integers up to 2^53 in units of 2^-53
    of the power of two above the largest.
    """
    low, high = x.aminmax(dim=1, keepdim=True)  # NaN if there is one
    largest = torch.maximum(-low, high).to(torch.float64)
    missing = ~largest.isfinite()
    # Every step but the first works in place, on a group of rows.
    values = x.to(torch.float64, copy=True)
    if bool(missing.any()):
        values.masked_fill_(missing, 0)
        largest.masked_fill_(missing, 0)
    _, exponent = torch.frexp(largest)
    half = torch.div(-exponent, 2, rounding_mode="floor")
    if int(half.abs().max()) < _SAFE_EXPONENT:
        values *= _power_of_two(-exponent)
    else:
        values.mul_(_power_of_two(half)).mul_(_power_of_two(-exponent - half))
    values -= summation.mean(values, dim=1, keepdim=True, order="exact")
    low, high = values.aminmax(dim=1, keepdim=True)
    _, exponent = torch.frexp(torch.maximum(-low, high))
    return values.mul_(_power_of_two(EXACT_BITS - exponent)).round_(), missing[:, 0]


def _shifted(x: torch.Tensor) -> _Prepared:
    """Return int64 rows minus the middle of their least and largest value, which changes no
    correlation and fits into int64.
    """
    low, high = (each.to(torch.int64) for each in x.aminmax(dim=1, keepdim=True))
    middle = (low >> 1) + (high >> 1) + ((low | high) & 1)  # rounded up; the sum may overflow
    shifted = x.to(torch.int64) - middle
    bound = max(-int(shifted.min()), int(shifted.max()), 1)
    missing = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    return _Prepared(shifted, missing, bound)


def _power_of_two(exponent: torch.Tensor) -> torch.Tensor:
    """Return 2^exponent, for exponents of normal float64, exactly (pow() may round)."""
    return ((exponent.to(torch.int64) + 1023) << 52).view(torch.float64)


_SAFE_EXPONENT = 500
"""Powers of two up to twice this exponent are normal float64."""

_KINDS = {
    "spearman": _Kind(_centred_ranks, None, lambda n: n - 1, centred=True, group_bytes=128 << 20),
    # Deviations take many passes, so a group should fit the caches.
    "pearson": _Kind(
        _quantised, _shifted, lambda n: 1 << EXACT_BITS, centred=False, group_bytes=16 << 20
    ),
}


def _prepare(kind: _Kind, x: torch.Tensor) -> _Prepared:
    """Return float64 integers for one group of rows of floats, else int32 if that saves memory."""
    if kind.prepare_integers is not None and not x.dtype.is_floating_point:
        return kind.prepare_integers(x)
    rows, n = x.shape
    bound = kind.bound(n)
    group = max(kind.group_bytes // (8 * n), 1)
    if rows <= group:
        return _Prepared(*kind.prepare(x), bound)
    dtype = torch.int32 if bound < 1 << 31 else torch.float64
    prepared = torch.empty((rows, n), dtype=dtype, device=x.device)
    missing = torch.empty(rows, dtype=torch.bool, device=x.device)
    for begin in range(0, rows, group):
        part = slice(begin, begin + group)
        prepared[part], missing[part] = kind.prepare(x[part])
    return _Prepared(prepared, missing, bound)


def _correlate(
    kind: _Kind, x: _Prepared, y: _Prepared | None
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return the correlations of prepared rows, float64 (R1, R2), and masks of the constant rows of
    each side, whose correlations are NaN.
    """
    left, right = x.integers, None if y is None else y.integers
    rows, n = left.shape
    others = None if right is None else right.shape[0]
    bound = x.bound if y is None else max(x.bound, y.bound)
    if right is not None and bound > 1 << EXACT_BITS:
        left, right = left.to(torch.int64), right.to(torch.int64)
    products = IntegerProducts(rows, others, bound, left.device, not kind.centred)
    products.add(left, right)
    totals, squares = products.totals(), list(products.squares())
    if not kind.centred:
        wide = [np.asarray(each, dtype=object) for each in (totals, *squares, *products.sums())]
        totals = n * wide[0] - wide[3][:, None] * wide[4][None, :]
        squares = [n * wide[1] - wide[3] ** 2, n * wide[2] - wide[4] ** 2]
    constant = [np.asarray(each == 0, dtype=bool) for each in squares]
    return correlations(totals, *squares), constant


def _comparable(x: torch.Tensor) -> torch.Tensor:
    """Return rows of a dtype that torch can compare and index; not all unsigned ones are."""
    return x if x.dtype.is_floating_point else ordered_integers(x)


def _gaps(kind: _Kind, x: torch.Tensor) -> torch.Tensor:
    """Return a mask of the missing values."""
    return x.isnan() if kind.centred else ~x.isfinite()


def _refuse_gaps(kind: _Kind, name: str, x: torch.Tensor, row: int) -> None:
    position = int(torch.nonzero(_gaps(kind, x[row]))[0])
    gap = "NaN" if kind.centred else "NaN or infinity"
    raise ValueError(
        f"{name} has {gap} in row {row} at position {position}; nan_policy='propagate' gives NaN "
        "for such rows, 'omit' leaves such positions out pair by pair"
    )


def _fill_omitting(
    kind: _Kind, x: torch.Tensor, y: torch.Tensor, wanted: np.ndarray, result: np.ndarray
) -> None:
    """Write the wanted pairs, each over the positions at which both rows have values."""
    gaps_x, gaps_y = _gaps(kind, x), _gaps(kind, y)
    for i, j in zip(*np.nonzero(wanted), strict=True):
        both = ~(gaps_x[i] | gaps_y[j])
        if int(both.sum()) >= 2:
            left, right = (_prepare(kind, rows[k : k + 1, both]) for rows, k in ((x, i), (y, j)))
            result[i, j] = _correlate(kind, left, right)[0][0, 0]


def _run(name: str, x: torch.Tensor, y: torch.Tensor | None, nan_policy: str) -> torch.Tensor:
    kind = _KINDS[name]
    x, y = _comparable(x), None if y is None else _comparable(y)
    sides = {"x": x} if y is None else {"x": x, "y": y}
    prepared = {side: _prepare(kind, rows) for side, rows in sides.items()}
    missing = {side: each.missing.cpu().numpy() for side, each in prepared.items()}
    for side, rows in missing.items():
        if nan_policy == "raise" and rows.any():
            _refuse_gaps(kind, side, sides[side], int(rows.argmax()))
    result, constant = _correlate(kind, prepared["x"], prepared.get("y"))
    touched = missing["x"][:, None] | missing.get("y", missing["x"])[None, :]
    if touched.any():
        result[touched] = np.nan
        if nan_policy == "omit":
            _fill_omitting(kind, x, x if y is None else y, touched, result)
    for side, rows in zip(sides, constant, strict=False):
        _warn_of_constants(side, np.nonzero(rows & ~missing[side])[0].tolist())
    return torch.from_numpy(result).to(x.device)


def _warn_of_constants(side: str, rows: list[int]) -> None:
    if not rows:
        return
    listed = ", ".join(map(str, rows[:10])) + (", ..." if len(rows) > 10 else "")
    warn_degenerate(f"{side} has constant rows, whose correlations are NaN: {listed}")


@in_default_mode
def _spearman(x: torch.Tensor, y: torch.Tensor | None, nan_policy: str) -> torch.Tensor:
    return _run("spearman", x, y, nan_policy)


@in_default_mode
def _pearson(x: torch.Tensor, y: torch.Tensor | None, nan_policy: str) -> torch.Tensor:
    return _run("pearson", x, y, nan_policy)


def _fake(x: torch.Tensor, y: torch.Tensor | None, nan_policy: str) -> torch.Tensor:
    return x.new_empty((x.shape[0], (x if y is None else y).shape[0]), dtype=torch.float64)


spearman = Op("spearman", _spearman, fake=_fake)
pearson = Op("pearson", _pearson, fake=_fake)
