"""Losses along the straight line between two trainings' weights: linear mode connectivity (Frankle,
Dziugaite, Roy and Carbin 2020, "Linear Mode Connectivity and the Lottery Ticket Hypothesis",
Sec. 2: the error barrier is the height of this path over the mean of its ends).
"""

import copy

import numpy as np
import torch
from torch import nn
from torch.nn.utils import parameters_to_vector

from nondet import metrics
from nondet.training.averaging import recompute_statistics
from nondet.training.evaluation import predict
from nondet.training.training import Training

ALPHAS = np.arange(11) / 10
"""Where the path is evaluated: 0 is one end, 1 the other."""


def flat_parameters(model: nn.Module) -> torch.Tensor:
    """All parameters of a model, one after the other, as (parameters,) float64."""
    return parameters_to_vector([x.detach() for x in model.parameters()]).double()


def loss_path(one: Training, other: Training) -> dict[str, np.ndarray]:
    """Cross-entropy (nats) and error (a fraction) on the training and the test images along the
    path from the weights of `one` to those of `other`, the averaged weights where there are any.

    Weights are interpolated in float64 and rounded once; batch-norm statistics are recomputed over
    the training images, without augmentation, at every point, the ends included. Returns "alpha"
    and "path_<train|test>_<cross_entropy|error>", each (11,) float64; a point whose predictions are
    not finite has NaN. Both trainings are left as they were.
    """
    ends = []
    for training in (one, other):
        with training.evaluated() as model:
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
        recompute_statistics(between, one.plain_batches())
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
    if not np.isfinite(logits).all():
        return np.nan, np.nan
    entropy = float(metrics.cross_entropy(logits, labels)[0])
    return entropy, 1 - float(metrics.accuracy(logits, labels)[0])
