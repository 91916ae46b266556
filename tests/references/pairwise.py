"""Comparisons of all pairs of models by double loops over their definitions."""

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import torch

Array = np.ndarray


def table(models: int, entry: Callable[[int, int], float]) -> Array:
    return np.array([[entry(i, j) for j in range(models)] for i in range(models)])


def ratio(count: int, total: int) -> float:
    return float(Fraction(count, total)) if total else float("nan")


def disagreement(predictions: Array) -> Array:
    models, examples = predictions.shape
    rows = predictions.tolist()

    def entry(i: int, j: int) -> float:
        return ratio(sum(a != b for a, b in zip(rows[i], rows[j], strict=True)), examples)

    return table(models, entry)


def churn(predictions: Array, labels: Array, classes: int) -> Array:
    def of_class(c: int) -> Array:
        chosen = predictions[:, labels == c]
        models = len(predictions)
        return disagreement(chosen) if chosen.shape[1] else np.full((models, models), np.nan)

    return np.stack([of_class(c) for c in range(classes)])


def error_overlap(predictions: Array, labels: Array) -> Array:
    wrong = [set(np.flatnonzero(row != labels).tolist()) for row in predictions]
    return table(len(wrong), lambda i, j: ratio(len(wrong[i] & wrong[j]), len(wrong[i] | wrong[j])))


def softmax(logits: Array) -> Array:
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def accuracy_delta(logits: Array, labels: Array, space: str) -> Array:
    outputs = logits if space == "logits" else softmax(logits)
    models, examples, _ = logits.shape

    def correct(i: int, j: int) -> int:
        # NumPy's argmax returns the first of equal values.
        return int((((outputs[i] + outputs[j]) / 2).argmax(-1) == labels).sum())

    counts = [[correct(i, j) for j in range(models)] for i in range(models)]
    return table(
        models,
        lambda i, j: ratio(2 * counts[i][j] - counts[i][i] - counts[j][j], 2 * examples),
    )


def log_softmax(logits: Array) -> Array:
    """Return the log-softmax, computed in long double (64-bit significands on x86)."""
    shifted = logits.astype(np.longdouble)
    shifted = shifted - shifted.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def cross_entropy_delta(logits: Array, labels: Array, space: str) -> Array:
    models, examples, _ = logits.shape
    at_label = np.arange(examples), labels
    wide, logs = logits.astype(np.longdouble), log_softmax(logits)

    def loss(i: int, j: int) -> np.longdouble:
        if space == "logits":
            of_mean = log_softmax((wide[i] + wide[j]) / 2)[at_label]
        else:
            of_mean = np.logaddexp(logs[i][at_label], logs[j][at_label]) - np.log(np.longdouble(2))
        return -of_mean.sum() / examples

    losses = [[loss(i, j) for j in range(models)] for i in range(models)]
    return table(models, lambda i, j: float(losses[i][j] - (losses[i][i] + losses[j][j]) / 2))


def cross_entropy_bound(logits: Array) -> float:
    """Bound the difference between a computed delta and the exact one.

    The value of an example is a sum of C products of two exponentials (1 ulp each), whose arguments
    are rounded differences of logits. It enters a product (1 ulp more). The logarithm of a tile and
    the sums of tiles add a few ulp each; the mean over examples adds nothing. A delta consists of
    three such logarithms, one of them with weight 1.
    """
    eps = 2.0**-52
    return 2 * eps * (logits.shape[2] + 16 + 4 * float(np.abs(logits).max()))


def to_tensor(values: Array, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values)).to(dtype)
