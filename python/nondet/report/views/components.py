"""The share of the variance that each source and each interaction of sources explains.

It is estimated from the cross product of seeds that the paper describes (Appendix D), a balanced
crossed random-effects design.
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
from nondet.report.views._common import SOURCE_NAMES, number_cell
from nondet.studies.seeds import number_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

Effect = tuple[int, ...]

CROSS_ENTROPY, ACCURACY = "cross-entropy", "accuracy"
_UNITS = {CROSS_ENTROPY: "nats", ACCURACY: "pp"}


@dataclass(frozen=True, eq=False)
class _Crossed:
    """A complete crossed row and the variance components of each metric; accuracy in percent."""

    name: str
    row: RowSummary
    parts: dict[str, Components]

    @property
    def sources(self) -> list[str]:
        """Return the names of the sources, in the row's order."""
        return [SOURCE_NAMES[source] for source in self.row.row.varies]

    def effect_name(self, effect: Effect) -> str:
        """Return the names of an effect's sources, joined by "x"."""
        return " x ".join(self.sources[source] for source in effect)

    def sd(self, metric: str) -> float:
        """Return the square root of the sum of all components."""
        effects = self.parts[metric].effects.values()
        return float(np.sqrt(sum(variance.value for variance in effects)))


def view(summary: Summary) -> Section | None:
    """Return a section on the crossed rows, with a remark for each incomplete one; None without
    crossed rows.
    """
    whole: list[_Crossed] = []
    text: list[str] = []
    any_crossed = False
    for model in summary.models:
        rows = [row for row in model.rows if row.row.design == "crossed"]
        for row in rows:
            any_crossed = True
            name = model.config.model + (f", {row.row.name}" if len(rows) > 1 else "")
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
    spread = [row for row in whole if any(row.sd(metric) > 0 for metric in _UNITS)]
    return Section(
        "Variance components",
        findings=tuple(sentence for row in whole for sentence in _findings(row)),
        tables=(_effects_table(whole), _sources_table(whole)) if whole else (),
        figures=(_figure(spread),) if spread else (),
        text=tuple(text),
    )


def _cells(row: RowSummary) -> dict[str, np.ndarray]:
    """Return cross-entropies in nats and accuracies in percent, one axis of length `levels` per
    source; NaN where a run is missing.
    """
    assert row.row.levels is not None
    shape = (row.row.levels,) * len(row.row.varies)
    cells = {metric: np.full(shape, np.nan) for metric in _UNITS}
    for run in row.runs:
        constant = run.job.config.held_seed
        place = tuple(
            number_of(getattr(run.job.seeds, source), constant) for source in row.row.varies
        )
        cells[CROSS_ENTROPY][place] = run.cross_entropy
        cells[ACCURACY][place] = 100 * run.accuracy
    return cells


def _findings(crossed: _Crossed) -> list[str]:
    """Return findings on the total SD, on the shares of single sources and on interactions."""
    total = crossed.sd(CROSS_ENTROPY)
    if total == 0:
        return [f"{crossed.name}: no combination of seeds changes the cross-entropy."]
    parts = crossed.parts[CROSS_ENTROPY]
    sentences = [
        f"{crossed.name}: over all combinations of seeds cross-entropy has an SD of "
        f"{number(total)} nats and accuracy one of {number(crossed.sd(ACCURACY))} percentage "
        "points."
    ]
    order = sorted(range(len(crossed.sources)), key=lambda s: -parts.first_order[s].value)
    shares = [f"{crossed.sources[s]} {percentage_interval(parts.first_order[s])}" for s in order]
    sentences.append(
        f"{crossed.name}: alone, a source explains of the variance of cross-entropy: "
        f"{'; '.join(shares)}."
    )
    if len(crossed.sources) > 1:
        sentences.append(_interactions(crossed, parts))
    return sentences


def _interactions(crossed: _Crossed, parts: Components) -> str:
    share = parts.interactions
    if share.low > 0.5:
        meaning = "most of it depends on which seeds meet, not on any seed alone"
    elif share.high < 0.5:
        meaning = "most of it is the sources' own, whichever seeds they meet"
    else:
        meaning = "the data leave open whether that is more than half"
    return (
        f"{crossed.name}: interactions of sources explain {percentage_interval(share)}: {meaning}."
    )


def _effects_table(whole: Sequence[_Crossed]) -> Table:
    lines = []
    for crossed in whole:
        seeds = describe_seeds(run.job for run in crossed.row.runs)
        for effect in crossed.parts[CROSS_ENTROPY].effects:
            cells = [Cell(crossed.effect_name(effect))]
            for metric in _UNITS:
                parts = crossed.parts[metric]
                variance, share = parts.effects[effect], parts.shares[effect]
                sd = Interval(*np.sqrt(variance).tolist())
                cells.append(number_cell(number(sd.value), sd.value, ends=sd))
                cells.append(_share(share))
            lines.append(Line(tuple(cells), crossed.name, seeds=seeds))
        totals = [Cell("all effects")]
        for metric in _UNITS:
            sd_of_all = crossed.sd(metric)
            totals += [Cell(number(sd_of_all), sd_of_all), Cell("")]
        lines.append(Line(tuple(totals), crossed.name, strong=True, seeds=seeds))
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
    for crossed in whole:
        seeds = describe_seeds(run.job for run in crossed.row.runs)
        for number_, source in enumerate(crossed.sources):
            cells = [Cell(source)]
            for metric in _UNITS:
                parts = crossed.parts[metric]
                cells += [_share(parts.first_order[number_]), _share(parts.total[number_])]
            lines.append(Line(tuple(cells), crossed.name, seeds=seeds))
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
    """Return a cell with a share in percent and its interval."""
    percent = Interval(*(100 * end for end in share))
    return number_cell(interval(percent, lambda end: fixed(end, 0)), percent.value, ends=percent)


def _figure(whole: Sequence[_Crossed]) -> Figure:
    effects = sum(len(row.parts[CROSS_ENTROPY].effects) for row in whole)
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
    for crossed, (axes,) in zip(whole, grid, strict=True):
        _draw_bars(axes, crossed)
    plots.legend(canvas, [line[0] for line in grid])


def _draw_bars(axes: "Axes", crossed: _Crossed) -> None:
    """Draw a bar per effect and metric, the first effect at the top."""
    effects = list(crossed.parts[CROSS_ENTROPY].effects)
    places = np.arange(len(effects), dtype=np.float64)
    for place, metric in enumerate(_UNITS):
        if crossed.sd(metric) == 0:
            continue
        shares = crossed.parts[metric].shares
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
    plots.label(axes, "share of the variance (%)", "", crossed.name)
    axes.grid(False, axis="y")
    names = [textwrap.fill(crossed.effect_name(effect), 28) for effect in effects]
    axes.set_yticks(places, names)
    axes.set_ylim(len(effects) - 0.5, -0.5)
    axes.set_xlim(0, 100)
