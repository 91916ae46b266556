import csv
import io
import math
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from nondet import metrics
from nondet.config import Job
from nondet.report.files import markdown, runs_csv, table_csv
from nondet.report.findings import findings
from nondet.report.summary import (
    ModelSummary,
    RowSummary,
    Statistics,
    Summary,
    compute_statistics,
    summarize,
)
from nondet.report.terminal import bar, make_console, notes, print_report
from nondet.report.text import change, correlation, factor, number, percent, spread
from nondet.seeds import Onset, Seeds
from nondet.stats import Spread
from nondet.store import Failure, Store, StoredRun, StoreError
from nondet.row import Row
from nondet.train import EpochRecord, Result, train


def stored(config, logits, accuracy, cross_entropy, seeds=None, weights="ab"):
    history = [
        {"epoch": 1, "test_accuracy": 0.5, "test_cross_entropy": 2.0, "weights_sha256": "first"},
        {
            "epoch": 2,
            "test_accuracy": accuracy,
            "test_cross_entropy": cross_entropy,
            "weights_sha256": weights,
        },
    ]
    record = {"hashes": {"predictions": "cd", "weights": weights}}
    return StoredRun(Job(config, seeds or Seeds()), history, logits, record)


def failed(config, reason="the training loss is nan", epoch=1):
    record = {"hashes": {}}
    return StoredRun(Job(config, Seeds()), [], None, record, Failure(reason, epoch, 21 * epoch))


def statistics(cross_entropy_sd, disagreement, accuracy_sd=0.0):
    return Statistics(
        accuracy_mean=98.0,
        accuracy=Spread(accuracy_sd, 0.0),
        cross_entropy_mean=0.1,
        cross_entropy=Spread(cross_entropy_sd, 0.0),
        disagreement=disagreement,
        correlation=0.5,
        ensemble_accuracy=0.25,
        ensemble_cross_entropy=-0.001,
    )


def summary_of(plan, one_bit, init, order=None):
    """A summary with the given statistics, model by model, and an exact control."""
    models = []
    for config, bit, initial in zip(plan.configs, one_bit, init, strict=True):
        runs = [stored(config, np.zeros((2, 2), np.float32), 0.9, 0.1)] * 2
        rows = []
        for row in plan.rows_of(config):
            given = {"one bit": bit, "initialization": initial, "low-level order": order}
            found = given.get(row.name) or statistics(0.0, 0.0)
            rows.append(RowSummary(row, runs, 2, found))
        models.append(ModelSummary(config, rows))
    return Summary(plan, models, [])


def test_statistics_by_hand(config):
    logits = np.array([[[1, 0], [1, 0]], [[1, 0], [0, 1]]], np.float32)
    runs = [stored(config, logits[0], 0.9, 0.25), stored(config, logits[1], 0.8, 0.75)]
    found = compute_statistics(runs, np.array([0, 1]))
    assert found.accuracy_mean == pytest.approx(85)
    assert found.accuracy.sd == pytest.approx(5)
    assert (found.cross_entropy_mean, found.cross_entropy.sd) == (0.5, 0.25)
    assert found.disagreement == 50
    assert found.correlation == 0
    # The mean of the second image's logits ties, and class 0 wins: accuracies 0.5 and 1, then 0.5.
    assert found.ensemble_accuracy == -25
    # Cross-entropies of the second image: log(1 + e), log(1 + 1/e), then log 2; the first's agree.
    expected = (math.log(2) - math.log(1 + math.e) / 2 - math.log1p(math.exp(-1)) / 2) / 2
    assert found.ensemble_cross_entropy == pytest.approx(expected, rel=1e-14)
    assert found.cross_entropy.error == pytest.approx(0.125, abs=0.001)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Spread(0.0, 0.0), "0"),
        (Spread(0.0077, 0.0012), "0.0077 ± 0.0012"),
        (Spread(1.5e-8, 3.2e-9), "1.5e-08 ± 3e-09"),
        (Spread(0.00049, 0.0001), "4.9e-04 ± 1e-04"),
    ],
)
def test_spread_is_written(value, text):
    assert spread(value, 4) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(1.0, "1"), (0.99877, "0.9988"), (-0.5, "-0.5000"), (1 - 2.5e-9, "1 - 2e-09")],
)
def test_correlation_is_written(value, text):
    assert correlation(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (0.123, "+0.12"), (-0.005, "-0.01"), (-0.0049, "-5e-03"), (1e-9, "+1e-09")],
)
def test_change_is_written(value, text):
    assert change(value, 2) == text


