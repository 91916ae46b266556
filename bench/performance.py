"""Fill docs/performance.md from result files: its tables, and one figure a family.

``python bench/performance.py bench/results/A.json [bench/results/B.json ...]``

Each file is the run of one processor, made by ``python bench/run.py -m "table or growth" --out``.
"""

import os
import re
import sys
import textwrap
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from growth import families, fit, times
from measured import Case, Results, read
from nondet.report.colors import GREY
from nondet.report.document import Figure
from nondet.report.plots import dashes, label, legend, panels, series
from nondet.report.render.drawing import render
from report import heading, milliseconds, ratio_cells, remark

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

DOCS = Path(__file__).resolve().parents[1] / "docs"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
COLUMNS = 5


def fill(page: str, measured: str) -> str:
    """Return the page with new text between its two marks."""
    pattern = re.compile(f"{re.escape(BEGIN)}.*{re.escape(END)}", re.DOTALL)
    if not pattern.search(page):
        raise ValueError(f"the page has no {BEGIN} ... {END}")
    return pattern.sub(lambda _: f"{BEGIN}\n{measured}\n{END}", page)


def wanted_table(results: Results) -> str:
    """Return the table of the cases that have a wanted ratio; each of their peers with one."""
    lines = [
        "| case | ours, ms | against | x | processes | quartiles | |",
        "|---|---:|---|---:|---:|---:|---|",
    ]
    for case in results.cases:
        for each in case.others:
            if each.wanted is not None:
                cells = [case.name, milliseconds(case.ours), each.name, *ratio_cells(each)]
                lines.append(f"| {' | '.join([*cells, remark(each)])} |")
    return "\n".join(lines)


def exponents(results: Results) -> str:
    """Return the table of exponents of all families that grow with a size."""
    lines = [
        "| size | contender | from | to | exponent | 95% interval |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for family, cases in families(results).items():
        for name, curve in times(cases).items():
            found = None if is_of_threads(family) else fit(*curve)
            if found is not None:
                low, high = found.slope - found.half, found.slope + found.half
                lines.append(
                    f"| {family} | {name} | {found.begin:,} | {found.end:,} | "
                    f"{found.slope:.2f} | {low:.2f} to {high:.2f} |"
                )
    return "\n".join(lines)


def is_of_threads(family: str) -> bool:
    return family.endswith("threads")


def best_rate(results: Results) -> float:
    """Return the rate of the best ceiling of a run in bytes/s, 0 if none was measured."""
    rates = [
        each.moved / each.seconds
        for case in results.cases
        for each in case.contenders
        if each.role == "ceiling" and each.moved >= 4 * 10**7  # larger than the caches
    ]
    return max(rates, default=0.0)


def name_in_words(results: Results) -> str:
    """Return the processor without marks and core counts, with its instruction set."""
    words = re.sub(r"\((R|TM)\)| Processor", "", str(results.environment["processor"]))
    return f"{words.partition(' with ')[0].strip()}, {results.environment['isa']}"


def draw_growth(canvas: "Canvas", family: str, runs: list[Results]) -> None:
    """Draw time against size, on logarithmic axes: ours and peers of every run, and the time in
    which its memory moves the bytes.
    """
    axes = panels(canvas, 1, 1)[0][0]
    number = 0
    for run, results in enumerate(runs):
        cases = families(results).get(family, [])
        where = f" ({name_in_words(results)})" if len(runs) > 1 else ""
        for name, (sizes, seconds) in times(cases).items():
            axes.plot(sizes, seconds, dashes(run), label=name + where, **series(number))
            number += 1
        draw_limit(axes, cases, best_rate(results), where, dashes(run + 1))
    axes.set_xscale("log")
    axes.set_yscale("log")
    label(axes, family.rpartition(", ")[2], "seconds")
    legend(canvas, [axes], columns=2)


def draw_limit(axes: "Axes", cases: list[Case], rate: float, where: str, style: str) -> None:
    if rate and cases:
        sizes = [case.size for case in cases]
        seconds = [case.ours.moved / rate for case in cases]
        axes.plot(sizes, seconds, style, color=GREY, label=f"limit of the memory{where}")


def draw_threads(canvas: "Canvas", names: list[str], runs: list[Results]) -> None:
    """Draw the speed with several threads relative to one, a panel for each op."""
    largest = 1.0
    grid = [axes for row in panels(canvas, -(-len(names) // COLUMNS), COLUMNS) for axes in row]
    for axes, family in zip(grid, names, strict=False):
        for run, results in enumerate(runs):
            cases = [case for case in families(results).get(family, []) if case.others]
            threads = [str(case.size) for case in cases]
            speed = [case.others[0].ratio or 1.0 for case in cases]
            largest = max(largest, *speed)
            axes.plot(threads, speed, label=name_in_words(results), **series(run))
        axes.axhline(1, color=GREY, linewidth=1)
        label(axes, "threads", "speed", family.rpartition(", ")[0])
    for number, axes in enumerate(grid):
        axes.set_ylim(0, 1.1 * largest)
        axes.set_visible(number < len(names))
    legend(canvas, grid)


def figures(runs: list[Results]) -> list[Figure]:
    """Return one figure for every family that grows with a size, and one of threads."""
    found = list(dict.fromkeys(name for results in runs for name in families(results)))
    made = [
        Figure(
            name=f"performance-{slug(family)}",
            title=f"time of {family.rpartition(', ')[0]} against {family.rpartition(', ')[2]}",
            caption="",
            size=(6.5, 4.2),
            draw=partial(draw_growth, family=family, runs=runs),
        )
        for family in found
        if not is_of_threads(family)
    ]
    names = [family for family in found if is_of_threads(family)]
    if names:
        rows = -(-len(names) // COLUMNS)
        made.append(
            Figure(
                name="performance-threads",
                title="speed against threads",
                caption="",
                size=(11, 2.2 * rows + 0.8),
                draw=partial(draw_threads, names=names, runs=runs),
            )
        )
    return made


def slug(family: str) -> str:
    """Return the part of a file's name."""
    return re.sub(r"\W+", "-", re.split(r",| of ", family)[0])


def measured_part(runs: dict[str, Results], drawn: list[Figure]) -> str:
    """Return the text between the marks: by result file its table and exponents, then figures."""
    parts = []
    for name, results in runs.items():
        parts += [
            f"\n## {name_in_words(results)}\n",
            wrapped(f"[{Path(name).name}]({name}): {heading(results)}"),
            f"\n{wanted_table(results)}\n",
            f"{exponents(results)}\n",
        ]
    parts.append("\n## Figures\n")
    parts += [f"![{figure.title}](figures/{figure.name}.svg)\n" for figure in drawn]
    return "\n".join(parts)


def wrapped(text: str) -> str:
    """Return text in lines of at most 100 characters."""
    return textwrap.fill(text, 100, break_long_words=False, break_on_hyphens=False)


def main(arguments: list[str]) -> None:
    if not arguments:
        sys.exit("usage: python bench/performance.py bench/results/A.json [B.json ...]")
    paths = [Path(each).resolve() for each in arguments]
    runs = {Path(os.path.relpath(path, DOCS)).as_posix(): read(path) for path in paths}
    drawn = figures(list(runs.values()))
    for figure in drawn:
        (DOCS / "figures" / f"{figure.name}.svg").write_text(render(figure).svg)
    page = DOCS / "performance.md"
    page.write_text(fill(page.read_text(), measured_part(runs, drawn)))


if __name__ == "__main__":
    main(sys.argv[1:])
