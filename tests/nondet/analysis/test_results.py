"""Test `nondet.load`: data frames and arrays of a hand-made study."""

import subprocess
import sys
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest

import nondet
from factories.results import ENVIRONMENT, LABELS, fill, made_result
from nondet.analysis import summary
from nondet.store import Failure, Store, StoreError
from nondet.studies.catalog import find_study
from nondet.studies.row import Row
from nondet.studies.seeds import Onset

TAPS = {"taps": {"00.fc": np.ones((2, 6), np.float32), "01.out": np.zeros((2, 2), np.float32)}}


@pytest.fixture(scope="module")
def plan():
    plan = find_study("quick").plan(
        models=("linear", "hidden"), runs=3, epochs=2, settings={"warmup_epochs": 0}
    )
    rows = (
        Row("control"),
        Row("one bit", ("bit",)),
        Row("late bit", ("bit",), onset=Onset(bit=1), keep=("taps",)),
    )
    return replace(plan, rows=rows)


@pytest.fixture(scope="module")
def study(tmp_path_factory, plan):
    """Return a study that lacks one run of hidden/late bit and has a failed run of linear/one
    bit.
    """
    store = Store(tmp_path_factory.mktemp("loaded") / "study")
    linear, hidden = plan.configs
    control, bit, late = plan.rows
    with store.opened_for(plan):
        store.save_labels("digits", LABELS)
        number = 0
        for config, row in ((linear, control), (linear, late), (hidden, control), (hidden, bit)):
            for job in plan.jobs(config, row):
                records = TAPS if row is late else {}
                cycles = 2 if row is bit else 0
                result = made_result(number, records, cycles)
                store.save(job, result, ENVIRONMENT, seconds=float(number))
                number += 1
        first, second, third = plan.jobs(linear, bit)
        store.save(first, made_result(20), ENVIRONMENT, seconds=20.0)
        failure = Failure("the training loss is nan", 2, 40)
        history = made_result(21).history[:1]
        store.save_failure(second, failure, history, ENVIRONMENT, seconds=21.0)
        store.save(third, made_result(22), ENVIRONMENT, seconds=22.0)
    return store


@pytest.fixture(scope="module")
def results(study):
    return nondet.load(study.root)


def test_runs_are_a_line_each(results, plan):
    runs = results.runs
    assert len(runs) == 15
    assert results.plan == plan
    line = runs[(runs.model == "linear") & (runs.row == "late bit")].iloc[1]
    made = made_result(4).history[-1]
    assert line.run == 1
    assert (line.bit_seed, line.init_seed, line.bit_onset, line.shuffle_onset) == (3, 1, 1, 0)
    assert (line.accuracy, line.cross_entropy) == (made.test_accuracy, made.test_cross_entropy)
    assert line.seconds == 4.0
    assert pd.isna(line.failure)
    assert line.address == plan.jobs(plan.configs[0], plan.rows[2])[1].address
    assert runs[runs.row == "control"].repeat.tolist() == [0, 1, 2] * 2
    failed = runs[runs.failure.notna()]
    assert failed.failure.tolist() == ["the training loss is nan"]
    assert failed[["accuracy", "cross_entropy"]].isna().all(axis=None)
    integers = runs.filter(regex="_seed|_onset|repeat|run").drop(columns="row", errors="ignore")
    assert {str(kind) for kind in integers.dtypes} == {"int64"}


def test_history_has_every_epoch(results):
    history = results.history
    assert len(history) == 14 * 2 + 1
    lines = history[(history.model == "hidden") & (history.row == "one bit") & (history.run == 0)]
    made = made_result(9).history
    assert lines.epoch.tolist() == [1, 2]
    assert lines.train_loss.tolist() == [2.5, 0.1 + 0.2]
    assert np.isnan(lines.test_accuracy.iloc[0])
    assert lines.test_accuracy.iloc[1] == made[1].test_accuracy
    assert lines.weights_sha256.tolist() == [epoch.weights_sha256 for epoch in made]


def test_table_has_the_numbers_of_the_report(results, study, plan, monkeypatch):
    compute = partial(summary.compute_statistics, resamples=200)
    monkeypatch.setattr(summary, "compute_statistics", compute)
    table = results.table
    assert table[["model", "row", "varies"]].values.tolist() == [
        [model, row, varies]
        for model in ("linear", "hidden")
        for row, varies in (("control", ""), ("one bit", "bit"), ("late bit", "bit"))
    ]
    assert table.runs.tolist() == [3, 2, 3, 3, 3, 0]
    assert table.failed.tolist() == [0, 1, 0, 0, 0, 0]
    runs = [study.load(job) for job in plan.jobs(plan.configs[0], plan.rows[2])]
    found = compute(runs, LABELS)
    line = table.iloc[2]
    assert line.accuracy_sd == found.accuracy.sd > 0
    assert line.accuracy_error == found.accuracy.error
    assert line.cross_entropy_mean == found.cross_entropy_mean
    assert line.disagreement == found.disagreement.value
    assert line.disagreement_low == found.disagreement.low < line.disagreement
    assert line.correlation_high == found.correlation.high
    assert np.isnan(table.iloc[5].accuracy_sd)


