"""Tests of the view that compares snapshot ensembles with ensembles of single models."""

from dataclasses import replace

import numpy as np
import pytest

from factories.findings import check_units, in_order, numbers
from factories.runs import LABELS, drawn, made_summary, noisy
from nondet import metrics
from nondet.analysis.stats import mean_over_pairs
from nondet.report.views import ensembles, make_section
from nondet.report.views.ensembles import ordinary_ensembles
from nondet.studies.row import Row

ALL = ("init", "shuffle", "augment", "lowlevel")


@pytest.fixture
def compared(plan):
    """Nine single models, and nine snapshot ensembles as good as two to three of them."""
    snapshots = {"schedule": "snapshots", "cycles": 5, "epochs": 5, "warmup_epochs": 0}
    rows = (
        Row("control"),
        Row("initialization", ("init",)),
        Row("single", ALL),
        Row("snapshots", ALL, snapshots, output="snapshots"),
    )
    plan = replace(plan, rows=rows, configs=plan.configs[:1], runs=9)
    final = replace(plan, rows=(*rows[:3], replace(rows[3], output="final")))
    summary = made_summary(final, {"linear": {"single": 3.0, "snapshots": 1.9}})
    [model] = summary.models
    runs = [replace(run, snapshots=run.logits[None]) for run in model.rows[3].runs]
    model.rows[3] = replace(model.rows[3], row=rows[3], runs=runs)
    return replace(summary, plan=plan)


def singles(runs, noise=3.0):
    return np.stack([noisy(noise, run) for run in range(runs)]).astype(np.float32)


def test_single_models_are_ensembles_of_one():
    logits = singles(6)
    one = ordinary_ensembles(logits, LABELS)[0]
    accuracies = 100 * metrics.accuracy(logits, LABELS)
    losses = metrics.cross_entropy(logits, LABELS)
    assert (one.size, one.groups, one.name) == (1, 6, "1 independent model")
    assert one.accuracy == pytest.approx(accuracies.mean())
    assert one.cross_entropy == pytest.approx(losses.mean())
    # c4 of six values (tabulated).
    assert one.accuracy_sd.sd == pytest.approx(accuracies.std(ddof=1) / 0.951533, rel=1e-5)
    assert one.disagreement == pytest.approx(
        100 * mean_over_pairs(metrics.disagreement_matrix(logits))
    )
    assert one.correlation == pytest.approx(mean_over_pairs(metrics.correlation_matrix(logits)))


def test_ensembles_share_no_model_and_grow_while_there_are_three(monkeypatch):
    monkeypatch.setattr(ensembles, "PARTITIONS", 1)
    found = ordinary_ensembles(singles(9), LABELS)
    assert [(one.size, one.groups) for one in found] == [(1, 9), (2, 4), (3, 3)]
    assert [one.size for one in ordinary_ensembles(singles(2), LABELS)] == [1]
    assert len(ordinary_ensembles(singles(33, 0.5)[:, :4], LABELS[:4])) == 10


def test_ensembles_average_logits(monkeypatch):
    logits = singles(6)
    seen = []

    def observed(runs, size, generator, count):
        groups = [np.array([[4, 1], [0, 5], [2, 3]])]
        seen.append((runs, size, count))
        return groups if size == 2 else [np.arange(runs)[:, None]]

    monkeypatch.setattr(ensembles, "partitions", observed)
    two = ordinary_ensembles(logits, LABELS)[1]
    assert seen == [(6, 1, 1), (6, 2, 10)]
    pairs = [(4, 1), (0, 5), (2, 3)]
    means = np.stack([(logits[i].astype(np.float64) + logits[j]) / 2 for i, j in pairs])
    expected = metrics.cross_entropy(means.astype(np.float32), LABELS)
    assert two.cross_entropy == pytest.approx(expected.mean())
    assert two.groups == 3
    classes = means.argmax(axis=2)
    disagree = [(classes[i] != classes[j]).mean() for i, j in ((0, 1), (0, 2), (1, 2))]
    assert two.disagreement == pytest.approx(100 * np.mean(disagree))


