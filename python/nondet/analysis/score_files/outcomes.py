"""What predictions score on each example."""

import numpy as np

from nondet import metrics

METRICS = ("accuracy", "cross_entropy")
"""The scores of logits."""


def example_scores(logits: np.ndarray, labels: np.ndarray, metric: str) -> np.ndarray:
    """Return what logits (runs, examples, classes) score on each example, (runs, examples) float64.

    metric: "accuracy" gives 1 for a right prediction and 0 for a wrong one; "cross_entropy" the
    negative log-likelihood of the label in nats. Raises ValueError for NaN, labels that do not fit,
    and other metrics.
    """
    if metric == "accuracy":
        return 1 - metrics.example_losses(logits, labels, "accuracy")
    if metric == "cross_entropy":
        return metrics.example_losses(logits, labels, "cross_entropy")
    raise ValueError(f"logits have no score {metric!r}; known: {', '.join(METRICS)}")
