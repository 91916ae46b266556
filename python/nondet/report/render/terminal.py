"""Printing a report on the terminal, at most 100 columns wide, in ASCII where needed.

No word is broken, and a table that loses columns for lack of room says which, and where they are.
"""

import os
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table as Grid
from rich.text import Text

from nondet.characters import printable
from nondet.report.document import Cell, Column, Document, Section, Table
from nondet.report.layout import groups

WIDTH = 100
_BAR_CELLS = 14
_EIGHTHS = " ▏▎▍▌▋▊▉"
_ASCII = {
    "±": "+-",
    "\N{MULTIPLICATION SIGN}": "x",
    "\N{EN DASH}": "-",
    "—": "-",
    "\N{MINUS SIGN}": "-",
    "•": "*",
    "…": "...",
    "≤": "<=",
}
_ASCII |= {
    "≥": ">=",
    "→": "->",
    "·": ".",
    "\N{RIGHT SINGLE QUOTATION MARK}": "'",
    "“": '"',
    "”": '"',
    "\u202f": " ",
    "\xa0": " ",
}

_RULED = box.Box("    \n    \n -- \n" + "    \n" * 5, ascii=True)


class _Console(Console):
    """A console that lets the command end as it wants to if nobody reads its output any more."""

    def on_broken_pipe(self) -> None:
        raise  # this is called while a BrokenPipeError is handled


def make_console(stderr: bool = False) -> Console:
    """Return a console of the terminal's width, at most 100 columns.

    If the output is no terminal, the width is that of the variable COLUMNS, by default 100.
    """
    console = _Console(highlight=False, stderr=stderr)
    if console.is_terminal:
        console.width = min(console.width, WIDTH)
    else:
        columns = os.environ.get("COLUMNS", "")
        console.width = max(int(columns), 1) if columns.isdecimal() else WIDTH
    return console


class Heading(NamedTuple):
    """The heading of a column. right: aligned to the right. least: the least width of a column
    whose cells are wrapped; 0 for one that is not.
    """

    text: str
    right: bool = True
    least: int = 0


