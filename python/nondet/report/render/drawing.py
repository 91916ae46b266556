"""Figures as SVG and PNG, the same bytes for the same numbers."""

import io
import re
from dataclasses import dataclass
from typing import Any

import matplotlib
from cycler import cycler
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Canvas

from nondet.report.colors import CYCLE, GREY
from nondet.report.document import Figure

DOTS_PER_INCH = 200

_STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 10,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "axes.prop_cycle": cycler(color=CYCLE),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#E3E3E3",
    "grid.linewidth": 0.7,
    "lines.linewidth": 1.8,
    "lines.markersize": 5,
    "errorbar.capsize": 2.5,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "svg.fonttype": "none",  # text stays text: to be searched, copied, read aloud
}


@dataclass(frozen=True)
class Drawing:
    """svg: a file of its own, text as text. png: at 200 dots per inch."""

    svg: str
    png: bytes


def render(figure: Figure) -> Drawing:
    """Draws a figure in the report's style, whatever style this machine has set."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE | {"svg.hashsalt": figure.name})
        canvas = Canvas(figsize=figure.size, layout="constrained")
        FigureCanvasAgg(canvas)
        figure.draw(canvas)
        svg, png = io.StringIO(), io.BytesIO()
        metadata = {"Date": None, "Title": figure.title, "Creator": "nondet"}
        canvas.savefig(svg, format="svg", metadata=metadata)
        canvas.savefig(png, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
    lines = (line.rstrip() for line in svg.getvalue().splitlines())
    return Drawing("\n".join(lines) + "\n", png.getvalue())


def inline_svg(svg: str, prefix: str) -> str:
    """The <svg> element of a drawing, to stand in a page among others: its ids begin with `prefix`,
    and it has no style sheet, which would hold for the whole page.
    """
    element = svg[svg.index("<svg") :]
    element = re.sub(
        r"<!--.*?-->|<metadata>.*?</metadata>|<style.*?</style>", "", element, flags=re.S
    )
    references = re.compile(r'(?<=\sid=")|(?<=href="#)|(?<=url\(#)')
    element = re.sub(r"<[^>]+>", lambda tag: references.sub(f"{prefix}-", tag[0]), element)
    # What matplotlib's style sheet says of every element, said of the root and inherited.
    style = 'style="stroke-linejoin: round; stroke-linecap: butt"'
    return element.replace("<svg", f'<svg {style} aria-hidden="true"', 1).strip()