def test_numbers_are_written():
    assert [percent(value) for value in (0, 0.004, 98.765)] == ["0", "0.00", "98.77"]
    assert [number(value) for value in (0, 1.5e-8, 0.0077, 0.25)] == [
        "0",
        "1.5e-08",
        "0.0077",
        "0.25",
    ]
    assert [factor(value) for value in (1.14, 14.2, 512345)] == ["1.1", "14", "510,000"]


def test_bars_are_to_scale():
    assert bar(1.0, 1.0) == "█" * 14
    assert bar(0.5, 1.0) == "█" * 7
    assert bar(0.3, 1.0) == "████▎"
    assert bar(1e-8, 1.0) == bar(0.0, 0.0) == ""
    assert bar(0.5, 1.0, unicode=False) == "#" * 7


def test_findings_say_what_the_numbers_say(plan):
    one_bit = [statistics(1.5e-8, 0.0), statistics(0.0077, 1.41, accuracy_sd=0.4)]
    init = [statistics(1e-4, 0.1), statistics(0.0062, 1.6)]
    assert findings(summary_of(plan, one_bit, init)) == [
        "control: all 4 trainings with equal seeds end in equal bits, model by model.",
        "hidden: one weight moved by one unit in the last place spreads results as far as new "
        "initial weights do (cross-entropy SD 0.0077 against 0.0062); two such runs disagree on "
        "1.41% of the test images.",
        "linear: the same change alters no prediction of any run (accuracy SD 0) and spreads "
        "cross-entropy by 1.5e-08 nats. That is 510,000 times less than in 'hidden'.",
    ]


@pytest.mark.parametrize(
    ("disagreement", "words"),
    [
        (1.08, "two such runs disagree on 1.08% of the test images."),
        (0.0, "no prediction changes."),
    ],
)
def test_findings_say_what_another_order_of_sums_does(plan, disagreement, words):
    one_bit = [statistics(1.5e-8, 0.0), statistics(0.0077, 1.41)]
    order = statistics(0.0033, disagreement)
    assert findings(summary_of(plan, one_bit, one_bit, order))[-1] == (
        "hidden: another order of the sums in its gradients, and nothing else, spreads "
        f"cross-entropy by 0.0033 nats; {words}"
    )


@pytest.mark.parametrize(
    ("bit", "phrase"),
    [(0.01, "less than"), (0.04, "as far as"), (0.29, "as far as"), (0.31, "further than")],
)
def test_findings_do_not_claim_more_than_measured(plan, bit, phrase):
    summary = summary_of(plan, [statistics(bit, 1.0)] * 2, [statistics(0.1, 1.0)] * 2)
    assert all(
        f"spreads results {phrase} new initial weights" in line for line in findings(summary)[1:]
    )


def test_broken_control_is_not_called_exact(plan):
    summary = summary_of(plan, [statistics(0.1, 1.0)] * 2, [statistics(0.1, 1.0)] * 2)
    control = summary.models[0].rows[0]
    run = control.runs[0]
    for other in (
        replace(run, history=[{"weights_sha256": "other"}]),
        replace(run, record={"hashes": {"predictions": "other"}}),
    ):
        control.runs[1:] = [other]
        assert findings(summary)[0] == (
            "The control is NOT exact: trainings with equal seeds ended in different bits."
        )


def test_control_that_failed_in_part_is_not_called_exact(plan):
    summary = summary_of(plan, [statistics(0.1, 1.0)] * 2, [statistics(0.1, 1.0)] * 2)
    assert findings(summary)[0].startswith("control: all 4")
    summary.models[0].rows[0].failed.append(failed(plan.configs[0]))
    assert findings(summary)[0].startswith("The control is NOT exact")


