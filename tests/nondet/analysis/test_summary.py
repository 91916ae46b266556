"""Test the statistics that a summary computes from stored runs."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from factories.runs import CLEAR, LABELS, made_run, noisy
from nondet import metrics
from nondet.analysis.resampling import bootstrap
from nondet.analysis.summary import (
    compute_statistics,
    output_logits,
    statistics_of_logits,
    summarize,
)
from nondet.store import DamagedRunError, Failure, Labels, StoreError
from nondet.studies.row import Row
from nondet.studies.seeds import Onset, Seeds
from nondet.training.loop import train


class Shelf:
    """A store in memory that counts how often each run is read."""

    root = Path("shelf")

    def __init__(self, labels=LABELS, notes=()):
        self.runs = {}
        self.read = []
        self.damaged = set()
        self.kept = None if labels is None else Labels(labels, notes)

    def load(self, job, keeps=frozenset()):
        self.read.append((job, keeps))
        if job.address in self.damaged:
            raise DamagedRunError(f"run {job.address} is damaged")
        run = self.runs.get(job.address)
        return None if run is None or not keeps <= set(run.records) else run

    def load_labels(self, dataset):
        return self.kept

    def add(self, job, logits, **rest):
        self.runs[job.address] = made_run(job, logits, **rest)


@pytest.fixture
def small(plan):
    """Return a plan of three runs per row of the linear model; some rows share runs or use other
    outputs.
    """
    rows = (
        Row("control"),
        Row("initialization", ("init",)),
        Row("dropout", ("stochastic",)),
        Row("flipped", ("init",), output="final/flip"),
        Row("late race", ("lowlevel",), {"lowlevel": "atomic"}, Onset(lowlevel=1)),
        Row("more", ("init",), runs=5),
        Row("crossed", ("init", "shuffle"), design="crossed", levels=2),
    )
    return replace(plan, rows=rows, configs=plan.configs[:1], runs=3)


def filled(plan):
    shelf = Shelf(notes=("Pixels are repeated",))
    for number, job in enumerate(plan.tasks()):
        flip = noisy(0.5, 100 + number).astype(np.float32)
        shelf.add(job, noisy(2.0, number), records={"tta": {"final/flip": flip}})
    return shelf


def test_statistics_by_hand(config):
    logits = np.array([[[1, 0], [1, 0]], [[1, 0], [0, 1]]], np.float32)
    found = statistics_of_logits(logits, np.array([0, 1]))
    assert found.accuracies.tolist() == [50, 100]
    assert (found.accuracy_mean, found.accuracy.sd) == (75, 25)
    # The losses of the second image are log(1 + e) and log(1 + 1/e), which is smaller by 1; both
    # losses of the first image are log(1 + 1/e).
    less = math.log1p(math.exp(-1))
    assert found.cross_entropies == pytest.approx([less + 0.5, less], rel=1e-14)
    assert found.cross_entropy.sd == pytest.approx(0.25)
    assert found.cross_entropy.error == pytest.approx(0.125, abs=0.001)
    # s with divisor n - 1 is 0.25 * sqrt(2), and c4 of two values sqrt(2 / pi).
    assert found.cross_entropy_unbiased.value == pytest.approx(0.25 * math.sqrt(math.pi))
    assert found.disagreement.value == 50
    assert found.correlation.value == 0
    # The mean of the second image's logits ties, and class 0 wins: accuracies 0.5 and 1, then 0.5.
    assert found.ensemble_accuracy.value == -25
    expected = (math.log(2) - (less + 1) / 2 - less / 2) / 2
    assert found.ensemble_cross_entropy.value == pytest.approx(expected, rel=1e-13)


def test_pairs_are_averages_over_pairs_with_intervals_around_them():
    logits = np.stack([noisy(1.5, run) for run in range(5)]).astype(np.float32)
    found = statistics_of_logits(logits, LABELS)
    classes = logits.argmax(axis=2)
    pairs = [(i, j) for i in range(5) for j in range(i)]
    disagreement = np.mean([100 * (classes[i] != classes[j]).mean() for i, j in pairs])
    rho = np.mean([spearmanr(logits[i].ravel(), logits[j].ravel()).statistic for i, j in pairs])
    wide = logits.astype(np.float64)
    losses = metrics.cross_entropy(logits, LABELS)
    gain = np.mean(
        [
            metrics.cross_entropy((wide[i] + wide[j])[None] / 2, LABELS)[0]
            - (losses[i] + losses[j]) / 2
            for i, j in pairs
        ]
    )
    assert found.disagreement.value == pytest.approx(disagreement)
    assert found.correlation.value == pytest.approx(rho)
    assert found.ensemble_cross_entropy.value == pytest.approx(gain, rel=1e-6)
    for name in ("disagreement", "correlation", "ensemble_accuracy", "ensemble_cross_entropy"):
        value, low, high = getattr(found, name)
        assert low < value < high


def test_every_quantity_draws_from_its_own_generator():
    first = bootstrap("accuracy").integers(0, 2**32, 8)
    assert (first == bootstrap("accuracy").integers(0, 2**32, 8)).all()
    assert (first != bootstrap("cross-entropy").integers(0, 2**32, 8)).all()


def test_logits_without_ranks_have_no_correlation():
    found = statistics_of_logits(np.zeros((3, 40, 4), np.float32), LABELS)
    assert math.isnan(found.correlation.value)
    assert found.accuracy.sd == 0


def test_outputs_of_a_run(config):
    flip = noisy(1.0, 3).astype(np.float32)
    # Adding these in float32 would lose the 1.
    snapshots = np.stack([np.full((40, 4), value, np.float32) for value in (2**24, 1, -(2**24))])
    job = Row("init", ("init",)).job(config, 0)
    run = made_run(job, CLEAR, snapshots=snapshots, records={"tta": {"final/flip": flip}})
    assert (output_logits(run, "final") == CLEAR).all()
    assert (output_logits(run, "final/flip") == flip).all()
    mean = output_logits(run, "snapshots")
    assert mean.dtype == np.float32
    assert (mean == np.float32(1 / 3)).all()
    with pytest.raises(KeyError, match="has no snapshots"):
        output_logits(replace(run, snapshots=None), "snapshots")
    with pytest.raises(ValueError, match="failed and predicts nothing"):
        output_logits(replace(run, failure=Failure("nan", 1, 2), logits=None), "final")


def test_statistics_are_of_the_output(config):
    runs = []
    for number in range(3):
        job = Row("init", ("init",)).job(config, number)
        flip = noisy(0.5, 9 + number).astype(np.float32)
        runs.append(made_run(job, noisy(2.0, number), records={"tta": {"final/flip": flip}}))
    expected = metrics.cross_entropy(
        np.stack([run.records["tta"]["final/flip"] for run in runs]), LABELS
    )
    assert (compute_statistics(runs, LABELS, "final/flip").cross_entropies == expected).all()
    final = [run.cross_entropy for run in runs]
    assert compute_statistics(runs, LABELS).cross_entropies.tolist() == final


def test_summary_reads_every_run_once_with_all_that_rows_ask_of_it(small):
    shelf = filled(small)
    summary = summarize(small, shelf)
    [model] = summary.models
    # The linear model has no dropout.
    names = ["control", "initialization", "flipped", "late race", "more", "crossed"]
    assert [row.row.name for row in model.rows] == names
    assert [row.planned for row in model.rows] == [3, 3, 3, 3, 5, 4]
    assert (summary.found, summary.planned) == (21, 21)
    addresses = [job.address for job, _ in shelf.read]
    assert len(addresses) == len(set(addresses)) == 3 + 5 + 3 + 4
    asked = dict(shelf.read)
    shared = small.jobs(model.config, small.rows[1])
    assert [asked[job] for job in shared] == [{"tta"}] * 3
    assert asked[small.jobs(model.config, small.rows[5])[4]] == frozenset()
    assert model.named("initialization").runs == model.named("flipped").runs
    assert model.named("more").runs[:3] == model.named("flipped").runs
    assert [run.job for run in model.named("crossed").runs] == small.jobs(
        model.config, small.rows[6]
    )
    logits = np.stack([run.records["tta"]["final/flip"] for run in model.named("flipped").runs])
    assert (model.named("flipped").logits == logits).all()
    losses = metrics.cross_entropy(logits, LABELS)
    assert (model.named("flipped").statistics.cross_entropies == losses).all()
    assert summary.remarks == ("Pixels are repeated",)
    assert (summary.labels["digits"] == LABELS).all()


def test_failed_missing_and_damaged_runs_are_in_no_statistic(small):
    shelf = filled(small)
    [config] = small.configs
    first, second, third = small.jobs(config, small.rows[1])
    race = small.jobs(config, small.rows[4])
    shelf.runs[second.address] = replace(
        shelf.runs[second.address], logits=None, failure=Failure("no reason", 1, 3)
    )
    shelf.damaged.add(race[0].address)
    del shelf.runs[race[1].address]
    # A run without a record that one of its rows needs counts as missing.
    shelf.runs[third.address] = replace(shelf.runs[third.address], records={})
    summary = summarize(small, shelf)
    [model] = summary.models
    init, late = model.named("initialization"), model.named("late race")
    assert [run.job for run in init.runs] == [first]
    assert [run.failure.reason for run in init.failed] == ["no reason"]
    assert init.statistics is None
    assert init.logits is None
    assert [run.job for run in late.runs] == [race[2]]
    assert late.statistics is None
    assert summary.damaged == [f"run {race[0].address} is damaged"]
    more = model.named("more")
    assert (len(more.runs), len(more.failed), more.planned) == (3, 1, 5)
    finals = np.stack([run.logits for run in more.runs])
    assert (more.statistics.accuracies == 100 * metrics.accuracy(finals, LABELS)).all()


def test_report_without_labels_says_what_to_do(small):
    shelf = filled(small)
    shelf.kept = None
    with pytest.raises(StoreError, match=r"holds no test labels of 'digits'. The command that"):
        summarize(small, shelf)
    shelf.runs.clear()
    assert summarize(small, shelf).labels == {}


def test_plain_row_of_a_model(small):
    rows = (
        Row("late", ("lowlevel",), onset=Onset(lowlevel=1)),
        Row("race", ("lowlevel",), {"lowlevel": "atomic"}),
        Row("order", ("lowlevel",)),
        Row("both", ("shuffle", "init")),
        Row("crossed", ("init",), design="crossed", levels=3),
    )
    [model] = summarize(replace(small, rows=rows), Shelf()).models
    assert model.row("lowlevel").row.name == "order"
    assert model.row("init", "shuffle").row.name == "both"
    assert model.row("init") is None
    assert model.row() is None
    assert model.named("race").row == rows[1]


def test_history_holds_the_metrics_of_the_stored_logits(digits, config):
    result = train(config, Seeds(), digits)
    labels = digits.test_labels.numpy()
    last = result.history[-1]
    assert last.test_accuracy == metrics.accuracy(result.logits[None], labels)[0]
    assert last.test_cross_entropy == metrics.cross_entropy(result.logits[None], labels)[0]
