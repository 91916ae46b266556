"""How predictions vary from run to run: the accuracy of each class, the churn of each test image,
and the calibration of probabilities.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from nondet.analysis.predictions import PredictionStatistics, prediction_statistics
from nondet.analysis.stats import Interval, unbiased_sd
from nondet.analysis.summary import ModelSummary, RowSummary, Summary
from nondet.report.columns import PP_NOTE, interval_cell, row_cell, row_column
from nondet.report.document import Cell, Column, Line, Section, Table
from nondet.report.text import fixed, number, percent, plain, written_interval
from nondet.report.views._common import independent_rows, number_cell, row_line
from nondet.report.views._predictions_figures import figures

MOST_CLASSES = 20
"""The most classes of a model that tables and figures show."""
MOST_EXAMPLES = 10
"""The test images of a model that the table of churn names."""
OFTEN = 25.0
"""The churn in percent from which on a test image counts as one that changes often."""


class Predicted(NamedTuple):
    """A row with how its predictions vary."""

    model: ModelSummary
    row: RowSummary
    statistics: PredictionStatistics


def view(summary: Summary) -> Section | None:
    """Return a section on the rows of independent runs on images; None without such rows."""
    found = [
        Predicted(model, row, prediction_statistics(logits, summary.labels[model.config.dataset]))
        for model, row in independent_rows(summary, language=False)
        if (logits := row.logits) is not None
    ]
    if not found:
        return None
    by_model = [
        [one for one in found if one.model is model]
        for model in {id(one.model): one.model for one in found}.values()
    ]
    return Section(
        "Classes, single test images and calibration",
        findings=tuple(sentence for rows in by_model for sentence in _findings(rows)),
        tables=(
            _churn(found),
            _calibration(found),
            _classes([(rows, shown_classes(rows)) for rows in by_model]),
            *_images(by_model, summary),
        ),
        figures=tuple(
            figure
            for rows in by_model
            for figure in figures(
                [(one.row.row.name, one.statistics) for one in rows if one.row.row.varies],
                shown_classes(rows),
                rows[0].model.config.model if len(by_model) > 1 else "",
            )
        ),
    )


def shown_classes(rows: Sequence[Predicted]) -> np.ndarray:
    """Return the places of the classes to show: all, or those with the largest mean SD."""
    sds = np.mean([[sd.value for sd in one.statistics.class_sds] for one in rows], axis=0)
    largest = np.argsort(-sds, kind="stable")[:MOST_CLASSES]
    ordered: np.ndarray = np.sort(largest)
    return ordered


# -- sentences ---------------------------------------------------------------------------------


def _findings(rows: Sequence[Predicted]) -> list[str]:
    """Return findings on the row in which most sources vary."""
    _, row, found = max(rows, key=lambda one: len(one.row.row.varies))
    if not row.row.varies or found.churn.value == 0:
        return []
    subject = f"{rows[0].model.config.model}, {row.row.name}"
    most = max(range(len(found.classes)), key=lambda place: found.class_sds[place].value)
    return [
        f"{subject}: two runs disagree on {_written(found.churn, percent, '%')} of the test "
        f"images; all {len(row.runs)} agree on {fixed(_agreed(found), 1)}%, and on "
        f"{percent(_often(found))}% a quarter of the pairs of runs or more disagree.",
        f"{subject}: the accuracy of class {found.classes[most]} has the largest SD of any class, "
        f"{_written(found.class_sds[most], number)} percentage points; that of all classes "
        f"together has {_written(unbiased_sd(found.accuracies), number)}.",
        f"{subject}: the expected calibration error is "
        f"{percent(found.calibration_errors.mean())}%, with an SD over runs of "
        f"{_written(found.calibration_sd, number)} percentage points.",
    ]


def _written(value: Interval, write: Callable[[float], str], unit: str = "") -> str:
    middle, low, high = (write(end) for end in value)
    return f"{middle}{unit} ({written_interval(value, low, high, unit)})"


def _agreed(found: PredictionStatistics) -> float:
    """Return the test images on which all runs agree, in percent."""
    return 100 * float((found.example_churn == 0).mean())


def _often(found: PredictionStatistics) -> float:
    """Return the test images with a churn of at least `OFTEN`, in percent."""
    return 100 * float((found.example_churn >= OFTEN).mean())


# -- tables ------------------------------------------------------------------------------------


def _churn(found: Sequence[Predicted]) -> Table:
    columns = (
        row_column([one.row for one in found]),
        Column("churn_percent", "mean churn", "%"),
        Column("largest_churn_percent", "largest churn", "%"),
        Column("agreed_percent", "all agree on", "% of images"),
        Column("often_percent", "change often", "% of images"),
    )
    lines = []
    for one in found:
        churn = one.statistics.example_churn
        shares = (float(churn.max()), _agreed(one.statistics), _often(one.statistics))
        cells = (
            row_cell(one.row),
            interval_cell(one.statistics.churn, percent),
            *(Cell(percent(share), share) for share in shares),
        )
        lines.append(row_line(one.model, one.row, cells))
    note = (
        "Churn of a test image: the pairs of trainings that predict different classes of it; its "
        "mean over images is the disagreement, with its 95% interval from a jackknife over "
        f"trainings. Often: a churn of {OFTEN:.0f}% or more."
    )
    return Table("churn", "Churn of single test images", columns, tuple(lines), note)


def _calibration(found: Sequence[Predicted]) -> Table:
    columns = (
        row_column([one.row for one in found]),
        Column("accuracy_mean_percent", "accuracy", "%"),
        Column("confidence_mean_percent", "confidence", "%"),
        Column("calibration_error_percent", "calibration error", "%"),
        Column("calibration_error_sd_points", "its SD", "pp"),
    )
    lines = []
    for one in found:
        means = [
            float(values.mean())
            for values in (one.statistics.accuracies, one.statistics.confidences)
        ]
        error = float(one.statistics.calibration_errors.mean())
        cells = (
            row_cell(one.row),
            *(Cell(fixed(mean, 2), mean) for mean in means),
            Cell(percent(error), error),
            interval_cell(one.statistics.calibration_sd, lambda value: plain(value, 2)),
        )
        lines.append(row_line(one.model, one.row, cells))
    note = (
        "Confidence: the mean probability of the predicted class. Calibration error: the expected "
        "one, in 15 bins (Guo et al. 2017), mean over trainings; a finite test set adds to it. Its "
        "SD over trainings is unbiased, with its 95% interval from a jackknife over trainings, and "
        f"(-) where there is none. {PP_NOTE}"
    )
    return Table("calibration", "Calibration", columns, tuple(lines), note)


def _classes(shown: Sequence[tuple[Sequence[Predicted], np.ndarray]]) -> Table:
    lines = []
    for rows, places in shown:
        for one in rows:
            for place in places:
                found = one.statistics
                mean = float(found.class_accuracies[:, place].mean())
                label = int(found.classes[place])
                cells = (
                    row_cell(one.row),
                    Cell(str(label), label),
                    Cell(fixed(mean, 2), mean),
                    interval_cell(found.class_sds[place], lambda value: plain(value, 2)),
                    interval_cell(found.class_churn[place], percent),
                )
                lines.append(row_line(one.model, one.row, cells))
    columns = (
        row_column([one.row for rows, _ in shown for one in rows]),
        Column("class", "class"),
        Column("accuracy_mean_percent", "accuracy", "%"),
        Column("accuracy_sd_unbiased_points", "accuracy SD", "pp"),
        Column("disagreement_percent", "disagree", "%"),
    )
    note = (
        "Of the test images of one class: mean accuracy, its unbiased SD over the trainings of a "
        "row, and the images on which two trainings predict different classes, with 95% intervals "
        "from a jackknife over trainings, and (-) where there is none. The largest of many SDs is "
        f"large by chance, too. Of more than {MOST_CLASSES} classes those with the largest SDs are "
        f"shown. {PP_NOTE}"
    )
    return Table("classes", "Class by class", columns, tuple(lines), note, detail=True)


def _images(by_model: Sequence[Sequence[Predicted]], summary: Summary) -> tuple[Table, ...]:
    """Return a table of the test images that change most often; none where none does."""
    lines = []
    for rows in by_model:
        varied = [one for one in rows if one.row.row.varies]
        if not varied:
            continue
        churn = np.array([one.statistics.example_churn for one in varied])
        mean = churn.mean(axis=0)
        labels = summary.labels[rows[0].model.config.dataset]
        for place in np.argsort(-mean, kind="stable")[:MOST_EXAMPLES]:
            if mean[place] == 0:
                break
            highest = int(churn[:, place].argmax())
            cells = (
                Cell(str(place), int(place)),
                Cell(str(labels[place]), int(labels[place])),
                Cell(percent(mean[place]), float(mean[place])),
                number_cell(percent(churn[highest, place]), float(churn[highest, place])),
                Cell(varied[highest].row.row.name),
            )
            lines.append(Line(cells, group=rows[0].model.config.model))
    if not lines:
        return ()
    columns = (
        Column("example", "test image"),
        Column("label", "class"),
        Column("churn_percent", "mean churn", "%"),
        Column("largest_churn_percent", "largest churn", "%"),
        Column("row", "in row", align="left"),
    )
    note = (
        "The test images, counted from 0, that change most often: churn averaged over all rows in "
        "which anything varies, and its largest value in any of them."
    )
    title = "Test images that change most often"
    return (Table("churn-images", title, columns, tuple(lines), note, detail=True),)
