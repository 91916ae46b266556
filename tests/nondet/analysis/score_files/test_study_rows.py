"""Scores of the rows of a study."""

from dataclasses import replace

import numpy as np
import pytest

import nondet
from factories.results import ENVIRONMENT, LABELS, made_result
from nondet import metrics
from nondet.analysis.score_files.options import ReadOptions
from nondet.analysis.score_files.pilots import read_pilot
from nondet.analysis.score_files.reading import read_both, read_scores
from nondet.store import Failure, Store, StoreError
from nondet.studies.catalog import find_study
from nondet.studies.row import Row

FAILED, MISSING, DAMAGED = 1, 2, 3
SNAPSHOTS = {"schedule": "snapshots", "cycles": 2, "warmup_epochs": 1}


@pytest.fixture(scope="module")
def plan():
    plan = find_study("quick").plan(models=("linear", "hidden"), runs=5, epochs=4)
    rows = (
        Row("control"),
        Row("all", ("init", "shuffle")),
        Row("fast: 0.8/0.2", ("init", "shuffle"), {"lr": 0.8}),
        Row("snapshots", ("init", "shuffle"), SNAPSHOTS, output="snapshots"),
    )
    return replace(plan, rows=rows)


def write(folder, plan, environment=lambda number: ENVIRONMENT, labels=True):
    """Write a study; the row `all` of `linear` has a failed, a missing and a damaged run."""
    store = Store(folder)
    with store.opened_for(plan):
        if labels:
            store.save_labels("digits", LABELS)
        number = 0
        for config in plan.configs:
            for row in plan.rows_of(config):
                for run, job in enumerate(plan.jobs(config, row)):
                    number += 1
                    place = (config.model, row.name, run)
                    if place == ("linear", "all", MISSING):
                        continue
                    if place == ("linear", "all", FAILED):
                        failure = Failure("the training loss is nan", 2, 40)
                        history = made_result(number).history[:1]
                        store.save_failure(job, failure, history, environment(number), seconds=1.0)
                        continue
                    cycles = 2 if row.output == "snapshots" else 0
                    result = made_result(number, cycles=cycles)
                    store.save(job, result, environment(number), seconds=1.0)
                    if place == ("linear", "all", DAMAGED):
                        path = store.runs / job.address / "history.csv"
                        path.write_text(path.read_text() + " ")
    return store


@pytest.fixture(scope="module")
def study(tmp_path_factory, plan):
    return write(tmp_path_factory.mktemp("scores") / "study: digits", plan)


def test_a_row_has_the_scores_of_its_runs(study, plan):
    scores = read_scores(f"{study.root}:hidden/all")
    logits = nondet.load(study.root).logits("hidden", "all")
    assert (scores.name, scores.score, scores.percent) == ("hidden/all", "accuracy", True)
    values = [run.values[""] for run in scores.runs]
    assert values == pytest.approx(metrics.accuracy(logits, LABELS), rel=1e-12)
    right = (logits.argmax(2) == LABELS).astype(float)
    for run, expected in zip(scores.runs, right, strict=True):
        assert np.array_equal(run.examples[""].scores, expected)
        assert run.examples[""].labels.tolist() == LABELS.astype(str).tolist()
    assert [run.keys for run in scores.runs] == [
        {"seed": str(n), "init": str(n), "shuffle": str(n)} for n in range(2, 7)
    ]
    assert scores.notes == ()


def test_cross_entropy(study):
    scores = read_scores(f"{study.root}:hidden/all", ReadOptions(score="cross_entropy"))
    logits = nondet.load(study.root).logits("hidden", "all")
    assert not scores.higher_is_better
    values = [run.values[""] for run in scores.runs]
    assert values == pytest.approx(metrics.cross_entropy(logits, LABELS), rel=1e-12)
    with pytest.raises(ValueError, match="has no score 'f1'; known: 'accuracy', 'cross_entropy'"):
        read_scores(f"{study.root}:hidden/all", ReadOptions(score="f1"))


def test_failed_damaged_and_missing_runs(study):
    scores = read_scores(f"{study.root}:linear/all")
    assert len(scores.complete) == 2
    assert [run.failure for run in scores.failed] == ["the training loss is nan"]
    assert scores.failed[0].keys["seed"] == "3"
    damaged, missing = scores.notes
    assert damaged.startswith("Left out: run ")
    assert missing == "all: 1 of 5 planned runs are missing."


