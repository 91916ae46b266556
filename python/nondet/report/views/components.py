"""How much of the variance each source and each interaction explains, from the full cross product
of seeds whose price the paper names (Appendix D): a balanced crossed random-effects design.
"""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from nondet.analysis.resampling import bootstrap
from nondet.analysis.stats import Components, Interval, components
from nondet.analysis.summary import RowSummary, Summary
from nondet.report import plots
from nondet.report.columns import PP_NOTE
from nondet.report.document import Cell, Column, Figure, Line, Section, Table
from nondet.report.text import (
    describe_seeds,
    fixed,
    interval,
    number,
    percentage_interval,
    plural,
)
from nondet.report.views._common import SOURCE_NAMES, measured
from nondet.studies.seeds import HELD

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

Effect = tuple[int, ...]

CROSS_ENTROPY, ACCURACY = "cross-entropy", "accuracy"
_UNITS = {CROSS_ENTROPY: "nats", ACCURACY: "pp"}


@dataclass(frozen=True, eq=False)
class _Crossed:
    """A whole crossed row and the components of each metric; accuracy in percent."""

    name: str
    row: RowSummary
    parts: dict[str, Components]

    @property
    def sources(self) -> list[str]:
        """In words, in the row's order."""
        return [SOURCE_NAMES[source] for source in self.row.row.varies]

    def effect_name(self, effect: Effect) -> str:
        """The sources of an effect in words."""
        return " x ".join(self.sources[source] for source in effect)

    def sd(self, metric: str) -> float:
        """The square root of the sum of all components."""
        return float(np.sqrt(sum(one.value for one in self.parts[metric].effects.values())))


def view(summary: Summary) -> Section | None:
    """Tables, a figure and sentences for every model with a crossed row; what is missing, where a
    row lacks a cell.
    """
    whole: list[_Crossed] = []
    text: list[str] = []
    any_crossed = False
    for model in summary.models:
        crossed = [row for row in model.rows if row.row.design == "crossed"]
        for row in crossed:
            any_crossed = True
            name = model.config.model + (f", {row.row.name}" if len(crossed) > 1 else "")
            cells = _cells(row)
            absent = int(np.isnan(cells[CROSS_ENTROPY]).sum())
            if absent:
                failed = f", {len(row.failed)} because they failed" if row.failed else ""
                text.append(
                    f"{name}: {absent} of {plural(row.planned, 'combination')} of seeds are "
                    f"missing{failed}. Without all of them no components are computed."
                )
                continue
            parts = {
                metric: components(values, bootstrap(f"components {metric}"))
                for metric, values in cells.items()
            }
            whole.append(_Crossed(name, row, parts))
    if not any_crossed:
        return None
    spread = [one for one in whole if any(one.sd(metric) > 0 for metric in _UNITS)]
    return Section(
        "Variance components",
        findings=tuple(sentence for one in whole for sentence in _findings(one)),
        tables=(_effects_table(whole), _sources_table(whole)) if whole else (),
        figures=(_figure(spread),) if spread else (),
        text=tuple(text),
    )


def _cells(row: RowSummary) -> dict[str, np.ndarray]:
    """Cross-entropies in nats and accuracies in percent, (levels,) * sources; NaN where a run is
    missing.
    """
    assert row.row.levels is not None
    shape = (row.row.levels,) * len(row.row.varies)
    cells = {metric: np.full(shape, np.nan) for metric in _UNITS}
    for run in row.runs:
        place = tuple(getattr(run.job.seeds, source) - HELD - 1 for source in row.row.varies)
        cells[CROSS_ENTROPY][place] = run.cross_entropy
        cells[ACCURACY][place] = 100 * run.accuracy
    return cells


def _findings(one: _Crossed) -> list[str]:
    """How far results spread in all, what the sources alone explain, and what interactions do."""
    total = one.sd(CROSS_ENTROPY)
    if total == 0:
        return [f"{one.name}: no combination of seeds changes the cross-entropy."]
    parts = one.parts[CROSS_ENTROPY]
    sentences = [
        f"{one.name}: over all combinations of seeds cross-entropy has an SD of {number(total)} "
        f"nats and accuracy one of {number(one.sd(ACCURACY))} percentage points."
    ]
    order = sorted(range(len(one.sources)), key=lambda s: -parts.first_order[s].value)
    told = [f"{one.sources[s]} {percentage_interval(parts.first_order[s])}" for s in order]
    sentences.append(
        f"{one.name}: alone, a source explains of the variance of cross-entropy: {'; '.join(told)}."
    )
    if len(one.sources) > 1:
        sentences.append(_interactions(one, parts))
    return sentences


def _interactions(one: _Crossed, parts: Components) -> str:
    share = parts.interactions
    if share.low > 0.5:
        meaning = "most of it depends on which seeds meet, not on any seed alone"
    elif share.high < 0.5:
        meaning = "most of it is the sources' own, whichever seeds they meet"
    else:
        meaning = "the data leave open whether that is more than half"
    return f"{one.name}: interactions of sources explain {percentage_interval(share)}: {meaning}."


