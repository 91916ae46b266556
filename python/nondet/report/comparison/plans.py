"""The report of how many runs a comparison needs."""

import math
from typing import TYPE_CHECKING

from nondet.analysis.comparison.planning import RunPlan
from nondet.analysis.comparison.scores import Scores
from nondet.report.colors import BLUE, GREY
from nondet.report.comparison.units import Units, count, interval_cell, units
from nondet.report.document import Cell, Column, Document, Figure, Line, Section, Table
from nondet.report.plots import label, legend, panels, whole_ticks
from nondet.report.text import fixed, percentage_interval, plural

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas


def plan_document(plan: RunPlan, pilot: Scores) -> Document:
    """Return the report of a plan: the number of runs, what would save some, and a figure."""
    shown = units(pilot.percent, [plan.sd.value, plan.detect])
    return Document(
        title=f"How many runs of {pilot.name} show a difference of {_amount(plan.detect, shown)}?",
        subtitle=f"From a pilot of {plural(len(pilot.complete), 'run')}; score: {pilot.score}.",
        sections=(
            Section(
                "Answer",
                findings=(sentence(plan, shown), *_savings(plan)),
                figures=(_figure(plan, shown),),
            ),
            Section("Runs needed", tables=(_needed_table(plan, shown),)),
        ),
        notes=tuple(dict.fromkeys((*pilot.notes, *plan.notes))),
    )


def sentence(plan: RunPlan, shown: Units) -> str:
    """Return the number of runs that a plan asks for, in words."""
    what = "pairs of runs" if plan.paired else "runs of each method"
    amount = _amount(plan.detect, shown)
    if not math.isfinite(plan.runs.value):
        return f"No number of {what} shows a difference of {amount} for all that the pilot says."
    low, high = plan.runs.low, plan.runs.high
    rough = ""
    if not math.isnan(low):
        ends = f"{count(low)} to {count(high)}" if math.isfinite(high) else f"at least {count(low)}"
        rough = f" ({ends}, since the pilot knows its standard deviation but roughly)"
    return (
        f"{count(plan.runs.value)} {what} show a difference of {amount} with probability "
        f"{plan.power:g}{rough}."
    )


def _amount(value: float, shown: Units) -> str:
    return f"{value:g} {shown.difference}".strip()


def _savings(plan: RunPlan) -> list[str]:
    """Return what pairing saves."""
    if not plan.paired or plan.saved is None:
        return []
    unpaired = count(plan.unpaired_runs.value)
    return [
        f"Pairing saves {percentage_interval(plan.saved, 'the runs')}: without it {unpaired} runs "
        "of each method are needed."
    ]


def _needed_table(plan: RunPlan, shown: Units) -> Table:
    """Return a table of the runs needed as the pilot was, unpaired, and with averaging."""
    columns = (
        Column("way", "way", align="left"),
        Column("runs", "runs needed"),
        Column("variance_ratio", "variance beside the pilot"),
    )
    own = "paired, as the pilot" if plan.paired else "as the pilot"
    lines = [Line((Cell(own), interval_cell(plan.runs, count), Cell("1", 1)), strong=True)]
    if plan.paired:
        cells = (Cell("not paired"), interval_cell(plan.unpaired_runs, count), Cell("-"))
        lines.append(Line(cells))
    for name, ratio in plan.averaging.items():
        cells = (
            Cell(name),
            interval_cell(plan.averaging_runs[name], count),
            interval_cell(ratio, lambda value: fixed(value, 2)),
        )
        lines.append(Line(cells))
    spread = f"{interval_cell(plan.sd, shown.value).text} {shown.difference}".strip()
    note = (
        "Intervals come from the uncertainty of the standard deviation of the difference of one "
        f"run of each method, {spread}. Averaged predictions: the runs if both methods were scored "
        "so; their intervals take only the ratio of variances for uncertain."
    )
    return Table("runs-needed", "Runs needed", columns, tuple(lines), note)


def _figure(plan: RunPlan, shown: Units) -> Figure:
    what = "pairs of runs" if plan.paired else "runs of each method"
    caption = (
        f"The probability that a difference of {_amount(plan.detect, shown)} is found, by the "
        f"number of {what}; the band is the {100 * plan.confidence:g}% interval of the pilot's "
        f"standard deviation. Dashed: the power asked for, {plan.power:g}."
    )
    return Figure(
        "power", "Power against runs", caption, lambda canvas: _draw(canvas, plan, what), (6.5, 3.6)
    )


def _draw(canvas: "Canvas", plan: RunPlan, what: str) -> None:
    ((axes,),) = panels(canvas, 1, 1)
    ends = (plan.curve_low, plan.curve_high)
    axes.fill_between(plan.curve_runs, *ends, color=BLUE, alpha=0.18, linewidth=0)
    axes.plot(plan.curve_runs, plan.curve, color=BLUE, label="power")
    axes.axhline(plan.power, color=GREY, linestyle="--", linewidth=1, label="asked for")
    if plan.curve_runs[0] <= plan.runs.value <= plan.curve_runs[-1]:
        axes.plot([plan.runs.value], [plan.power], "o", color="black", label="runs needed")
    axes.set_ylim(0, 1.02)
    axes.set_xlim(plan.curve_runs[0], plan.curve_runs[-1])
    whole_ticks(axes)
    label(axes, what, "probability of finding it")
    legend(canvas, [axes])
