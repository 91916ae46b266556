"""Tests of metrics against values by hand, loops and SciPy."""

import math

import numpy as np
import pytest
import scipy.stats

from nondet import metrics

# Two runs, three examples, two classes.
LOGITS = np.array(
    [[[0.0, 0.0], [math.log(3), 0.0], [1.0, 2.0]], [[0.0, 1.0], [math.log(3), 0.0], [2.0, 1.0]]]
)
LABELS = np.array([0, 0, 1])


def test_values_by_hand():
    assert metrics.predictions(LOGITS).tolist() == [[0, 0, 1], [1, 0, 0]]
    assert metrics.accuracy(LOGITS, LABELS).tolist() == [1.0, 1 / 3]
    # -log softmax: log 2, log(4/3), log(1 + 1/e) in the first run.
    first = (math.log(2) + math.log(4 / 3) + math.log1p(math.exp(-1))) / 3
    second = (math.log(1 + math.e) + math.log(4 / 3) + math.log(1 + math.e)) / 3
    np.testing.assert_allclose(metrics.cross_entropy(LOGITS, LABELS), [first, second], rtol=1e-14)
    np.testing.assert_array_equal(metrics.disagreement_matrix(LOGITS), [[0, 2 / 3], [2 / 3, 0]])
    errors = metrics.example_losses(LOGITS, LABELS, "accuracy")
    assert errors.dtype == np.float64
    assert errors.tolist() == [[0, 0, 0], [1, 0, 1]]
    log_likelihoods = [
        [math.log(2), math.log(4 / 3), math.log1p(math.exp(-1))],
        [math.log(1 + math.e), math.log(4 / 3), math.log(1 + math.e)],
    ]
    losses = metrics.example_losses(LOGITS, LABELS, "cross_entropy")
    np.testing.assert_allclose(losses, log_likelihoods, rtol=1e-14)


def test_metrics_equal_loops():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(7, 23, 5)).astype(np.float32)
    labels = rng.integers(0, 5, 23)
    predicted = [
        [max(range(5), key=lambda c: logits[r, e, c]) for e in range(23)] for r in range(7)
    ]
    accuracy = [sum(predicted[r][e] == labels[e] for e in range(23)) / 23 for r in range(7)]
    np.testing.assert_allclose(metrics.accuracy(logits, labels), accuracy, rtol=1e-15)

    for r in range(7):
        losses = []
        for e in range(23):
            total = math.fsum(math.exp(float(value)) for value in logits[r, e])
            losses.append(-math.log(math.exp(float(logits[r, e, labels[e]])) / total))
        expected = math.fsum(losses) / 23
        assert metrics.cross_entropy(logits, labels)[r] == pytest.approx(expected, rel=1e-13)

    for name, metric in (("accuracy", metrics.accuracy), ("cross_entropy", metrics.cross_entropy)):
        mean = metrics.example_losses(logits, labels, name).mean(axis=1)
        expected = 1 - metric(logits, labels) if name == "accuracy" else metric(logits, labels)
        np.testing.assert_allclose(mean, expected, rtol=1e-14)


def test_pairwise_metrics_equal_loops_and_scipy():
    rng = np.random.default_rng(1)
    logits = np.round(rng.normal(size=(6, 31, 4)), 1).astype(np.float32)
    labels = rng.integers(0, 4, 31)
    disagreement = metrics.disagreement_matrix(logits)
    correlation = metrics.correlation_matrix(logits)
    deltas = {
        metric: metrics.ensemble_delta_matrix(logits, labels, metric.__name__)
        for metric in (metrics.accuracy, metrics.cross_entropy)
    }
    predicted = logits.argmax(axis=2)
    for a in range(6):
        for b in range(6):
            assert disagreement[a, b] == (predicted[a] != predicted[b]).sum() / 31
            rho = scipy.stats.spearmanr(logits[a].ravel(), logits[b].ravel())[0]
            assert correlation[a, b] == pytest.approx(rho, rel=1e-13)
            together = (logits[a].astype(np.float64) + logits[b]) / 2
            for metric, matrix in deltas.items():
                change = metric(together[None], labels)[0] - metric(logits[[a, b]], labels).mean()
                assert matrix[a, b] == pytest.approx(change, rel=1e-12, abs=1e-15)


def test_equal_runs_agree_exactly():
    equal = np.repeat(LOGITS[:1], 5, axis=0)
    assert (metrics.disagreement_matrix(equal) == 0).all()
    assert (metrics.correlation_matrix(equal) == 1).all()
    assert (metrics.ensemble_delta_matrix(equal, LABELS, "accuracy") == 0).all()
    assert (metrics.ensemble_delta_matrix(equal, LABELS, "cross_entropy") == 0).all()


def test_huge_logits_do_not_overflow():
    logits = np.array([[[1e30, 0.0], [0.0, 1e4]]], np.float32)
    labels = np.array([0, 0])
    assert metrics.cross_entropy(logits, labels)[0] == 5e3


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (np.zeros((2, 3)), LABELS, "logits must be"),
        (np.zeros((0, 3, 2)), LABELS, "logits must be"),
        (np.full((1, 3, 2), np.nan), LABELS, "logits hold NaN"),
        (LOGITS, LABELS[:2], r"labels must have shape \(3,\), got \(2,\)"),
        (LOGITS, np.array([0, 2, 1]), r"labels must lie in \[0, 2\), got 0..2"),
    ],
)
def test_bad_input_is_refused(logits, labels, message):
    for metric in (metrics.accuracy, metrics.cross_entropy):
        with pytest.raises(ValueError, match=message):
            metric(logits, labels)


def test_unknown_metric_is_refused():
    with pytest.raises(ValueError, match="metric is 'error'"):
        metrics.example_losses(LOGITS, LABELS, "error")
