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
from nondet.report.summary import ModelSummary, RowSummary, Statistics, Summary, compute_statistics
from nondet.report.terminal import bar, make_console, print_report
from nondet.report.text import change, correlation, factor, number, percent, spread
from nondet.seeds import Seeds
from nondet.stats import Spread
from nondet.store import StoredRun


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


def summary_of(plan, one_bit, init):
    """A summary with the given statistics, model by model, and an exact control."""
    models = []
    for config, bit, initial in zip(plan.configs, one_bit, init, strict=True):
        runs = [stored(config, np.zeros((2, 2), np.float32), 0.9, 0.1)] * 2
        rows = []
        for row in plan.rows:
            found = {"one bit": bit, "initialization": initial}.get(row.name, statistics(0.0, 0.0))
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
    control.runs[1:] = [replace(control.runs[0], record={}, history=[{"weights_sha256": "other"}])]
    assert findings(summary)[0] == (
        "The control is NOT exact: trainings with equal seeds ended in different bits."
    )


def test_files_parse_and_agree(plan):
    summary = summary_of(plan, [statistics(0.1, 1.0)] * 2, [statistics(0.1, 1.0)] * 2)
    table = list(csv.DictReader(io.StringIO(table_csv(summary))))
    assert [(line["model"], line["row"]) for line in table[:2]] == [
        ("linear", "control"),
        ("linear", "initialization"),
    ]
    assert len(table) == 10
    assert float(table[4]["cross_entropy_sd_nats"]) == 0.1
    runs = list(csv.DictReader(io.StringIO(runs_csv(summary))))
    assert len(runs) == 20
    assert runs[0]["init_seed"] == "1"
    lines = [line for line in markdown(summary).splitlines() if line.startswith("|")]
    assert len(lines) == 12
    assert {line.count("|") for line in lines} == {12}


def test_incomplete_rows_are_marked(plan, capsys):
    summary = summary_of(plan, [statistics(0.1, 1.0)] * 2, [statistics(0.1, 1.0)] * 2)
    row = summary.models[0].rows[2]
    summary.models[0].rows[2] = replace(row, runs=row.runs[:1], statistics=None)
    print_report(summary, make_console(), "files")
    printed = capsys.readouterr().out
    assert "shuffling 1/2" in printed
    assert "Incomplete: 19 of 20 runs." in printed
    assert max(map(len, printed.splitlines())) <= 100
    assert "| linear | shuffling | 1 " + "| - " * 8 + "|" in markdown(summary)
    assert list(csv.DictReader(io.StringIO(table_csv(summary))))[2]["accuracy_mean_percent"] == ""


def test_history_holds_the_metrics_of_the_stored_logits(digits, config):
    from nondet.train import train

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