def test_a_row_scores_what_it_compares(study):
    scores = read_scores(f"{study.root}:linear/snapshots")
    logits = nondet.load(study.root).logits("linear", "snapshots")
    values = [run.values[""] for run in scores.runs]
    assert values == pytest.approx(metrics.accuracy(logits, LABELS), rel=1e-12)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("", "has several rows; name one of 'linear/control', 'linear/all'"),
        (":all", "has a row 'all' of 2 models; name one of"),
        (":none", "has no row 'none'"),
        (":linear/none", "has no row 'linear/none'"),
    ],
)
def test_rows_are_named(study, row, message):
    with pytest.raises(ValueError, match=message):
        read_scores(f"{study.root}{row}")


def test_rows_with_colons_and_slashes(study):
    assert read_scores(f"{study.root}:linear/fast: 0.8/0.2").name == "linear/fast: 0.8/0.2"


def test_both_rows_of_a_study(study):
    a, b = read_both("linear/all", "linear/fast: 0.8/0.2", within=str(study.root))
    assert [run.keys["seed"] for run in b.complete] == ["2", "3", "4", "5", "6"]
    assert b.notes == ()
    with pytest.raises(ValueError, match="is a study, whose rows are told apart by name"):
        read_both("linear/all", "linear/control", within=str(study.root), by="row")
    assert not any(run.keys for run in read_scores(f"{study.root}:linear/control").runs)
    assert a.name == "linear/all"


def mixed(number):
    return {**ENVIRONMENT, "torch_threads": 1 + number % 2, "packages": {"torch": f"{number % 2}"}}


def test_mixed_environments_are_noted(tmp_path, plan):
    store = write(tmp_path / "mixed", plan, mixed)
    notes = read_scores(f"{store.root}:hidden/all").notes
    assert notes[-1].startswith("MIXED: these runs must not be compared with one another.")
    assert "packages.torch: 0 (" in notes[-1]


def test_environments_of_both_sides_are_compared(tmp_path, study, plan):
    other = write(tmp_path / "other", plan, lambda number: {**ENVIRONMENT, "packages": {}})
    _, b = read_both(f"{study.root}:hidden/all", f"{other.root}:hidden/all")
    assert "MIXED" in b.notes[-1]


def test_missing_labels(tmp_path, plan):
    store = write(tmp_path / "study", plan, labels=False)
    with pytest.raises(StoreError, match="holds no test labels of 'digits'"):
        read_scores(f"{store.root}:hidden/all")


def test_a_pilot_has_the_rows_that_average(study):
    pilot = read_pilot(str(study.root), ReadOptions(), row="hidden/all")
    assert pilot.other is None
    assert list(pilot.averaging) == ["snapshots"]
    assert pilot.averaging["snapshots"].runs[0].values != pilot.scores.runs[0].values
    pilot = read_pilot(f"{study.root}:hidden/snapshots", ReadOptions())
    assert pilot.averaging == {}
    pilot = read_pilot(
        str(study.root), ReadOptions(), row="hidden/all", against="hidden/fast: 0.8/0.2"
    )
    assert pilot.other is not None
    with pytest.raises(ValueError, match="needs the row of the pilot"):
        read_pilot(str(study.root), ReadOptions(), against="hidden/all")
    with pytest.raises(ValueError, match="which of them is the pilot"):
        read_pilot("a.csv", ReadOptions(), by="method")


def test_results_compare_two_rows(study):
    results = nondet.load(study.root)
    found = results.compare("all", "fast: 0.8/0.2", model="hidden", margin=50, detect=1)
    again = results.compare("hidden/all", "hidden/fast: 0.8/0.2", margin=50, detect=1)
    assert (found.a, found.b, found.percent) == ("all", "fast: 0.8/0.2", True)
    assert found.pairing.key == "seed"
    (task,) = found.tasks
    means = [
        100 * metrics.accuracy(results.logits("hidden", row), LABELS).mean()
        for row in ("all", "fast: 0.8/0.2")
    ]
    assert task.difference.interval.value == pytest.approx(means[1] - means[0])
    assert task.difference == again.tasks[0].difference
    entropy = results.compare("all", "snapshots", model="hidden", score="cross_entropy")
    assert not entropy.higher_is_better
    assert results.compare("all", "snapshots", "hidden", pair_by="init").pairing.key == "init"
    with pytest.raises(ValueError, match="has a row 'all' of 2 models"):
        results.compare("all", "snapshots")
    with pytest.raises(ValueError, match="has no model 'vgg'; known: 'linear', 'hidden'"):
        results.compare("all", "snapshots", "vgg")


def test_results_note_what_must_not_be_compared(tmp_path, plan):
    store = write(tmp_path / "mixed", plan, mixed)
    notes = nondet.load(store.root).compare("all", "snapshots", "linear").notes
    assert any("MIXED" in note for note in notes)
    assert any("planned runs are missing" in note for note in notes)