def print_columns(
    console: Console,
    headings: Sequence[Heading],
    rows: Sequence[Sequence[str] | None],
    where: str,
) -> None:
    """Print a table, without its last columns where there is no room; a note names them.

    rows: the texts of each row; None for a line between rows. where: what has the columns that are
    left out: "`--json` has them".
    """

    def grid(columns: int) -> Grid:
        made = Grid(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
        for number, heading in enumerate(headings[:columns]):
            texts = [heading.text, *(row[number] for row in rows if row is not None)]
            made.add_column(
                Text(heading.text),
                justify="right" if heading.right else "left",
                no_wrap=not heading.least,
                min_width=heading.least or max(map(_width, texts)),
            )
        for row in rows:
            if row is None:
                made.add_section()
            else:
                made.add_row(*(Text(printable(text)) for text in row[:columns]))
        return made

    shown = len(headings)
    while shown > 1 and _least_width(console, grid(shown)) > console.width:
        shown -= 1
    console.print(grid(shown))
    _Printer(console).left_out([heading.text for heading in headings[shown:]], where)


def _width(text: str) -> int:
    return max(map(cell_len, text.split("\n")))


def _least_width(console: Console, grid: Grid) -> int:
    """Return the width below which a table would break a word."""
    return Measurement.get(console, console.options.update(max_width=1 << 16), grid).minimum


def print_document(document: Document, console: Console, folder_line: str = "") -> None:
    """Print the sections' tables and findings, the notes, and `folder_line`, which says where the
    files are, if they are anywhere.
    """
    printer = _Printer(console)
    printer.sentences([document.warning], "!", style="bold red")
    console.print(Text(f"\n {printer.fit(document.title)}", style="bold"))
    printer.sentences([document.subtitle], style="dim")
    for section in document.all_sections:
        printer.section(section, headed=len(document.all_sections) > 1)
    printer.sentences(document.notes, "!", style="yellow")
    if folder_line:
        console.print(Text(f"\n {printer.fit(folder_line)}", style="dim"), soft_wrap=True)


def bar(share: float, unicode: bool = True) -> str:
    """Return a bar: 14 cells for a share of 1, empty below a sixteenth of a cell."""
    if not unicode:
        return "#" * round(share * _BAR_CELLS)
    full, rest = divmod(round(share * _BAR_CELLS * 8), 8)
    return "█" * full + (_EIGHTHS[rest] if rest else "")


class _Printer:
    """Prints on one console, in characters that its encoding has."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.unicode = console.encoding.lower().startswith("utf")

    def fit(self, text: str) -> str:
        """Return the text in printable characters of the console's encoding."""
        text = printable(text, lines=True)
        if self.unicode:
            return text
        plain = "".join(_ASCII.get(character, character) for character in text)
        encoding = self.console.encoding
        return plain.encode(encoding, "replace").decode(encoding)

    def sentences(self, sentences: Iterable[str], bullet: str = "", style: str = "") -> None:
        """Print sentences, each wrapped and after a bullet if there is one."""
        for sentence in sentences:
            if sentence:
                filled = textwrap.fill(
                    self.fit(sentence),
                    self.console.width - 1,
                    initial_indent=f" {self.fit(bullet)} " if bullet else " ",
                    subsequent_indent="   " if bullet else " ",
                    break_on_hyphens=False,
                    break_long_words=False,
                )
                self.console.print(Text(filled, style=style), soft_wrap=True)

    def left_out(self, headings: Iterable[str], where: str) -> None:
        """Say which columns of a table are left out; nothing if there are none."""
        names = ", ".join(" ".join(heading.split()) for heading in headings)
        if names:
            self.sentences([f"Left out for lack of room: {names}; {where}."], style="dim")

    def section(self, section: Section, headed: bool) -> None:
        """Print a section's text, tables and findings, without figures and tables of details."""
        if headed:
            self.console.print(Text(f"\n {self.fit(section.title)}", style="bold underline"))
        self.sentences(section.text, style="dim")
        tables = [table for table in section.tables if not table.detail]
        for table in tables:
            if len(tables) > 1 or (headed and table.title != section.title):
                self.console.print(Text(f"\n {self.fit(table.title)}", style="bold"))
            self.sentences([table.note], style="dim")
            grid, shown = self.layout(table)
            self.console.print(grid)
            rest = [column.label for column in table.columns[shown:]]
            self.left_out(rest, f"tables/{table.name}.csv has them")
        self.sentences(section.findings, "•")

    def layout(self, table: Table) -> tuple[Grid, int]:
        """Return the table, without bars and then without its last columns if it is too wide, and
        how many columns it has.
        """
        for columns, bars in _variants(table):
            grid = self.grid(table, columns, bars)
            width = Measurement.get(self.console, self.console.options, grid).maximum
            if width < self.console.width:
                break
        return grid, columns

    def grid(self, table: Table, columns: int, bars: list[int]) -> Grid:
        """Return the first `columns` columns of a table, with bars for the columns `bars`."""
        grid = Grid(
            box=box.SIMPLE_HEAD if self.unicode else _RULED,
            padding=0,
            pad_edge=False,
            header_style="bold",
        )
        shown = list(enumerate(table.columns[:columns]))
        headings = [self.fit(self.heading(table, number)) for number, _ in shown]
        headings += [_two_lines(f"{table.columns[n].heading} to scale", "") for n in bars]
        height = max((heading.count("\n") for heading in headings), default=0)
        for heading, (number, column) in zip(headings, shown, strict=False):
            grid.add_column(
                Text("\n" * (height - heading.count("\n")) + heading),
                justify="left" if column.align == "left" else "right",
                no_wrap=number > 0,
                overflow="crop" if number > 0 else "fold",
            )
        for heading in headings[len(shown) :]:
            grid.add_column(Text(heading), no_wrap=True, min_width=_BAR_CELLS)
        for place, (group, lines) in enumerate(groups(table)):
            if place > 0:
                grid.add_row()
            if group:
                grid.add_row(Text(self.fit(group), style="bold cyan"))
            for line in lines:
                cells = [self.cell(line.cells[number], number, table) for number, _ in shown]
                drawn = [bar(table.share(line, number), self.unicode) for number in bars]
                grid.add_row(
                    *cells,
                    *(Text(text, style="cyan") for text in drawn),
                    style="bold" if line.strong else "",
                )
        return grid

    def heading(self, table: Table, number: int) -> str:
        """Return a column's heading, on one line if its cells are as wide, else on two."""
        column = table.columns[number]
        widest = max(
            (
                cell_len(text)
                for line in table.lines
                for text in line.cells[number].text.split("\n")
            ),
            default=0,
        )
        label = _label(column)
        if number == 0 or cell_len(label) <= widest:
            return label
        return _two_lines(column.heading, column.unit)

    def cell(self, cell: Cell, number: int, table: Table) -> Text:
        """Return a cell's text, indented in the first column of a grouped table."""
        text = self.fit(cell.text)
        if number == 0 and table.grouped:
            text = "  " + text.replace("\n", "\n  ")
        return Text(text)


def _variants(table: Table) -> Iterator[tuple[int, list[int]]]:
    """Yield how many columns to show and which of them with bars, the widest choice first."""
    every = len(table.columns)
    bars = [number for number, column in enumerate(table.columns) if column.bar]
    if bars:
        yield every, bars
    for columns in range(every, 1, -1):
        yield columns, []
    yield min(every, 1), []


def _label(column: Column) -> str:
    return f"{column.heading}, {column.unit}" if column.unit else column.heading


def _two_lines(heading: str, unit: str) -> str:
    """Return heading and unit on the two lines that are narrowest together."""
    words = heading.split(" ")
    breaks = [
        (" ".join(words[:at]), " ".join(words[at:]) + (f", {unit}" if unit else ""))
        for at in range(1, len(words))
    ]
    breaks.append((heading, unit))
    top, bottom = min(breaks, key=lambda lines: max(map(cell_len, lines)))
    return f"{top}\n{bottom}" if bottom else top
