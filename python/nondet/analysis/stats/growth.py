"""Measure how fast two trainings diverge, and the loss barrier between them."""

from typing import NamedTuple

import numpy as np
from scipy.stats import theilslopes

_PLATEAU_TAIL = 4  # the plateau is the median of the last 1 / 4 of the record
_FIT_UNTIL = 0.1  # of the plateau
_SATURATED = 0.5  # of the plateau
_LEAST_GROWTH = 10  # of the distance, within the phase that is fitted
_FIT_POINTS = 400


class Growth(NamedTuple):
    """Growth of the distance between two trainings, by step."""

    lyapunov: float
    """finite-time Lyapunov exponent per step, ln(d1 / d0) / (t1 - t0) over the fitted steps; NaN
    where they are fewer than two"""
    rate: float
    """slope of ln(distance) per step over the fitted steps, the median of the slopes of all pairs
    of points"""
    doubling_steps: float
    """ln 2 / rate; infinite where the distance does not grow exponentially"""
    saturation_step: int | None
    """first step at half the plateau; None where the distance does not grow to a plateau"""
    first: int | None
    """first and last step of the fit; None where the distance is 0 throughout"""
    last: int | None
    exponential: bool
    """whether the distance grows exponentially over the fitted steps"""


def growth_rates(step: np.ndarray, distance: np.ndarray) -> Growth:
    """Fit the growth of a distance (T,) recorded after the increasing steps `step` (T,).

    The fit begins at the first positive distance. It ends where the distance first reaches a tenth
    of its plateau, the median of the last quarter of the record; at the end of the record if the
    distance still doubles in that quarter, or the plateau is not 100 times the first distance.
    Growth counts as exponential if it is at least tenfold over the fit and ln(distance) lies closer
    to a line in the step than to one in its logarithm, a power law such as the random walk of
    rounding errors.

    Raises ValueError for vectors of different lengths, steps that do not increase, and distances
    that are negative, NaN or infinite.
    """
    if step.ndim != 1 or step.shape != distance.shape or len(step) == 0:
        raise ValueError(
            "step and distance must be vectors of one length, at least 1, got shapes "
            f"{step.shape} and {distance.shape}"
        )
    if (np.diff(step) <= 0).any():
        raise ValueError("step must increase")
    d = distance.astype(np.float64)
    if not (d >= 0).all() or np.isinf(d).any():
        raise ValueError("distance holds negative, NaN or infinite values")
    if not (d > 0).any():
        return Growth(np.nan, np.nan, np.inf, None, None, None, False)
    start = int(np.argmax(d > 0))
    t, d = step[start:], d[start:]
    tail = d[-max(len(d) // _PLATEAU_TAIL, 1) :]
    plateau = float(np.median(tail))
    half = max(len(tail) // 2, 1)
    rising = np.median(tail[-half:]) > 2 * np.median(tail[:half])
    grown = plateau > _LEAST_GROWTH * d[0] / _FIT_UNTIL
    stop = len(d)
    saturation = None
    if grown and not rising:
        saturation = int(t[np.argmax(d >= _SATURATED * plateau)])
        stop = int(np.argmax(d >= _FIT_UNTIL * plateau)) + 1
    positive = np.flatnonzero(d[:stop] > 0)
    t, logs = t[positive].astype(np.float64), np.log(d[positive])
    if len(t) < 2:
        return Growth(np.nan, np.nan, np.inf, saturation, int(t[0]), int(t[-1]), False)
    lyapunov = float((logs[-1] - logs[0]) / (t[-1] - t[0]))
    chosen = np.unique(np.linspace(0, len(t) - 1, min(len(t), _FIT_POINTS)).astype(int))
    rate, misfit = _line(t[chosen], logs[chosen])
    _, power_misfit = _line(np.log(t[chosen] - t[0] + 1), logs[chosen])
    growth = rate * (t[-1] - t[0])
    exponential = bool(growth >= np.log(_LEAST_GROWTH) and misfit <= power_misfit and len(t) > 2)
    doubling = np.log(2) / rate if exponential else np.inf
    return Growth(lyapunov, rate, float(doubling), saturation, int(t[0]), int(t[-1]), exponential)


def barrier(path: np.ndarray) -> float:
    """Return the largest rise of the losses `path` (A,), at A >= 2 evenly spaced points of the line
    between two weights, above the straight line between its ends.
    """
    if path.ndim != 1 or len(path) < 2:
        raise ValueError(f"path must be a vector of at least 2 losses, got shape {path.shape}")
    alpha = np.linspace(0, 1, len(path))
    return float(np.max(path - ((1 - alpha) * path[0] + alpha * path[-1])))


def _line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Return the slope of a robust line (Theil 1950, Sen 1968), and the mean distance of y from
    it.
    """
    slope, intercept, _, _ = theilslopes(y, x)
    return float(slope), float(np.mean(np.abs(y - slope * x - intercept)))
