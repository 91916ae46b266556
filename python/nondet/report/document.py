"""A report as data, before it becomes a terminal table, Markdown, LaTeX, CSV or a page.

Views (nondet.report.views) make sections from a summary; renderers know sections, not studies.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

Value = float | int | str | None


@dataclass(frozen=True)
class Column:
    """One column of a table. name: of the column in files, unique ("accuracy_sd_points"); heading
    and unit: for people ("accuracy SD", "pp"). align: "left" or "right". bar: its values are
    also shown to scale where there is room.
    """

    name: str
    heading: str
    unit: str = ""
    align: str = "right"
    bar: bool = False

    @property
    def label(self) -> str:
        """Heading and unit on one line."""
        return f"{self.heading} ({self.unit})" if self.unit else self.heading


@dataclass(frozen=True)
class Cell:
    """What one cell shows, and the number behind it in full precision (files; None: the text).
    error: its error bar. interval: the ends of its confidence interval; files have a column for
    each end.
    """

    text: str
    value: Value = None
    error: float | None = None
    interval: tuple[float, float] | None = None


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
    """name: of its files. note: what the columns mean, in sentences. grouping: what the groups of
    its lines are. detail: left out where room is scarce, on the terminal.
    """

    name: str
    title: str
    columns: tuple[Column, ...]
    lines: tuple[Line, ...]
    note: str = ""
    grouping: str = "model"
    detail: bool = False

    @property
    def grouped(self) -> bool:
        """Whether any line stands under a heading."""
        return any(line.group for line in self.lines)

    @property
    def seeds(self) -> bool:
        """Whether any line says which runs are behind it."""
        return any(line.seeds for line in self.lines)

    def share(self, line: Line, column: int) -> float:
        """A number as a fraction of the largest of its column, from 0 to 1: what its bar is drawn
        to; 0 where there is none.
        """
        numbers = [_number(other.cells[column].value) for other in self.lines]
        largest = max(numbers, default=0.0)
        return max(_number(line.cells[column].value), 0.0) / largest if largest > 0 else 0.0


def _number(value: Value) -> float:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else 0.0


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
    before trusting it. settings: lines. environment: (name, value) pairs. source: what the study is
    after. published: numbers of others beside one's own.
    """

    title: str
    subtitle: str
    sections: tuple[Section, ...]
    notes: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    source: str = ""
    published: tuple[Table, ...] = ()

    @property
    def all_sections(self) -> tuple[Section, ...]:
        """The sections, and one of the published numbers if there are any."""
        if not self.published:
            return self.sections
        return (*self.sections, Section("Published numbers", tables=self.published))
