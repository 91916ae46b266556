"""Compute how predictions vary over the runs of a row: by class, by example, and in calibration."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

import nondet_ext
from nondet import metrics
from nondet.analysis.stats import Interval, pair_mean, unbiased_sd


@dataclass(frozen=True, eq=False)
class PredictionStatistics:
    """How the predictions of R runs vary. Everything is in percent or percentage points; intervals
    are nominal 95%, from a jackknife over runs.

    Attributes:
        classes: (C,) int64, those with test examples.
        class_accuracies: (R, C) float64.
        class_sds: of the accuracy of each class, unbiased.
        class_churn: of each class, the mean disagreement of two runs.
        example_churn: (N,) float64, the pairs of runs that predict different classes.
        churn: its mean, the disagreement.
        confidences: (R,), the mean probability of the predicted class.
        accuracies: (R,).
        calibration_errors: (R,), the expected calibration error.
        calibration_sd: its SD over runs, unbiased.
    """

    classes: np.ndarray
    class_accuracies: np.ndarray
    class_sds: Sequence[Interval]
    class_churn: Sequence[Interval]
    example_churn: np.ndarray
    churn: Interval
    confidences: np.ndarray
    accuracies: np.ndarray
    calibration_errors: np.ndarray
    calibration_sd: Interval


def prediction_statistics(logits: np.ndarray, labels: np.ndarray) -> PredictionStatistics:
    """Compute the statistics of predictions (R, N, C) of at least two runs with labels (N,)."""
    of_class = 100 * metrics.class_accuracy(logits, labels)
    classes = np.flatnonzero(np.isfinite(of_class[0]))
    predicted = torch.from_numpy(metrics.predictions(logits))
    members = [torch.from_numpy(np.flatnonzero(labels == one)) for one in classes]
    churn = [100 * nondet_ext.disagreement(predicted[:, one]).numpy() for one in members]
    errors = 100 * metrics.calibration_error(logits, labels)
    return PredictionStatistics(
        classes=classes,
        class_accuracies=of_class[:, classes],
        class_sds=[unbiased_sd(of_class[:, one]) for one in classes],
        class_churn=[pair_mean(matrix, low=0, high=100) for matrix in churn],
        example_churn=100 * metrics.example_churn(logits),
        churn=pair_mean(100 * metrics.disagreement_matrix(logits), low=0, high=100),
        confidences=100 * metrics.confidence(logits).mean(axis=1),
        accuracies=100 * metrics.accuracy(logits, labels),
        calibration_errors=errors,
        calibration_sd=unbiased_sd(errors),
    )