def test_files_parse_and_agree(plan):
    summary = summary_of(plan, [statistics(0.1, 1.0)] * 2, [statistics(0.1, 1.0)] * 2)
    table = list(csv.DictReader(io.StringIO(table_csv(summary))))
    assert [(line["model"], line["row"]) for line in table[:2]] == [
        ("linear", "control"),
        ("linear", "initialization"),
    ]
    rows = [(model.config.model, row.row.name) for model in summary.models for row in model.rows]
    assert [(line["model"], line["row"]) for line in table] == rows
    assert float(table[rows.index(("linear", "one bit"))]["cross_entropy_sd_nats"]) == 0.1
    runs = list(csv.DictReader(io.StringIO(runs_csv(summary))))
    assert len(runs) == 2 * len(rows)
    assert runs[0]["init_seed"] == "1"
    lines = [line for line in markdown(summary).splitlines() if line.startswith("|")]
    assert len(lines) == 2 + len(rows)
    assert {line.count("|") for line in lines} == {12}


def test_incomplete_rows_are_marked(plan, capsys):
    summary = summary_of(plan, [statistics(0.1, 1.0)] * 2, [statistics(0.1, 1.0)] * 2)
    row = summary.models[0].rows[2]
    summary.models[0].rows[2] = replace(row, runs=row.runs[:1], statistics=None)
    print_report(summary, make_console(), "files")
    printed = capsys.readouterr().out
    assert "shuffling 1/2" in printed
    planned = 2 * sum(len(model.rows) for model in summary.models)
    assert f"Incomplete: {planned - 1} of {planned} runs." in printed
    assert max(map(len, printed.splitlines())) <= 100
    assert "| linear | shuffling | 1 " + "| - " * 8 + "|" in markdown(summary)
    assert list(csv.DictReader(io.StringIO(table_csv(summary))))[2]["accuracy_mean_percent"] == ""


def test_failed_runs_are_counted_apart_with_their_reasons(plan, capsys):
    summary = summary_of(plan, [statistics(0.1, 1.0)] * 2, [statistics(0.1, 1.0)] * 2)
    linear, hidden = summary.models
    reasons = [("the training loss is nan", 1), ("predictions are not finite", 3)]
    reasons.append(reasons[0])
    linear.rows[1] = replace(
        linear.rows[1],
        planned=4,
        runs=linear.rows[1].runs[:1],
        failed=[failed(linear.config, *reason) for reason in reasons],
        statistics=None,
    )
    row = hidden.rows[2]
    hidden.rows[2] = replace(row, runs=row.runs[:1], failed=[failed(hidden.config)])
    print_report(summary, make_console(), "files")
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    at = next(i for i, line in enumerate(lines) if line.startswith("initialization 1/4"))
    assert lines[at + 1] == "3 failed"
    text = " ".join(lines)
    assert (
        "! linear, initialization: 3 of 4 runs failed and are in no statistic: the training loss "
        "is nan in epoch 1 (2 of them); predictions are not finite in epoch 3 (1 of them)."
    ) in text
    assert (
        "! hidden, shuffling: 1 of 2 runs failed and are in no statistic: the training loss is nan "
        "in epoch 1."
    ) in text
    assert "Incomplete" not in text
    assert "| linear | initialization | 1 (3 failed) | - " in markdown(summary)
    table = list(csv.DictReader(io.StringIO(table_csv(summary))))
    assert (table[1]["runs"], table[1]["failed"], table[0]["failed"]) == ("1", "3", "0")
    lines = list(csv.DictReader(io.StringIO(runs_csv(summary))))[2:6]
    assert [line["failure"] for line in lines] == ["", *(f"{r} in epoch {e}" for r, e in reasons)]
    assert [line["accuracy"] for line in lines] == ["0.9", "", "", ""]


