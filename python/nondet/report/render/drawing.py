"""Rendering figures as SVG and PNG; equal numbers give equal bytes."""

import io
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import matplotlib
from cycler import cycler
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Canvas
from matplotlib.text import Text
from matplotlib.ticker import FixedFormatter, FuncFormatter

from nondet.characters import printable
from nondet.report.colors import CYCLE, GREY
from nondet.report.document import Figure
from nondet.report.layout import one_line

DOTS_PER_INCH = 200

_POWER = re.compile(r"\$\\mathdefault\{[^$]*\}\$|")

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
    "svg.fonttype": "none",  # keeps text as text, for search, copying and screen readers
}


@dataclass(frozen=True)
class Drawing:
    """A rendered figure. svg: a whole file, whose text is text. png: 200 dots per inch."""

    svg: str
    png: bytes


def render(figure: Figure) -> Drawing:
    """Draw a figure in the report's style, whatever matplotlib style is set."""
    with matplotlib.rc_context(), warnings.catch_warnings():
        # A letter that the font of the PNG lacks is a box there; the SVG leaves it to the reader's.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE | {"svg.hashsalt": figure.name})
        canvas = Canvas(figsize=figure.size, layout="constrained")
        FigureCanvasAgg(canvas)
        figure.draw(canvas)
        _make_safe(canvas)
        svg, png = io.StringIO(), io.BytesIO()
        metadata = {"Date": None, "Title": one_line(figure.title), "Creator": "nondet"}
        canvas.savefig(svg, format="svg", metadata=metadata)
        canvas.savefig(png, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
    lines = (line.rstrip() for line in svg.getvalue().splitlines())
    return Drawing("\n".join(lines) + "\n", png.getvalue())


def _make_safe(canvas: Canvas) -> None:
    """Replace control characters in the texts of a figure, and show "$" as it is: a name is no
    formula. Formulas are those that matplotlib writes itself, for powers of ten.
    """
    for axes in canvas.axes:
        for axis in (axes.xaxis, axes.yaxis):
            for formatter in (axis.get_major_formatter(), axis.get_minor_formatter()):
                if isinstance(formatter, FuncFormatter):
                    formatter.func = partial(_formatted, formatter.func)
                elif isinstance(formatter, FixedFormatter):
                    formatter.seq = list(map(_shown, formatter.seq))
    for text in canvas.findobj(Text):
        assert isinstance(text, Text)
        text.set_text(_shown(text.get_text()))


def _formatted(function: Callable[..., str], value: float, position: int | None = None) -> str:
    return _shown(function(value, position))


def _shown(text: str) -> str:
    safe = printable(text, lines=True)
    return safe if _POWER.fullmatch(safe) else re.sub(r"(?<!\\)\$", r"\\$", safe)


def inline_svg(svg: str, prefix: str) -> str:
    """Return the <svg> element of a file, for a page that holds several: its ids begin with
    `prefix`, and its style sheet, which would apply to the whole page, is removed.
    """
    element = svg[svg.index("<svg") :]
    element = re.sub(
        r"<!--.*?-->|<metadata>.*?</metadata>|<style.*?</style>", "", element, flags=re.S
    )
    references = re.compile(r'(?<=\sid=")|(?<=href="#)|(?<=url\(#)')
    element = re.sub(r"<[^>]+>", lambda tag: references.sub(f"{prefix}-", tag[0]), element)
    # Matplotlib's style sheet sets these for all elements; here they inherit them from the root.
    style = 'style="stroke-linejoin: round; stroke-linecap: butt"'
    return element.replace("<svg", f'<svg {style} aria-hidden="true"', 1).strip()
