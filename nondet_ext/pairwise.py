"""Comparisons of all pairs of models: disagreement, shared errors, the gain of averaging two."""

from collections.abc import Callable
from typing import Literal

import torch

from nondet_ext import _check
from nondet_ext import _pairwise_ops as ops
from nondet_ext._float_mode import in_default_mode
from nondet_ext.ensembles import EnsembleSums

Metric = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

_METRICS = ("accuracy", "cross_entropy")
_SPACES = ("logits", "probabilities")
_BLOCK_BYTES = 256 << 20  # the mean outputs passed to a callable metric at once


@in_default_mode
def disagreement(predictions: torch.Tensor) -> torch.Tensor:
    """Compute the fraction of examples that two models classify differently, for all pairs.

    Args:
        predictions: (R, N) integers, the class that model r assigns to example n.

    Returns:
        (R, R) float64 on the device of `predictions`: counts, divided once. Equivalent to
        ``(predictions[:, None] != predictions[None]).double().mean(-1)``, without its memory.

    Raises:
        TypeError: `predictions` is not an integer tensor.
        ValueError: its shape is not (R, N) with R, N >= 1.

    Source: "On Nondeterminism and Instability in Neural Network Optimization", Sec. 3.1.
    """
    classes = _predictions(predictions)
    examples = classes.shape[1]
    offsets = torch.tensor([0, examples], device=classes.device)
    return (examples - ops.pair_agreements(classes, offsets)[0]).to(torch.float64) / examples


def churn(
    predictions: torch.Tensor, labels: torch.Tensor, num_classes: int | None = None
) -> torch.Tensor:
    """Compute :func:`disagreement` among the examples of each true class.

    Args:
        predictions: (R, N) integers.
        labels: (N,) integers, the true classes, on the same device.
        num_classes: C; by default one more than the largest label.

    Returns:
        (C, R, R) float64; NaN for a class without examples.

    Warns:
        DegenerateInputWarning: classes have no examples; it names them.

    Raises:
        TypeError: an argument is not an integer tensor.
        ValueError: shapes do not fit, or a label is not in [0, num_classes).
    """
    classes = _predictions(predictions)
    truth = _labels(labels, classes.shape[1], classes.device)
    if num_classes is None:
        count = ops.class_count(truth)
    else:
        count = _check.integer("num_classes", num_classes, 1, ops.MOST_CLASSES)
    return ops.churn(classes, truth, count)


