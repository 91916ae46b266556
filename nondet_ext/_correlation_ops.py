"""Correlations of all pairs of rows as registered torch ops: every row becomes a vector of
integers, and what follows is exact. The checks of arguments are in correlation.py.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from nondet_ext import summation
from nondet_ext._integer_products import EXACT_BITS, IntegerProducts
from nondet_ext._op import Op
from nondet_ext._quotients import correlations
from nondet_ext._rank_ops import ranks
from nondet_ext._warnings import DegenerateInputWarning

Prepared = tuple[torch.Tensor, torch.Tensor]
"""Integers of each row, (rows, n), and which rows have none for want of a value, (rows,) bool;
these hold zeros.
"""


@dataclass(frozen=True)
class _Kind:
    """How rows become integers of magnitude up to `bound(n)`, which sum to zero if `centred`; in
    groups of rows whose float64 values take about `group_bytes`.
    """

    prepare: Callable[[torch.Tensor], Prepared]
    bound: Callable[[int], int]
    centred: bool
    group_bytes: int


def _centred_ranks(x: torch.Tensor) -> Prepared:
    ranked = ranks(x, True, False)
    missing = ranked[:, 0].isnan()  # a row with NaN has no rank at all
    if bool(missing.any()):
        ranked[missing] = 0
    return ranked, missing


def _quantised(x: torch.Tensor) -> Prepared:
    """Deviations from each row's mean, in units of 2^-53 of the power of two above the largest:
    integers up to 2^53, to the nearest.
    """
    values = x.to(torch.float64)
    largest = values.abs().amax(dim=1, keepdim=True)
    missing = ~largest.isfinite()
    if bool(missing.any()):
        values, largest = values.masked_fill(missing, 0), largest.masked_fill(missing, 0)
    _, exponent = torch.frexp(largest)
    half = torch.div(-exponent, 2, rounding_mode="floor")
    values = values * _power_of_two(half) * _power_of_two(-exponent - half)
    values -= summation.mean(values, dim=1, keepdim=True, order="exact")
    _, exponent = torch.frexp(values.abs().amax(dim=1, keepdim=True))
    return torch.round(values * _power_of_two(EXACT_BITS - exponent)), missing[:, 0]


def _power_of_two(exponent: torch.Tensor) -> torch.Tensor:
    """2^exponent for exponents of normal float64, whatever pow() makes of it."""
    return ((exponent.to(torch.int64) + 1023) << 52).view(torch.float64)


_KINDS = {
    "spearman": _Kind(_centred_ranks, lambda n: n - 1, centred=True, group_bytes=128 << 20),
    # Deviations take many passes, which should find a group in the caches.
    "pearson": _Kind(_quantised, lambda n: 1 << EXACT_BITS, centred=False, group_bytes=16 << 20),
}


def _prepare(kind: _Kind, x: torch.Tensor) -> Prepared:
    """float64 integers where they are few, int32 where that halves what is much."""
    rows, n = x.shape
    group = max(kind.group_bytes // (8 * n), 1)
    if rows <= group:
        return kind.prepare(x)
    dtype = torch.int32 if kind.bound(n) < 1 << 31 else torch.float64
    prepared = torch.empty((rows, n), dtype=dtype, device=x.device)
    missing = torch.empty(rows, dtype=torch.bool, device=x.device)
    for begin in range(0, rows, group):
        part = slice(begin, begin + group)
        prepared[part], missing[part] = kind.prepare(x[part])
    return prepared, missing


def _correlate(
    kind: _Kind, x: torch.Tensor, y: torch.Tensor | None
) -> tuple[np.ndarray, list[np.ndarray]]:
    """(R1, R2) float64 of prepared rows, and which rows of each side are constant, whose
    correlations are NaN.
    """
    n = x.shape[1]
    others = None if y is None else y.shape[0]
    products = IntegerProducts(x.shape[0], others, kind.bound(n), x.device, not kind.centred)
    products.add(x, y)
    totals, (left, right) = products.totals(), products.squares()
    if not kind.centred:
        wide = [np.asarray(each, dtype=object) for each in (totals, left, right, *products.sums())]
        totals = n * wide[0] - wide[3][:, None] * wide[4][None, :]
        left, right = n * wide[1] - wide[3] ** 2, n * wide[2] - wide[4] ** 2
    constant = [np.asarray(squares == 0, dtype=bool) for squares in (left, right)]
    return correlations(totals, left, right), constant


def _gaps(kind: _Kind, x: torch.Tensor) -> torch.Tensor:
    """Where values are missing."""
    return x.isnan() if kind.centred else ~x.isfinite()


def _refuse(kind: _Kind, name: str, x: torch.Tensor, row: int) -> None:
    position = int(torch.nonzero(_gaps(kind, x[row]))[0])
    what = "NaN" if kind.centred else "NaN or infinity"
    raise ValueError(
        f"{name} has {what} in row {row} at position {position}; nan_policy='propagate' gives NaN "
        "for such rows, 'omit' leaves such positions out pair by pair"
    )


def _omitting(
    kind: _Kind, x: torch.Tensor, y: torch.Tensor, wanted: np.ndarray, result: np.ndarray
) -> None:
    """Writes the wanted pairs, each over the positions that both rows have."""
    gaps_x, gaps_y = _gaps(kind, x), _gaps(kind, y)
    for i, j in zip(*np.nonzero(wanted), strict=True):
        both = ~(gaps_x[i] | gaps_y[j])
        if int(both.sum()) >= 2:
            (left, _), (right, _) = (
                kind.prepare(rows[k : k + 1, both]) for rows, k in ((x, i), (y, j))
            )
            result[i, j] = _correlate(kind, left, right)[0][0, 0]


def _run(name: str, x: torch.Tensor, y: torch.Tensor | None, nan_policy: str) -> torch.Tensor:
    kind = _KINDS[name]
    sides = {"x": x} if y is None else {"x": x, "y": y}
    prepared = {side: _prepare(kind, rows) for side, rows in sides.items()}
    missing = {side: rows.cpu().numpy() for side, (_, rows) in prepared.items()}
    for side, rows in missing.items():
        if nan_policy == "raise" and rows.any():
            _refuse(kind, side, sides[side], int(rows.argmax()))
    right = None if y is None else prepared["y"][0]
    result, constant = _correlate(kind, prepared["x"][0], right)
    touched = missing["x"][:, None] | missing.get("y", missing["x"])[None, :]
    if touched.any():
        result[touched] = np.nan
        if nan_policy == "omit":
            _omitting(kind, x, x if y is None else y, touched, result)
    for side, rows in zip(sides, constant, strict=False):
        _warn_of_constants(side, np.nonzero(rows & ~missing[side])[0].tolist())
    return torch.from_numpy(result).to(x.device)


def _warn_of_constants(side: str, rows: list[int]) -> None:
    if not rows:
        return
    listed = ", ".join(map(str, rows[:10])) + (", ..." if len(rows) > 10 else "")
    warnings.warn(
        f"{side} has constant rows, whose correlations are NaN: {listed}",
        DegenerateInputWarning,
        stacklevel=3,
    )


def _spearman(x: torch.Tensor, y: torch.Tensor | None, nan_policy: str) -> torch.Tensor:
    return _run("spearman", x, y, nan_policy)


def _pearson(x: torch.Tensor, y: torch.Tensor | None, nan_policy: str) -> torch.Tensor:
    return _run("pearson", x, y, nan_policy)


def _fake(x: torch.Tensor, y: torch.Tensor | None, nan_policy: str) -> torch.Tensor:
    return x.new_empty((x.shape[0], (x if y is None else y).shape[0]), dtype=torch.float64)


spearman = Op("spearman", _spearman, fake=_fake)
pearson = Op("pearson", _pearson, fake=_fake)