@pytest.fixture
def small(plan):
    """Three rows of the linear model: the control, initial weights, one of its own settings."""
    rows = (
        plan.rows[0],
        plan.rows[1],
        Row("dropout", ("stochastic",)),
        Row("late race", ("lowlevel",), {"lowlevel": "atomic"}, Onset(lowlevel=1)),
    )
    return replace(plan, rows=rows, configs=plan.configs[:1], runs=3)


def test_summary_is_of_what_the_store_holds(tmp_path, small, monkeypatch):
    """Statistics without the failed runs, rows that apply, remarks; no data set is loaded."""
    monkeypatch.setattr("nondet.data.load_dataset", None)
    [config] = small.configs
    store = Store(tmp_path)
    generator = np.random.default_rng(1)
    logits = {}
    with store.opened_for(small):
        store.save_labels(config.dataset, np.array([0, 1, 0]), ["Pixels are repeated"])
        for row in small.rows_of(config):
            for run, job in enumerate(small.jobs(config, row)):
                if row.name == "initialization" and run == 1:
                    store.save_failure(job, Failure("no reason", 1, 3), [], {})
                    continue
                logits[row.name, run] = generator.normal(size=(3, 2)).astype(np.float32)
                history = [EpochRecord(1, 0.0, 1.0, 0.25 * run, 0.5 * run, f"{run}")]
                store.save(job, Result(history, logits[row.name, run], []), {})
    summary = summarize(store.plan(), store)
    [model] = summary.models
    assert [row.row.name for row in model.rows] == ["control", "initialization", "late race"]
    init = model.rows[1]
    assert [run.accuracy for run in init.runs] == [0.0, 0.5]
    assert [run.failure.reason for run in init.failed] == ["no reason"]
    assert init.statistics.accuracy_mean == 25
    pair = np.stack([logits["initialization", 0], logits["initialization", 2]])
    assert init.statistics.disagreement == 100 * metrics.pairwise_disagreement(pair)
    labels = np.array([0, 1, 0])
    assert init.statistics.ensemble_cross_entropy == metrics.pairwise_ensemble_delta(
        pair, labels, "cross_entropy"
    )
    assert (summary.found, summary.planned) == (9, 9)
    assert notes(summary)[0] == "Pixels are repeated."
    text = markdown(summary)
    assert "- in the row 'late race': lowlevel atomic, lowlevel held before epoch 2" in text
    assert "- linear has nothing to vary in: dropout" in text


def test_report_without_labels_says_what_to_do(tmp_path, small):
    [config] = small.configs
    store = Store(tmp_path)
    with store.opened_for(small):
        for job in small.jobs(config, small.rows[0])[:2]:
            history = [EpochRecord(1, 0.0, 1.0, 0.5, 0.5, "ab")]
            store.save(job, Result(history, np.zeros((3, 2), np.float32), []), {})
    with pytest.raises(StoreError, match=r"holds no test labels of 'digits'. The command that"):
        summarize(small, store)


def test_history_holds_the_metrics_of_the_stored_logits(digits, config):
    result = train(config, Seeds(), digits)
    labels = digits.test_labels.numpy()
    last = result.history[-1]
    assert last.test_accuracy == metrics.accuracy(result.logits[None], labels)[0]
    assert last.test_cross_entropy == metrics.cross_entropy(result.logits[None], labels)[0]


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@pytest.mark.parametrize("width", [80, 100])
def test_table_fits_terminal_and_encoding(plan, encoding, width):
    widest = [statistics(1.5e-8, 10.25, accuracy_sd=10.25), statistics(10.1234, 99.99)]
    output = io.BytesIO()
    file = io.TextIOWrapper(output, encoding=encoding)
    console = Console(file=file, width=width, highlight=False)
    print_report(summary_of(plan, widest, widest), console, "files")
    file.flush()
    lines = output.getvalue().decode(encoding).splitlines()
    assert max(map(len, lines)) <= width
    assert not any("…" in line or "..." in line for line in lines)
    sign = "±" if encoding == "utf-8" else "+-"
    assert sum(f"1.5e-08 {sign} 0e+00" in line for line in lines) == 2
    assert any(
        line.rstrip(" |").endswith(("█" if encoding == "utf-8" else "#") * 14) for line in lines
    ) == (width == 100)
