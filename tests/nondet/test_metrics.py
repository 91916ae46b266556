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


def softmax(row):
    powers = [math.exp(float(value)) for value in row]
    return [power / math.fsum(powers) for power in powers]


def test_accuracy_of_each_class_by_hand():
    with np.errstate(all="raise"):
        found = metrics.class_accuracy(
            np.pad(LOGITS, ((0, 0), (0, 0), (0, 1)), constant_values=-9), LABELS
        )
    np.testing.assert_array_equal(found, [[1, 1, np.nan], [0.5, 0, np.nan]])


@pytest.mark.parametrize("runs", [2, 3, 8])
def test_churn_of_each_example_is_that_of_all_pairs(runs):
    logits = np.random.default_rng(runs).normal(size=(runs, 31, 4))
    predicted = metrics.predictions(logits)
    pairs = [(i, j) for i in range(runs) for j in range(i)]
    expected = [sum(predicted[i, e] != predicted[j, e] for i, j in pairs) for e in range(31)]
    found = metrics.example_churn(logits)
    np.testing.assert_allclose(found, np.array(expected) / len(pairs), rtol=1e-14)
    matrix = metrics.disagreement_matrix(logits)
    assert found.mean() == pytest.approx(matrix.sum() / (runs * (runs - 1)))
    with pytest.raises(ValueError, match="a single run"):
        metrics.example_churn(logits[:1])


@pytest.mark.parametrize("bins", [1, 2, 15])
@pytest.mark.parametrize("scale", [0.01, 1, 50])
def test_calibration_error_equals_loops(bins, scale):
    rng = np.random.default_rng(bins)
    logits = scale * rng.normal(size=(3, 60, 4))
    labels = rng.integers(0, 4, 60)
    for run, error in enumerate(metrics.calibration_error(logits, labels, bins)):
        members = [[] for _ in range(bins)]
        for e in range(60):
            sure = max(softmax(logits[run, e]))
            assert metrics.confidence(logits)[run, e] == pytest.approx(sure, rel=1e-12)
            place = next(b for b in range(bins) if sure <= (b + 1) / bins or b == bins - 1)
            right = logits[run, e].argmax() == labels[e]
            members[place].append((sure, right))
        gaps = [
            len(one) * abs(np.mean([p for p, _ in one]) - np.mean([hit for _, hit in one]))
            for one in members
            if one
        ]
        assert error == pytest.approx(sum(gaps) / 60, rel=1e-12)


def test_calibration_error_at_its_limits():
    sure = np.array([[[50.0, 0], [0, 50.0]]])
    assert metrics.calibration_error(sure, np.array([0, 1]))[0] == pytest.approx(0, abs=1e-15)
    assert metrics.calibration_error(sure, np.array([1, 0]))[0] == pytest.approx(1)
    # Half of the certain predictions are right: the bin's accuracy is 1/2.
    assert metrics.calibration_error(sure, np.array([0, 0]))[0] == pytest.approx(0.5)
    with pytest.raises(ValueError, match="bins is 0"):
        metrics.calibration_error(sure, np.array([0, 0]), bins=0)


def test_a_confidence_on_an_edge_is_in_the_bin_below():
    # Confidences 1/2, right, and 0.9, wrong: in one bin they would balance.
    logits = np.array([[[0.0, 0.0], [math.log(9), 0.0]]])
    error = metrics.calibration_error(logits, np.array([0, 1]), bins=2)
    assert error[0] == pytest.approx((0.5 + 0.9) / 2)