def error_overlap(predictions: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Compute the Jaccard index of the errors of two models, for all pairs: of the examples that at
    least one gets wrong, the fraction that both get wrong.

    Args:
        predictions: (R, N) integers.
        labels: (N,) integers, the true classes, on the same device.

    Returns:
        (R, R) float64: counts, divided once; NaN where neither model errs.

    Warns:
        DegenerateInputWarning: models make no error; it names them.

    Raises:
        TypeError: an argument is not an integer tensor.
        ValueError: shapes do not fit.
    """
    classes = _predictions(predictions)
    return ops.error_overlap(classes, _labels(labels, classes.shape[1], classes.device))


@in_default_mode
def ensemble_delta(
    logits: torch.Tensor,
    labels: torch.Tensor,
    metric: Literal["accuracy", "cross_entropy"] | Metric = "accuracy",
    space: Literal["logits", "probabilities"] = "logits",
) -> torch.Tensor:
    """Compute the metric of the mean output of two models minus the mean of their metrics, for all
    pairs of models.

    The bits for named metrics do not depend on threads, device or strides: outputs are float64;
    accuracy is a count over N, and the lowest class among equal outputs is the prediction;
    cross-entropy (in nats) comes from products over tiles of 1,024 examples, whose logarithms are
    added in order.

    Args:
        logits: (R, N, C) float64, float32, float16 or bfloat16, of any strides; finite and below
            2^1022 in size.
        labels: (N,) integers in [0, C), the true classes, on the same device.
        metric: "accuracy", "cross_entropy" or a function. The function gets the mean outputs of
            several pairs, (pairs, N, C) float64, and `labels`, and returns (pairs,) values. It is
            called on blocks of at most 256 MB, or of one pair if that is larger.
        space: "logits" averages logits; "probabilities" averages their softmax.

    Returns:
        (R, R) float64 on the device of `logits`, symmetric; its diagonal is 0. Carries no gradient.

    Raises:
        TypeError: `logits` or `labels` have another dtype, or the function returns no tensor.
        ValueError: shapes do not fit or are empty, a label is out of range, a logit is not finite,
            `metric` or `space` is unknown, or the function returns another shape.

    Source: "On Nondeterminism and Instability in Neural Network Optimization", Sec. 3.1.
    """
    outputs = _check.with_values("logits", _check.float_tensor("logits", logits))
    _check.no_tangent(logits=outputs)
    outputs = outputs.detach()
    if outputs.dim() != 3 or 0 in outputs.shape:
        raise ValueError(
            "logits must have shape (models, examples, classes), none of them 0, "
            f"got {tuple(outputs.shape)}"
        )
    truth = _labels(labels, outputs.shape[1], outputs.device)
    if space not in _SPACES:
        raise _check.unknown_choice("space", space, _SPACES)
    if callable(metric):
        return _delta_of(metric, outputs, truth, space == "probabilities")
    if metric not in _METRICS:
        raise _check.unknown_choice("metric", metric, _METRICS, "a function")
    sums = EnsembleSums(outputs.shape[0], metric, space, outputs.device)
    sums.update(outputs, truth)
    return sums.delta()


def _delta_of(
    metric: Metric, logits: torch.Tensor, labels: torch.Tensor, probabilities: bool
) -> torch.Tensor:
    models, examples, classes = logits.shape
    first, second = torch.triu_indices(models, models, device=logits.device)
    at_once = max(1, _BLOCK_BYTES // (8 * examples * classes))

    def outputs(chosen: torch.Tensor) -> torch.Tensor:
        values = logits[chosen].to(torch.float64)
        return values.softmax(-1) if probabilities else values

    upper = torch.zeros((models, models), dtype=torch.float64, device=logits.device)
    ops.refuse_bad_examples(upper, logits, labels)
    for begin in range(0, first.numel(), at_once):
        i, j = first[begin : begin + at_once], second[begin : begin + at_once]
        values = metric(outputs(i).add_(outputs(j)).div_(2), labels)
        if not isinstance(values, torch.Tensor):
            raise TypeError(f"metric must return a torch.Tensor, got {type(values).__name__}")
        if values.shape != i.shape:
            raise ValueError(
                f"metric must return one value a pair, shape ({i.numel()},), "
                f"got {tuple(values.shape)}"
            )
        upper[i, j] = values.detach().to(upper)
    of_pairs = ops.symmetric(upper)
    own = of_pairs.diagonal()
    return of_pairs - (own[:, None] + own[None, :]) / 2


def _predictions(value: object) -> torch.Tensor:
    predictions = _integers("predictions", value)
    if predictions.dim() != 2 or 0 in predictions.shape:
        raise ValueError(
            "predictions must have shape (models, examples), neither of them 0, "
            f"got {tuple(predictions.shape)}"
        )
    return _check.with_values("predictions", predictions)


def _labels(value: object, examples: int, device: torch.device) -> torch.Tensor:
    labels = _integers("labels", value)
    if labels.shape != (examples,):
        raise ValueError(
            f"labels must have shape ({examples},), one label an example, got {tuple(labels.shape)}"
        )
    if labels.device != device:
        raise ValueError(f"labels must be on {device}, as the outputs are, got {labels.device}")
    return _check.with_values("labels", labels).to(torch.int64)


def _integers(name: str, value: object) -> torch.Tensor:
    return _check.integers(name, value)
