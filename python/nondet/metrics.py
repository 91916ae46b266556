"""Metrics of logits of shape (runs, examples, classes) and labels of shape (examples,)."""

from typing import Literal, get_args

import numpy as np
import torch

import nondet_ext
from nondet.names import alternatives

Metric = Literal["accuracy", "cross_entropy"]


def predictions(logits: np.ndarray) -> np.ndarray:
    """Return the predicted classes, (runs, examples) int64; ties go to the lowest class.

    Raises ValueError for logits with NaN.
    """
    _check(logits)
    predicted: np.ndarray = np.argmax(logits, axis=2)
    return predicted


def accuracy(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the fraction of examples predicted correctly, (runs,) float64."""
    _check(logits, labels)
    correct: np.ndarray = predictions(logits) == labels
    fraction: np.ndarray = correct.mean(axis=1)
    return fraction


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the mean negative log-likelihood of the labels in nats, (runs,) float64.

    It is computed in float64.
    """
    mean: np.ndarray = _negative_log_likelihood(logits, labels).mean(axis=1)
    return mean


def example_losses(logits: np.ndarray, labels: np.ndarray, metric: Metric) -> np.ndarray:
    """Return the loss of each run on each example, (runs, examples) float64.

    metric: "accuracy" gives 1 for a wrong prediction and 0 for a right one, so that the mean over
    the examples is 1 - accuracy; "cross_entropy" gives the negative log-likelihood in nats.
    """
    if metric == "accuracy":
        _check(logits, labels)
        errors: np.ndarray = (predictions(logits) != labels).astype(np.float64)
        return errors
    if metric == "cross_entropy":
        return _negative_log_likelihood(logits, labels)
    raise ValueError(f"metric is {metric!r}; {alternatives(metric, get_args(Metric))}")


def class_accuracy(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the fraction predicted correctly of the examples of each class, (runs, classes)
    float64; NaN for a class without examples.
    """
    right = 1 - example_losses(logits, labels, "accuracy")
    members = (labels[:, None] == np.arange(logits.shape[2])).astype(np.float64)
    with np.errstate(invalid="ignore"):
        fractions: np.ndarray = right @ members / members.sum(axis=0)
    return fractions


def example_churn(logits: np.ndarray) -> np.ndarray:
    """Return the fraction of pairs of runs that predict different classes of each example,
    (examples,) float64; its mean is that of `disagreement_matrix` over pairs.

    Raises ValueError for a single run.
    """
    predicted = predictions(logits)
    runs, examples = predicted.shape
    if runs < 2:
        raise ValueError("logits hold a single run; churn compares at least 2")
    votes = np.zeros((examples, logits.shape[2]), np.int64)
    for run in predicted:
        votes[np.arange(examples), run] += 1
    alike = (votes * (votes - 1)).sum(axis=1)
    churn: np.ndarray = 1 - alike / (runs * (runs - 1))
    return churn


def confidence(logits: np.ndarray) -> np.ndarray:
    """Return the probability that each run gives its predicted class, (runs, examples) float64: the
    largest of the softmax.
    """
    _check(logits)
    wide = logits.astype(np.float64)
    wide -= wide.max(axis=2, keepdims=True)
    largest: np.ndarray = 1 / np.exp(wide).sum(axis=2)
    return largest


def calibration_error(logits: np.ndarray, labels: np.ndarray, bins: int = 15) -> np.ndarray:
    """Return the expected calibration error of each run, (runs,) float64: the mean over examples of
    the distance between accuracy and mean confidence in the example's bin (Guo et al. 2017, "On
    Calibration of Modern Neural Networks").

    bins: of equal width, each with its upper end, on the confidence in (0, 1].
    """
    if bins < 1:
        raise ValueError(f"bins is {bins}; it must be at least 1")
    right = 1 - example_losses(logits, labels, "accuracy")
    sure = confidence(logits)
    place = np.clip(np.ceil(sure * bins).astype(np.int64) - 1, 0, bins - 1)
    gaps = [
        np.abs(np.bincount(at, weights=hit - p, minlength=bins)).sum()
        for at, hit, p in zip(place, right, sure, strict=True)
    ]
    return np.array(gaps) / len(labels)


def disagreement_matrix(logits: np.ndarray) -> np.ndarray:
    """Return the fraction of examples on which two runs predict different classes.

    Returns (runs, runs) float64; the diagonal is 0.
    """
    matrix: np.ndarray = nondet_ext.disagreement(torch.from_numpy(predictions(logits))).numpy()
    return matrix


def correlation_matrix(logits: np.ndarray) -> np.ndarray:
    """Return Spearman's rank correlation between the logits of two runs.

    The logits are flattened over examples and classes. Returns (runs, runs) float64; NaN, with a
    warning, for a run whose logits are all equal.
    """
    _check(logits)
    matrix: np.ndarray = nondet_ext.spearman(torch.from_numpy(logits)).numpy()
    return matrix


def ensemble_delta_matrix(logits: np.ndarray, labels: np.ndarray, metric: Metric) -> np.ndarray:
    """Return the metric of the mean logits of two runs minus the mean of their metrics.

    Returns (runs, runs) float64; the diagonal is 0.
    """
    _check(logits, labels)
    matrix: np.ndarray = nondet_ext.ensemble_delta(
        torch.from_numpy(logits), torch.from_numpy(labels), metric
    ).numpy()
    return matrix


def _negative_log_likelihood(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    _check(logits, labels)
    wide = logits.astype(np.float64)
    wide -= wide.max(axis=2, keepdims=True)
    log_sum = np.log(np.exp(wide).sum(axis=2))
    losses: np.ndarray = log_sum - np.take_along_axis(wide, labels[None, :, None], axis=2)[..., 0]
    return losses


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
