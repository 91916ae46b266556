"""Pure functions on logits of shape (runs, examples, classes) and labels of shape (examples,)."""

import numpy as np


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

    Counting the runs behind each class avoids the loop over pairs: of n runs, c behind a class make
    c(c-1)/2 agreeing pairs. Raises ValueError for fewer than two runs.
    """
    predicted = predictions(logits)
    runs, examples = predicted.shape
    if runs < 2:
        raise ValueError(f"disagreement needs at least 2 runs, got {runs}")
    agreeing = 0
    for label in range(logits.shape[2]):
        behind = (predicted == label).sum(axis=0)
        agreeing += int((behind * (behind - 1) // 2).sum())
    pairs = runs * (runs - 1) // 2 * examples
    return float((pairs - agreeing) / pairs)


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