def test_spread_of_ensembles_of_independent_models_falls_as_theory_says(monkeypatch):
    """A mean over N members has an SD smaller by sqrt(N). With two classes and logits far from any
    decision, cross-entropy is nearly such a mean.
    """
    monkeypatch.setattr(ensembles, "LARGEST", 4)
    generator = np.random.default_rng(8)
    offsets = generator.normal(size=(60, 1, 1))
    logits = np.concatenate([4 + 0.01 * offsets, 0 * offsets], axis=2)
    logits = np.repeat(logits, 4, axis=1).astype(np.float32)
    found = ordinary_ensembles(logits, np.zeros(4, np.int64))
    first = found[0].cross_entropy_sd.sd
    for one in found[1:]:
        assert one.cross_entropy_sd.sd == pytest.approx(first / one.size**0.5, rel=0.15)


def test_table_and_sentence(compared):
    section = make_section("ensembles", compared)
    check_units(section)
    [table] = section.tables
    names = [line.cells[0].text for line in table.lines]
    assert names == [
        "1 independent model",
        "2 independent models",
        "3 independent models",
        "snapshots",
    ]
    assert [line.strong for line in table.lines] == [False] * 3 + [True]
    assert {line.group for line in table.lines} == {"linear"}
    columns = [column.name for column in table.columns]
    assert len(set(columns)) == len(columns)
    at = columns.index("accuracy_mean_percent")
    accuracy = [line.cells[at].value for line in table.lines]
    row = compared.models[0].rows[3]
    assert accuracy[3] == pytest.approx(row.statistics.accuracy_mean)
    assert accuracy[1] < accuracy[3] < accuracy[2]
    [found] = section.findings
    of_accuracy, of_disagreement, *_ = found.split("; ")
    assert in_order(of_accuracy, "linear, snapshots: ", "accuracy", "between", "independent models")
    assert numbers(of_accuracy) == [f"{accuracy[3]:.2f}", "2", "3"]
    disagreement = row.statistics.disagreement.value
    assert in_order(of_disagreement, "disagreement", f"{disagreement:.2f}%")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (3.5, "worse than that of a single model"),
        (3.0, "that of a single model"),
        (2.5, "between those of 1 and 2 independent models"),
        (2.0, "that of 2 independent models"),
        (1.0, "that of 3 independent models"),
        (0.5, "better than that of 3 independent models, the most compared"),
    ],
)
def test_place_among_ensembles(value, words):
    assert ensembles.place_among([3.0, 2.0, 1.0], value) == words


def test_single_models_alone_can_be_compared():
    assert ensembles.place_among([3.0], 2.0) == "better than that of a single model"


def test_nothing_without_both_kinds(compared):
    [model] = compared.models
    del model.rows[3]
    assert make_section("ensembles", compared) is None


def test_figure_has_the_snapshots_as_a_line(compared):
    section = make_section("ensembles", compared)
    [figure] = section.figures
    canvas = drawn(figure)
    assert [axes.get_ylabel() for axes in canvas.axes] == [
        "accuracy (%)",
        "accuracy SD (pp)",
        "disagreement (%)",
        "cross-entropy (nats)",
        "cross-entropy SD (nats)",
        "1 - Spearman corr.",
    ]
    [table] = section.tables
    at = [column.name for column in table.columns].index("disagreement_percent")
    values = [line.cells[at].value for line in table.lines]
    ordinary, snapshots = canvas.axes[2].lines
    assert list(ordinary.get_xdata()) == [1, 2, 3]
    assert list(ordinary.get_ydata()) == values[:3]
    assert set(snapshots.get_ydata()) == {values[3]}
    [legend] = canvas.legends
    assert [text.get_text() for text in legend.get_texts()] == ["independent models", "snapshots"]
