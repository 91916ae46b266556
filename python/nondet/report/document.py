"""A report as data, before it becomes a terminal table, Markdown, LaTeX, CSV or a page.

Views (nondet.report.views) make sections from a summary; renderers know sections, not studies.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

Value = float | int | str | None


@dataclass(frozen=True)
class Column:
    """One column of a table. name: of the column in files, unique ("accuracy_sd_points"); heading
    and unit: for people ("accuracy SD", "points"). align: "left" or "right". bar: its values are
    also shown to scale where there is room.
    """

    name: str
    heading: str
    unit: str = ""
    align: str = "right"
    bar: bool = False


@dataclass(frozen=True)
class Cell:
    """What one cell shows, and the number behind it in full precision (files; None: the text)."""

    text: str
    value: Value = None
    error: float | None = None


@dataclass(frozen=True)
class Line:
    """One line of a table. group: the heading under which it stands (a model), "" for none.
    strong: set off from the others. seeds: which runs are behind it, in words ("init 2-11, others
    1").
    """

    cells: tuple[Cell, ...]
    group: str = ""
    strong: bool = False
    seeds: str = ""


@dataclass(frozen=True)
class Table:
    """name: of its files. note: what the columns mean, in sentences."""

    name: str
    title: str
    columns: tuple[Column, ...]
    lines: tuple[Line, ...]
    note: str = ""


@dataclass(frozen=True)
class Figure:
    """name: of its files. draw: draws on an empty matplotlib figure of `size` (inches). caption:
    what is drawn, in sentences; also its text for those who cannot see it.
    """

    name: str
    title: str
    caption: str
    draw: Callable[["Canvas"], None]
    size: tuple[float, float] = (7.0, 4.0)


@dataclass(frozen=True)
class Section:
    """One view of a study. findings: plain sentences computed from its numbers."""

    title: str
    findings: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    figures: tuple[Figure, ...] = ()
    text: tuple[str, ...] = ()


@dataclass(frozen=True)
class Document:
    """A whole report. subtitle: what was trained, in a sentence. notes: what a reader must know
    before trusting it. settings: lines. environment: (name, value) pairs.
    """

    title: str
    subtitle: str
    sections: tuple[Section, ...]
    notes: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    source: str = ""
    published: tuple[Table, ...] = field(default=())
