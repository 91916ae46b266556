"""Losses on the straight line between the weights of two trainings: linear mode connectivity
(Frankle, Dziugaite, Roy and Carbin 2020, "Linear Mode Connectivity and the Lottery Ticket
Hypothesis", Sec. 2: the error barrier is the maximum on this path minus the mean of its ends).
"""

import copy

import numpy as np
import torch
from torch import nn
from torch.nn.utils import parameters_to_vector

from nondet import metrics
from nondet.training.averaging import recompute_statistics
from nondet.training.evaluation import predict
from nondet.training.record_sizes import PATH_POINTS
from nondet.training.training import Training

ALPHAS = np.arange(PATH_POINTS) / (PATH_POINTS - 1)
"""Positions on the path: 0 is one end, 1 the other."""


def flat_parameters(model: nn.Module) -> torch.Tensor:
    """Return all parameters of a model as one vector, (parameters,) float64."""
    return parameters_to_vector([x.detach() for x in model.parameters()]).double()


def loss_path(one: Training, other: Training) -> dict[str, np.ndarray]:
    """Compute cross-entropy (nats) and error (a fraction) on the training and the test images along
    the path from the weights of `one` to those of `other`, or their averaged weights, if any.

    Weights are interpolated in float64 and rounded once; batch-norm statistics are recomputed over
    the training images, without augmentation, at every point, the ends included. Returns "alpha"
    and "path_<train|test>_<cross_entropy|error>", each (PATH_POINTS,) float64, NaN for points whose
    predictions are not finite. Both trainings are left unchanged.
    """
    ends = []
    for training in (one, other):
        with training.evaluation_model() as model:
            ends.append(flat_parameters(model))
    between = copy.deepcopy(one.model)
    dataset = one.dataset
    parts = {
        "train": (dataset.train_images, dataset.train_labels.cpu().numpy()),
        "test": (dataset.test_images, dataset.test_labels.cpu().numpy()),
    }
    columns: dict[str, list[float]] = {
        f"path_{part}_{what}": [] for part in parts for what in ("cross_entropy", "error")
    }
    for alpha in ALPHAS.tolist():
        _set_parameters(between, (1 - alpha) * ends[0] + alpha * ends[1])
        recompute_statistics(between, one.statistics_batches())
        for part, (images, labels) in parts.items():
            entropy, error = _losses(predict(between, dataset, images)[None], labels)
            columns[f"path_{part}_cross_entropy"].append(entropy)
            columns[f"path_{part}_error"].append(error)
    return {"alpha": ALPHAS.copy()} | {name: np.array(x) for name, x in columns.items()}


@torch.no_grad()
def _set_parameters(model: nn.Module, flat: torch.Tensor) -> None:
    parameters = list(model.parameters())
    pieces = flat.split([x.numel() for x in parameters])
    for parameter, piece in zip(parameters, pieces, strict=True):
        parameter.copy_(piece.view_as(parameter))


def _losses(logits: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Return cross-entropy and error, NaN if the logits are not finite."""
    if not np.isfinite(logits).all():
        return np.nan, np.nan
    entropy = float(metrics.cross_entropy(logits, labels)[0])
    return entropy, 1 - float(metrics.accuracy(logits, labels)[0])
