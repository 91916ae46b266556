"""A report as data: what `nondet.report.views` make and `nondet.report.render` writes.

Views make sections from a summary; renderers know sections, not studies.
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
    """A column of a table. name: its unique name in files ("accuracy_sd_points"). heading, unit:
    shown to people ("accuracy SD", "pp"). align: "left" or "right". bar: also draw its values as
    bars where there is room.
    """

    name: str
    heading: str
    unit: str = ""
    align: str = "right"
    bar: bool = False

    @property
    def label(self) -> str:
        """Return heading and unit on one line."""
        return f"{self.heading} ({self.unit})" if self.unit else self.heading


@dataclass(frozen=True)
class Cell:
    """A cell: the text shown and its value in full precision, for files; without a value files have
    the text. error: the error bar. interval: the ends of the confidence interval; files have a
    column for each end.
    """

    text: str
    value: Value = None
    error: float | None = None
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class Line:
    """A row of a table. group: the heading above it (a model), "" for none. strong: set in bold.
    seeds: the seeds of its runs in words ("init 2-11, all others 1").
    """

    cells: tuple[Cell, ...]
    group: str = ""
    strong: bool = False
    seeds: str = ""


@dataclass(frozen=True)
class Table:
    """A table. name: the stem of its files. note: sentences that explain the columns. grouping: the
    kind of the lines' groups ("model"). detail: True if the terminal, short of room, leaves it out.
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
        """Return True if any line has a group."""
        return any(line.group for line in self.lines)

    @property
    def seeds(self) -> bool:
        """Return True if any line states its seeds."""
        return any(line.seeds for line in self.lines)

    def share(self, line: Line, column: int) -> float:
        """Return the length of a cell's bar: its number divided by the column's largest, in [0, 1];
        0 where the cell has no finite number.
        """
        numbers = [_number(other.cells[column].value) for other in self.lines]
        largest = max(numbers, default=0.0)
        return max(_number(line.cells[column].value), 0.0) / largest if largest > 0 else 0.0


def _number(value: Value) -> float:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else 0.0


@dataclass(frozen=True)
class Figure:
    """A figure. name: the stem of its files. draw: draws on an empty matplotlib figure of `size`
    (inches). caption: sentences that describe it, also to readers who cannot see it.
    """

    name: str
    title: str
    caption: str
    draw: Callable[["Canvas"], None]
    size: tuple[float, float] = (7.0, 4.0)


@dataclass(frozen=True)
class Section:
    """The output of a view. findings: sentences computed from the study's numbers. text: remarks,
    such as which runs were left out.
    """

    title: str
    findings: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    figures: tuple[Figure, ...] = ()
    text: tuple[str, ...] = ()


@dataclass(frozen=True)
class Document:
    """A whole report. subtitle: the models, data and length of training in a sentence. notes:
    failed, missing and damaged runs, and other reasons for caution. settings: lines. environment:
    (name, value) pairs. source: the work that the study repeats. published: tables that compare its
    results with published ones. warning: the first line, if the runs must not be compared.
    commands: what trained the runs, each with its date and duration. runs: what runs.csv holds.
    """

    title: str
    subtitle: str
    sections: tuple[Section, ...]
    notes: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    source: str = ""
    published: tuple[Table, ...] = ()
    warning: str = ""
    commands: tuple[tuple[str, str], ...] = ()
    runs: str = "every run with its seeds and results"

    @property
    def all_sections(self) -> tuple[Section, ...]:
        """Return the sections, followed by one of published numbers if there are any."""
        if not self.published:
            return self.sections
        return (*self.sections, Section("Published numbers", tables=self.published))