def _effects_table(whole: Sequence[_Crossed]) -> Table:
    lines = []
    for one in whole:
        seeds = describe_seeds(run.job for run in one.row.runs)
        for effect in one.parts[CROSS_ENTROPY].effects:
            cells = [Cell(one.effect_name(effect))]
            for metric in _UNITS:
                parts = one.parts[metric]
                variance, share = parts.effects[effect], parts.shares[effect]
                sd = Interval(*np.sqrt(variance).tolist())
                cells.append(measured(number(sd.value), sd.value, ends=sd))
                cells.append(_share(share))
            lines.append(Line(tuple(cells), one.name, seeds=seeds))
        totals = [Cell("all effects")]
        for metric in _UNITS:
            sd_of_all = one.sd(metric)
            totals += [Cell(number(sd_of_all), sd_of_all), Cell("")]
        lines.append(Line(tuple(totals), one.name, strong=True, seeds=seeds))
    columns = [Column("effect", "effect", align="left")]
    for metric, unit in _UNITS.items():
        name = metric.replace("-", "_")
        columns.append(Column(f"{name}_sd", f"{metric} SD", unit))
        columns.append(Column(f"{name}_share", "of its variance", "%"))
    return Table(
        "components",
        "Variance components of the cross product of seeds",
        tuple(columns),
        tuple(lines),
        note="SD: the square root of the variance that a source (or an interaction, marked x) adds "
        "to every result, estimated from mean squares, negative estimates as 0. Share: of the sum "
        "of all these variances, with its 95% interval. Training is deterministic, so that the "
        "interaction of all sources has no noise in it: it is what only a whole combination of "
        f"seeds decides. {PP_NOTE}",
    )


def _sources_table(whole: Sequence[_Crossed]) -> Table:
    lines = []
    for one in whole:
        seeds = describe_seeds(run.job for run in one.row.runs)
        for number_, source in enumerate(one.sources):
            cells = [Cell(source)]
            for metric in _UNITS:
                parts = one.parts[metric]
                cells += [_share(parts.first_order[number_]), _share(parts.total[number_])]
            lines.append(Line(tuple(cells), one.name, seeds=seeds))
    columns = [Column("source", "source", align="left")]
    for metric in _UNITS:
        name = metric.replace("-", "_")
        columns.append(Column(f"{name}_first_order", f"{metric}: alone", "%"))
        columns.append(Column(f"{name}_total", "with interactions", "%"))
    return Table(
        "components-sources",
        "First-order and total shares",
        tuple(columns),
        tuple(lines),
        note="Shares of the variance with 95% intervals: of a source alone (first-order), and of "
        "all effects in which it takes part (total). Totals add up to more than 100% where there "
        "are interactions.",
    )


def _share(share: Interval) -> Cell:
    """A share in percent with its interval."""
    percent = Interval(*(100 * end for end in share))
    return measured(interval(percent, lambda end: fixed(end, 0)), percent.value, ends=percent)


def _figure(whole: Sequence[_Crossed]) -> Figure:
    effects = sum(len(one.parts[CROSS_ENTROPY].effects) for one in whole)
    return Figure(
        "components",
        "Share of the variance by source and interaction",
        "Share of the variance of cross-entropy and of accuracy that each source alone and each "
        "interaction of sources explains, over all combinations of seeds. Bars are 95% intervals.",
        partial(_draw, whole),
        size=(7.0, 1.3 + 0.9 * len(whole) + 0.36 * effects),
    )


def _draw(whole: Sequence[_Crossed], canvas: "Canvas") -> None:
    grid = plots.panels(canvas, len(whole), 1)
    for one, (axes,) in zip(whole, grid, strict=True):
        _draw_bars(axes, one)
    plots.legend(canvas, [line[0] for line in grid])


def _draw_bars(axes: "Axes", one: _Crossed) -> None:
    """A pair of bars per effect, the first effect at the top."""
    effects = list(one.parts[CROSS_ENTROPY].effects)
    places = np.arange(len(effects), dtype=np.float64)
    for place, metric in enumerate(_UNITS):
        if one.sd(metric) == 0:
            continue
        shares = one.parts[metric].shares
        values = 100 * np.array([shares[effect] for effect in effects])
        axes.barh(
            places + (place - 0.5) * 0.38,
            values[:, 0],
            0.36,
            color=plots.series(place)["color"],
            label=metric,
            xerr=np.maximum([values[:, 0] - values[:, 1], values[:, 2] - values[:, 0]], 0),
            error_kw={"elinewidth": 1.0, "capsize": 2},
        )
    plots.label(axes, "share of the variance (%)", "", one.name)
    axes.grid(False, axis="y")
    names = [textwrap.fill(one.effect_name(effect), 28) for effect in effects]
    axes.set_yticks(places, names)
    axes.set_ylim(len(effects) - 0.5, -0.5)
    axes.set_xlim(0, 100)
