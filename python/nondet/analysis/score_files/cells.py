"""Read CSV and TSV files as tables of texts, whose cells may be numbers.

The module csv reads them, since it knows the line of every record and refuses ragged ones; pandas
fills them up.
"""

import csv
import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nondet.analysis.comparison.scores import LARGEST
from nondet.analysis.score_files.files import decode

_MISSING = {"", "-", "na", "n/a", "nan", "none", "null"}
_NUMBER = re.compile(
    r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?%?|[+-]?inf(inity)?", re.IGNORECASE | re.ASCII
)
_SEPARATORS = {",": "comma", "\t": "tab", ";": "semicolon"}


@dataclass(frozen=True)
class Record:
    """A line of a table: its number in the file, counted from 1, and its cells."""

    line: int
    cells: Sequence[str]


@dataclass(frozen=True)
class Table:
    """A file as a table of texts.

    Attributes:
        path: The file.
        columns: The names of the columns, each once; "" for an index without a name.
        records: Its lines below the header.
        header: The line of the header.
    """

    path: Path
    columns: Sequence[str]
    records: Sequence[Record]
    header: int = 1

    def find(self, name: str) -> int | None:
        """Return the place of a column, whose case does not matter if no other differs by it."""
        if name in self.columns:
            return self.columns.index(name)
        found = [i for i, other in enumerate(self.columns) if other.lower() == name.lower()]
        return found[0] if len(found) == 1 else None

    def place(self, name: str) -> int:
        """Return the place of a column. Raises ValueError, which lists the columns, without it."""
        found = self.find(name)
        if found is None:
            known = ", ".join(repr(column) for column in self.columns if column)
            raise ValueError(f"{self.path} has no column {name!r}; known: {known}")
        return found

    def number(self, record: Record, column: int) -> float:
        """Return the number in a cell, NaN if it is missing; "71.3%" is 0.713.

        Raises ValueError, with line and column, for anything else.
        """
        cell = record.cells[column].strip()
        value = parse_cell(cell)
        if value is None:
            raise self.error(record, column, no_number(cell))
        if abs(value) > LARGEST and "inf" not in cell.lower():
            limits = f"scores must lie between {-LARGEST:g} and {LARGEST:g}"
            raise self.error(record, column, f"{cell[:40]!r} is too large; {limits}")
        return value

    def error(self, record: Record, column: int, problem: str) -> ValueError:
        """Return the error of a cell."""
        where = f"{self.path}, line {record.line}, column {self.columns[column]!r}"
        return ValueError(f"{where}: {problem}")


def read_table(path: Path, data: bytes) -> Table:
    """Return a CSV or TSV file as a table, separated as its header is.

    Raises ValueError, with the line, for text that is none: records of different lengths, quotes
    that do not end, columns of one name, no names of columns.
    """
    text = decode(data, path)
    first = text.lstrip("\r\n").split("\n", 1)[0]
    separator = max(_SEPARATORS, key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        records = [
            Record(reader.line_num, cells)
            for cells in reader
            if any(cell.strip() for cell in cells)
        ]
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num}: {error}") from None
    if len(records) < 2:
        raise ValueError(f"{path} has no line of scores below its header")
    header, *records = records
    columns = [name.strip() for name in header.cells]
    if all(map(is_number, columns)):  # not ",0" of pandas, whose index has no name
        raise without_header(path, header.line, columns[0])
    for name in columns:
        if name and columns.count(name) > 1:
            raise ValueError(f"{path}, line {header.line}: two columns are named {name!r}")
    for record in records:
        if len(record.cells) != len(columns):
            raise ValueError(
                f"{path}, line {record.line}: {len(record.cells)} cells separated by "
                f"{_SEPARATORS[separator]}, but {len(columns)} columns"
            )
    return Table(path, columns, records, header.line)


def is_number(cell: str) -> bool:
    """Return whether a text is a number, with a percent sign or not; NaN is none."""
    return _NUMBER.fullmatch(cell) is not None


def no_number(cell: str) -> str:
    """Return that a text is no number, and why if it looks like one."""
    comma = "; a decimal point is a dot" if re.fullmatch(r"[+-]?\d+,\d+", cell) else ""
    return f"{cell[:40]!r} is no number{comma}"


def without_header(path: Path, line: int, name: str) -> ValueError:
    """Return the error of a table whose first line holds numbers instead of names."""
    return ValueError(
        f"{path}, line {line}: {name!r} is no name of a column; a table begins with a line of "
        "names, such as seed,accuracy"
    )


def parse_cell(cell: str) -> float | None:
    """Return the number in a text: NaN if it says that there is none, infinite beyond float64, None
    if it is no number.
    """
    if cell.lower() in _MISSING:
        return math.nan
    if not _NUMBER.fullmatch(cell):
        return None
    return float(cell[:-1]) / 100 if cell.endswith("%") else float(cell)
