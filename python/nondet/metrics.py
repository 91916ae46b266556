"""Pure functions on logits of shape (runs, examples, classes) and labels of shape (examples,)."""

import math
from typing import Literal

import numpy as np
import torch

import nondet_ext


def predictions(logits: np.ndarray) -> np.ndarray:
    """The predicted class, (runs, examples) int64; the lowest class among equals.

    Raises ValueError for NaN, which has no largest class.
    """
    _check(logits)
    predicted: np.ndarray = np.argmax(logits, axis=2)
    return predicted


def accuracy(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The fraction of examples predicted correctly, (runs,) float64."""
    _check(logits, labels)
    correct: np.ndarray = predictions(logits) == labels
    fraction: np.ndarray = correct.mean(axis=1)
    return fraction


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The mean negative log-likelihood of the labels, (runs,) float64, in nats; computed in
    float64.
    """
    _check(logits, labels)
    wide = logits.astype(np.float64)
    wide -= wide.max(axis=2, keepdims=True)
    log_sum = np.log(np.exp(wide).sum(axis=2))
    correct = np.take_along_axis(wide, labels[None, :, None], axis=2)[..., 0]
    mean: np.ndarray = (log_sum - correct).mean(axis=1)
    return mean


def pairwise_disagreement(logits: np.ndarray) -> float:
    """The fraction of examples on which two runs predict different classes, averaged over all pairs
    of runs.

    Raises ValueError for fewer than two runs.
    """
    return mean_over_pairs(nondet_ext.disagreement(torch.from_numpy(predictions(logits))))


def pairwise_correlation(logits: np.ndarray) -> float:
    """Spearman's rank correlation between the logits of two runs, flattened over examples and
    classes, averaged over all pairs of runs.

    NaN, with a warning, where a run's logits are all equal. Raises ValueError for fewer than two
    runs.
    """
    _check(logits)
    return mean_over_pairs(nondet_ext.spearman(torch.from_numpy(logits)))


def pairwise_ensemble_delta(
    logits: np.ndarray, labels: np.ndarray, metric: Literal["accuracy", "cross_entropy"]
) -> float:
    """The metric ("accuracy" or "cross_entropy") of the mean logits of two runs minus the mean of
    their metrics, averaged over all pairs of runs.

    Raises ValueError for fewer than two runs.
    """
    _check(logits, labels)
    return mean_over_pairs(
        nondet_ext.ensemble_delta(torch.from_numpy(logits), torch.from_numpy(labels), metric)
    )


def mean_over_pairs(matrix: torch.Tensor) -> float:
    """The mean of a symmetric matrix (runs, runs) over its pairs i < j."""
    runs = matrix.shape[0]
    if runs < 2:
        raise ValueError(f"a mean over pairs needs at least 2 runs, got {runs}")
    first, second = torch.triu_indices(runs, runs, offset=1)
    return math.fsum(matrix[first, second].tolist()) / len(first)


def _check(logits: np.ndarray, labels: np.ndarray | None = None) -> None:
    if logits.ndim != 3 or 0 in logits.shape:
        raise ValueError(
            f"logits must be a non-empty (runs, examples, classes) array, got {logits.shape}"
        )
    if np.isnan(logits).any():
        raise ValueError("logits hold NaN")
    if labels is None:
        return
    if labels.shape != logits.shape[1:2]:
        raise ValueError(f"labels must have shape {logits.shape[1:2]}, got {labels.shape}")
    if labels.min() < 0 or labels.max() >= logits.shape[2]:
        raise ValueError(
            f"labels must lie in [0, {logits.shape[2]}), got {labels.min()}..{labels.max()}"
        )
