"""Estimate the share of the spread of a test metric that is due to the finite test set (Jordan
2023, "Calibrated Chaos: Variance Between Runs of Neural Network Training is Harmless and
Inevitable").
"""

from typing import NamedTuple

import numpy as np

from nondet.analysis.stats.intervals import Interval, check_confidence, jackknife_interval


class SamplingShare(NamedTuple):
    """Standard deviations over runs of a test metric, in the unit of the losses."""

    total: float
    """of the mean over the test set, as observed (divisor R - 1)"""
    sampling: float
    """what the sampling of the test set adds"""
    remaining: float
    """of the expected loss, were the test set infinite; 0 where its variance comes out negative"""
    remaining_variance: float
    """the unclipped estimate of that variance"""
    share: Interval
    """sampling as a share of the total variance; above 1 where the remaining variance comes out
    negative"""


def sampling_share(losses: np.ndarray, confidence: float = 0.95) -> SamplingShare:
    """Split the variance over runs of the mean loss on a test set into the variance of the expected
    loss and the contribution of sampling the test set.

    losses: (R, N), of run i on example j: errors (0 or 1), cross-entropies or any other. Let the
    examples be drawn independently, and write l(i, z) for the loss of run i on a random example z.
    The variance over runs of the mean over N examples is, averaged over test sets,

        1/N E_z Var_i l(i, z) + (1 - 1/N) E_{z, z'} Cov_i(l(i, z), l(i, z')),

    and the last expectation, over independent z and z', is the variance of a run's expected loss.
    With unbiased variances (divisor R - 1): total = Var_i(mean_j l_ij), sampling = mean_j
    Var_i(l_ij) / N, remaining = N / (N - 1) (total - sampling). The remaining variance is unbiased,
    and can be negative when it is small.

    The interval of the share is Student's on the logarithmic scale, from the jackknife over runs,
    and holds for this test set. The share is NaN if the mean losses do not vary; its ends are NaN
    for fewer than three runs.

    Raises ValueError for fewer than two runs or examples, and for NaN and infinite losses.
    """
    if losses.ndim != 2 or losses.shape[0] < 2 or losses.shape[1] < 2:
        raise ValueError(
            f"losses must be (runs, examples), at least 2 of each, got shape {losses.shape}"
        )
    check_confidence(confidence)
    runs, examples = losses.shape
    centred = losses.astype(np.float64)
    if not np.isfinite(centred).all():
        raise ValueError("losses holds NaN or infinite values")
    centred -= centred[0].copy()
    centred -= centred.mean(0)
    means, gram = centred.mean(1), centred @ centred.T
    total, sampling = (float(v[0]) for v in _variances(np.ones((1, runs)), means, gram, examples))
    remaining = examples / (examples - 1) * (total - sampling)
    share = Interval(np.nan, np.nan, np.nan)
    if total > 0 and runs == 2:
        share = Interval(sampling / total, np.nan, np.nan)
    elif total > 0:
        total_left, sampling_left = _variances(1 - np.eye(runs), means, gram, examples)
        with np.errstate(divide="ignore", invalid="ignore"):
            shares = sampling_left / total_left
        share = jackknife_interval(sampling / total, [shares], confidence, low=0)
    return SamplingShare(total**0.5, sampling**0.5, max(remaining, 0.0) ** 0.5, remaining, share)


def _variances(
    kept: np.ndarray, means: np.ndarray, gram: np.ndarray, examples: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the variance of the means, and the mean variance of the examples over their number, of
    the runs that each row of `kept` (samples, runs) marks by 1.

    Both come from the Gram matrix of the centred losses: leaving out runs one by one would take R
    passes over all losses.
    """
    n = kept.sum(1)
    total = (kept @ means**2 - (kept @ means) ** 2 / n) / (n - 1)
    within = (kept @ np.diag(gram) - ((kept @ gram) * kept).sum(1) / n) / (n - 1)
    return np.maximum(total, 0), np.maximum(within, 0) / examples**2