def test_arrays_are_stacked_in_the_order_of_the_runs(results):
    logits = results.logits("linear", "one bit")
    assert logits.dtype == np.float32
    assert np.array_equal(logits, [made_result(number).logits for number in (20, 22)])
    assert results.labels("hidden").tolist() == LABELS.tolist()
    assert results.labels("hidden").dtype == np.int64
    taps = results.records("taps", "00.fc", "linear", "late bit")
    assert (taps.shape, taps.dtype) == ((3, 2, 6), np.float32)
    assert results.record_keys("taps", "linear", "late bit") == ["00.fc", "01.out"]
    snapshots = results.snapshots("hidden", "one bit")
    assert np.array_equal(snapshots, [made_result(9 + i, cycles=2).snapshots for i in range(3)])


def test_logits_are_those_of_the_rows_output(tmp_path, plan):
    config = replace(plan.configs[0], schedule="snapshots", cycles=2, warmup_epochs=0)
    rows = (
        Row("last", ("init",)),
        Row("mean", ("init",), output="snapshots"),
        Row("mirrored", ("init",), output="final/flip"),
    )
    store = Store(tmp_path / "study")
    snapshots = replace(plan, rows=rows, configs=(config,))
    flipped = np.full((12, 3), 0.5, np.float32)
    made = [made_result(n, {"tta": {"final/flip": flipped}}, cycles=2) for n in range(3)]
    with store.opened_for(snapshots):
        for result, job in zip(made, snapshots.jobs(config, rows[0]), strict=True):
            store.save(job, result, ENVIRONMENT, seconds=1.0)
    results = nondet.load(str(store.root))
    assert np.array_equal(results.logits("linear", "last"), [one.logits for one in made])
    means = [one.snapshots.astype(float).mean(axis=0).astype(np.float32) for one in made]
    assert np.array_equal(results.logits("linear", "mean"), means)
    assert np.array_equal(results.logits("linear", "mirrored"), [flipped] * 3)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda r: r.logits("vgg11", "control"), "has no model 'vgg11'; known: linear, hidden"),
        (lambda r: r.labels("vgg11"), "has no model 'vgg11'; known: linear, hidden"),
        (
            lambda r: r.logits("linear", "dropout"),
            "'linear' has no row 'dropout'; known: control, one bit, late bit",
        ),
        (
            lambda r: r.records("tta", "x", "linear", "late bit"),
            "row 'late bit' of 'linear' has no record 'tta'; known: taps",
        ),
        (
            lambda r: r.records("tta", "x", "linear", "control"),
            "row 'control' of 'linear' has no record 'tta'; known: none",
        ),
        (
            lambda r: r.records("taps", "02.fc", "linear", "late bit"),
            r"has no key of 'taps' '02.fc'; did you mean 00.fc\? known: 00.fc, 01.out",
        ),
        (lambda r: r.logits("hidden", "late bit"), "row 'late bit' of 'hidden' has no finished"),
        (lambda r: r.snapshots("linear", "control"), "took no snapshots; their schedule is 'cos"),
    ],
)
def test_unknown_names_list_the_known_ones(results, ask, message):
    with pytest.raises(ValueError, match=message):
        ask(results)


def test_folder_without_a_study_is_refused(tmp_path):
    with pytest.raises(StoreError, match="holds no study"):
        nondet.load(tmp_path)


def test_begun_study_has_frames_without_lines(tmp_path, plan):
    store = Store(tmp_path / "study")
    with store.opened_for(plan):
        pass
    results = nondet.load(store.root)
    assert len(results.runs) == len(results.history) == 0
    assert {"model", "bit_seed", "accuracy", "address"} <= set(results.runs)
    assert {"model", "epoch", "test_accuracy"} <= set(results.history)
    with pytest.raises(StoreError, match="holds no test labels of 'digits'"):
        results.labels("linear")


def test_run_without_what_is_to_be_recorded_counts_as_missing(tmp_path, plan):
    store = Store(tmp_path / "study")
    job, *_ = plan.jobs(plan.configs[0], plan.rows[2])
    with store.opened_for(plan):
        store.save(job, made_result(), ENVIRONMENT, seconds=1.0)
    results = nondet.load(store.root)
    assert len(results.runs) == 0
    with pytest.raises(ValueError, match="has no finished run"):
        results.logits("linear", "late bit")


def test_damaged_run_is_left_out_with_a_warning(tmp_path, plan):
    store = Store(tmp_path / "study")
    small = replace(plan, rows=(Row("one bit", ("bit",)),), configs=plan.configs[:1])
    made = fill(store, small)
    damaged, *others = small.tasks()
    (store.runs / damaged.address / "history.csv").write_text("")
    results = nondet.load(store.root)
    with pytest.warns(UserWarning, match=f"run {damaged.address} is damaged.*it is left out"):
        assert results.runs.run.tolist() == [1, 2]
    with pytest.warns(UserWarning, match="is damaged"):
        logits = results.logits("linear", "one bit")
    assert np.array_equal(logits, [made[job.address].logits for job in others])


def test_import_stays_cheap():
    script = (
        "import sys, nondet\n"
        "assert not {'torch', 'numpy', 'pandas', 'matplotlib'} & set(sys.modules)\n"
        "assert nondet.load.__name__ == 'load'\n"
        "assert nondet.Results.__name__ == 'Results'\n"
        "import nondet.analysis.results\n"
        "assert callable(nondet.load)\n"
        "try: nondet.lod\n"
        "except AttributeError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "module 'nondet' has no attribute 'lod'\n", done.stderr
