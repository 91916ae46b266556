"""Tests of the view on classes, single test images and calibration."""

from dataclasses import replace

import numpy as np
import pytest

from factories.findings import check_units, in_order
from factories.runs import LABELS, QUICK, drawn, made_summary
from nondet import metrics
from nondet.analysis.predictions import prediction_statistics
from nondet.analysis.stats import pair_mean, unbiased_sd
from nondet.report.views import make_section
from nondet.report.views.predictions import MOST_CLASSES, MOST_EXAMPLES
from nondet.studies.catalog import find_study


@pytest.fixture(scope="module")
def summary():
    plan = find_study("quick").plan(
        runs=6, epochs=1, settings={"warmup_epochs": 0}, models=("linear", "hidden")
    )
    return made_summary(plan, QUICK)


@pytest.fixture(scope="module")
def section(summary):
    return make_section("predictions", summary)


def cells(table, model, row, **wanted):
    """Return the only line of a model's row, by column."""
    names = [column.name for column in table.columns]
    assert len(set(names)) == len(names)
    found = [
        one
        for line in table.lines
        if line.group == model
        for one in [dict(zip(names, line.cells, strict=True))]
        if one[names[0]].value == row and all(one[k].value == v for k, v in wanted.items())
    ]
    [line] = found
    return line


def test_tables_show_what_the_predictions_say(summary, section):
    check_units(section)
    churn, calibration, classes, _ = section.tables
    row = summary.models[1].named("initialization")
    logits = row.logits
    predicted = metrics.predictions(logits)
    of_images = [
        np.mean([predicted[i, e] != predicted[j, e] for i in range(6) for j in range(i)])
        for e in range(40)
    ]
    line = cells(churn, "hidden", "initialization")
    assert line["churn_percent"].value == pytest.approx(row.statistics.disagreement.value)
    assert line["churn_percent"].interval == row.statistics.disagreement[1:]
    assert line["largest_churn_percent"].value == pytest.approx(100 * max(of_images))
    assert line["agreed_percent"].value == pytest.approx(100 * np.mean(np.array(of_images) == 0))
    assert line["often_percent"].value == pytest.approx(100 * np.mean(np.array(of_images) >= 0.25))

    errors = 100 * metrics.calibration_error(logits, LABELS)
    line = cells(calibration, "hidden", "initialization")
    assert line["calibration_error_percent"].value == pytest.approx(errors.mean())
    assert line["calibration_error_sd_points"].value == unbiased_sd(errors).value
    assert line["calibration_error_sd_points"].interval == unbiased_sd(errors)[1:]
    assert line["accuracy_mean_percent"].value == pytest.approx(row.statistics.accuracy_mean)

    for label in range(4):
        members = np.flatnonzero(label == LABELS)
        accuracies = 100 * (predicted[:, members] == label).mean(axis=1)
        line = cells(classes, "hidden", "initialization", **{"class": label})
        assert line["accuracy_mean_percent"].value == pytest.approx(accuracies.mean())
        sd = line["accuracy_sd_unbiased_points"]
        assert sd.value == pytest.approx(unbiased_sd(accuracies).value)
        matrix = 100 * metrics.disagreement_matrix(logits[:, members])
        expected = pair_mean(matrix, low=0, high=100)
        assert line["disagreement_percent"].value == pytest.approx(expected.value)


def test_control_never_changes(section):
    churn, calibration, classes, _ = section.tables
    for model in ("linear", "hidden"):
        line = cells(churn, model, "control")
        assert [cell.text for cell in line.values()][1:] == ["0", "0", "100.00", "0"]
        assert cells(calibration, model, "control")["calibration_error_sd_points"].text == "0"
        line = cells(classes, model, "control", **{"class": 2})
        assert line["accuracy_sd_unbiased_points"].text == "0"
        assert line["accuracy_sd_unbiased_points"].interval is None


def test_images_that_change_most_stand_first(summary, section):
    table = section.tables[-1]
    rows = [row for row in summary.models[1].rows if row.row.varies]
    mean = np.mean([100 * metrics.example_churn(row.logits) for row in rows], axis=0)
    shown = [line for line in table.lines if line.group == "hidden"]
    assert len(shown) == MOST_EXAMPLES
    found = [line.cells[0].value for line in shown]
    assert found == np.argsort(-mean, kind="stable")[:MOST_EXAMPLES].tolist()
    assert [line.cells[1].value for line in shown] == LABELS[found].tolist()
    assert [line.cells[2].value for line in shown] == pytest.approx(mean[found].tolist())


def test_findings_are_of_the_row_with_most_sources(summary, section):
    found = [one for one in section.findings if one.startswith("hidden, all sources: ")]
    statistics = prediction_statistics(summary.models[1].named("all sources").logits, LABELS)
    most = int(np.argmax([sd.value for sd in statistics.class_sds]))
    assert in_order(found[0], f"{statistics.churn.value:.2f}%", "95% CI", "all 6 agree on")
    assert in_order(found[1], f"class {most} ", "percentage points")
    assert in_order(found[2], f"{statistics.calibration_errors.mean():.2f}%")


def test_figures_show_every_row_that_changes_anything(section):
    names = [figure.name for figure in section.figures]
    assert names == ["classes-hidden", "churn-hidden"]  # no row changes predictions of `linear`
    axes = drawn(section.figures[0]).axes[0]
    assert axes.get_yticklabels()[0].get_text() == "initialization"
    assert [text.get_text() for text in axes.get_xticklabels()] == ["0", "1", "2", "3"]
    axes = drawn(section.figures[1]).axes[0]
    lines = {line.get_label(): line.get_ydata() for line in axes.get_lines()}
    assert "control" not in lines
    assert (np.diff(lines["all sources"]) <= 0).all()


def test_models_without_runs_or_images_have_no_section(summary):
    plan = replace(summary.plan, rows=summary.plan.rows[:1])
    assert make_section("predictions", made_summary(replace(plan, runs=2), {})).figures == ()
    alone = made_summary(plan, {})
    for model in alone.models:
        model.rows[:] = [replace(row, runs=row.runs[:1], statistics=None) for row in model.rows]
    assert make_section("predictions", alone) is None


def test_of_many_classes_those_that_vary_most_are_shown():
    classes = MOST_CLASSES + 5
    labels = np.arange(3 * classes) % classes
    clear = 3.0 * np.eye(classes)[labels]
    plan = find_study("quick").plan(
        runs=4, epochs=1, settings={"warmup_epochs": 0}, models=("hidden",)
    )
    plan = replace(plan, rows=plan.rows[:2])
    made = made_summary(plan, {"hidden": {"initialization": 2.0}}, labels, clear)
    table = make_section("predictions", made).tables[2]
    shown = [line.cells[1].value for line in table.lines if line.cells[0].value == "initialization"]
    assert len(shown) == MOST_CLASSES
    assert shown == sorted(shown)
    logits = made.models[0].rows[1].logits
    sds = np.nanstd(metrics.class_accuracy(logits, labels), axis=0)
    assert sds[shown].min() >= max(np.delete(sds, shown))
