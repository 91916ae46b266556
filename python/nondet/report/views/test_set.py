"""The part of each row's spread that comes from the finite test set (Jordan 2023, "Calibrated
Chaos").

A test set is a sample: two models that would be right equally often on all images still differ in
accuracy on a sample of them.
"""

import textwrap
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nondet import metrics
from nondet.analysis.stats import Interval, SamplingShare, sampling_share
from nondet.analysis.summary import ModelSummary, RowSummary, Summary
from nondet.report.colors import BLUE, ORANGE
from nondet.report.columns import PP_NOTE, row_cell, row_column
from nondet.report.document import Cell, Column, Figure, Line, Section, Table
from nondet.report.plots import SMALL, label, legend, panels
from nondet.report.text import (
    describe_seeds,
    fixed,
    interval,
    number,
    percentage_interval,
    plain,
)
from nondet.report.views._common import number_cell

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas


class _Split(NamedTuple):
    """The two parts of a row's spread, of accuracy in percentage points and of cross-entropy in
    nats.
    """

    model: ModelSummary
    row: RowSummary
    accuracy: SamplingShare
    cross_entropy: SamplingShare


def view(summary: Summary) -> Section | None:
    """Return a section on all rows of independent runs on images; None without such rows."""
    found = [
        _split(summary, model, row)
        for model, row in summary.rows
        if row.row.design == "tandem" and row.statistics is not None
    ]
    if not found:
        return None
    shown = [split for split in found if split.accuracy.total > 0 or split.cross_entropy.total > 0]
    return Section(
        "How much of the spread is the finite test set",
        findings=tuple(
            sentence for model in summary.models for sentence in _findings(model, shown)
        ),
        tables=(_table(found),),
        figures=(_figure(shown),) if shown else (),
    )


def _split(summary: Summary, model: ModelSummary, row: RowSummary) -> _Split:
    labels = summary.labels[model.config.dataset]
    logits = row.logits
    assert logits is not None
    errors = 100 * metrics.example_losses(logits, labels, "accuracy")
    losses = metrics.example_losses(logits, labels, "cross_entropy")
    return _Split(
        model,
        row,
        sampling_share(errors),
        sampling_share(losses),
    )


def _findings(model: ModelSummary, shown: list[_Split]) -> list[str]:
    """Return a finding on the row with the most sources among those whose accuracy varies."""
    candidates = [split for split in shown if split.model is model and split.accuracy.total > 0]
    if not candidates:
        return []
    widest = max(candidates, key=lambda split: len(split.row.row.varies))
    term = widest.accuracy
    of = "the variance of accuracy"
    accounts = f"accounts for {percentage_interval(term.share, of)}"
    left = f"{number(term.remaining)} would be left on an endless test set"
    if term.remaining == 0:
        # The estimate for sampling alone exceeds the whole variance.
        accounts = f"accounts for all of {of}, {percentage_interval(term.share)}"
        left = "nothing measurable would be left on an endless test set"
    return [
        f"{model.config.model}, {widest.row.row.name}: the finite test set {accounts}; of an SD of "
        f"{number(term.total)} percentage points {left}."
    ]


def _table(found: list[_Split]) -> Table:
    columns = [row_column([split.row for split in found])]
    for metric, name, unit, short in (
        ("accuracy", "accuracy", "points", "pp"),
        ("cross_entropy", "cross-entropy", "nats", "nats"),
    ):
        columns += [
            Column(f"{metric}_sd_total_{unit}", f"{name} SD", short),
            Column(f"{metric}_sd_test_set_{unit}", "test set", short),
            Column(f"{metric}_sd_remaining_{unit}", "left", short),
            Column(f"{metric}_variance_share_percent", "test set", "% of variance"),
        ]
    lines = [
        Line(
            (row_cell(split.row), *_cells(split.accuracy, 2), *_cells(split.cross_entropy, 4)),
            group=split.model.config.model,
            seeds=describe_seeds(run.job for run in split.row.runs),
        )
        for split in found
    ]
    note = (
        "SD: standard deviation over the trainings of a row (divisor n - 1). Test set: the part "
        "that comes from the test set being a sample, estimated from how single images are "
        "predicted by one training and not by another. Left: what an endless test set would still "
        "show; variances, not SDs, add up. A share above 100% means that nothing measurable is "
        f"left. Intervals: 95%, from a jackknife over trainings. {PP_NOTE}"
    )
    return Table("test-set", "Spread and the finite test set", tuple(columns), tuple(lines), note)


def _cells(term: SamplingShare, decimals: int) -> tuple[Cell, ...]:
    sds = (term.total, term.sampling, term.remaining)
    share = Interval(*(100 * part for part in term.share))
    cell = number_cell(interval(share, lambda part: fixed(part, 0)), share.value, ends=share)
    return (*(Cell(plain(sd, decimals), sd) for sd in sds), cell)


def _figure(shown: list[_Split]) -> Figure:
    return Figure(
        "test-set",
        "What part of the variance is the finite test set",
        "Variance over the trainings of a row, in percent of its whole: what the sampling of the "
        "test set explains, with its 95% interval, and what is left. Estimates above 100% leave "
        "nothing.",
        lambda canvas: _draw(canvas, shown),
        (7.5, 1.3 + 0.38 * len(shown)),
    )


def _draw(canvas: "Canvas", shown: list[_Split]) -> None:
    left, right = panels(canvas, 1, 2)[0]
    several = len({id(split.model) for split in shown}) > 1
    names = [
        f"{split.model.config.model}: {split.row.row.name}" if several else split.row.row.name
        for split in shown
    ]
    _stack(left, [split.accuracy for split in shown])
    _stack(right, [split.cross_entropy for split in shown])
    label(left, "accuracy variance (%)", "")
    label(right, "cross-entropy variance (%)", "")
    for axes, texts in ((left, names), (right, [""] * len(names))):
        wrapped = [textwrap.fill(text, 26, break_long_words=False) for text in texts]
        axes.set_yticks(range(len(names)), wrapped, fontsize=SMALL)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.grid(False, axis="y")
    legend(canvas, [left])


def _stack(axes: "Axes", terms: list[SamplingShare]) -> None:
    """Draw a bar per row, divided into the two parts in percent of the variance."""
    places = [place for place, term in enumerate(terms) if term.total > 0]
    shares = np.array([100 * term.share.value for term in terms if term.total > 0])
    ends = np.array([[term.share.low, term.share.high] for term in terms if term.total > 0])
    explained = np.minimum(shares, 100)
    reach = np.abs(100 * ends.reshape(-1, 2).T - explained)
    axes.barh(places, explained, color=BLUE, height=0.65, label="finite test set")
    axes.barh(
        places, 100 - explained, left=explained, color=ORANGE, height=0.65, label="what is left"
    )
    axes.errorbar(
        explained,
        places,
        xerr=reach,
        linestyle="none",
        color="black",
        capsize=2,
        elinewidth=0.9,
    )
    axes.set_xlim(0, 150)
