"""Reads the tables in docs/results, and compares numbers that stand in them."""

import csv
import math
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from nondet import stats

Interval = stats.Interval

RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results"

Line = dict[str, str]


class MissingError(Exception):
    """A table, a line or a column is not there; the message says which."""


class Tables:
    """The tables of all studies in a folder, as `nondet run` writes them."""

    def __init__(self, folder: Path = RESULTS) -> None:
        self.folder = folder
        self._read = cache(self._lines)

    def studies(self) -> list[str]:
        """Return the names of the studies with a report."""
        return sorted(path.parent.name for path in self.folder.glob("*/report.md"))

    def report(self, study: str) -> str:
        """Return the text of a report."""
        try:
            return (self.folder / study / "report.md").read_text()
        except OSError as error:
            raise MissingError(f"{study}/report.md is missing") from error

    def has(self, study: str, table: str) -> bool:
        """Return True if there is a table of this name."""
        return (self.folder / study / "tables" / f"{table}.csv").is_file()

    def lines(self, study: str, table: str) -> list[Line]:
        """Return the lines of a table."""
        return self._read(study, table)

    def _lines(self, study: str, table: str) -> list[Line]:
        path = self.folder / study / "tables" / f"{table}.csv"
        try:
            with path.open(newline="") as file:
                return list(csv.DictReader(file))
        except OSError as error:
            raise MissingError(f"{study}/tables/{table}.csv is missing") from error

    def line(self, study: str, table: str, **wanted: str) -> Line:
        """Return the only line of a table with these values."""
        found = [
            line
            for line in self.lines(study, table)
            if all(line.get(name) == value for name, value in wanted.items())
        ]
        if len(found) != 1:
            words = ", ".join(f"{name} {value!r}" for name, value in wanted.items())
            raise MissingError(f"{study}/tables/{table}.csv has {len(found)} lines of {words}")
        return found[0]

    def interval(self, study: str, table: str, column: str, **wanted: str) -> Interval:
        """Return a number with its interval; NaN ends where the table has none."""
        return interval_of(self.line(study, table, **wanted), column)

    def beside(
        self, study: str, model: str, row: str, reference: str, quantity: str, kind: str = "spread"
    ) -> Interval:
        """Return the spread of a row over that of its reference, as a fraction.

        quantity: a column of `KIND-relative.csv` without "_percent". From a report without that
        table, it is the quotient of the two numbers with intervals in `KIND-intervals.csv`.
        """
        try:
            found = self.interval(
                study, f"{kind}-relative", f"{quantity}_percent", model=model, row=row,
                relative_to=reference,
            )  # fmt: skip
            return Interval(*(part / 100 for part in found))
        except MissingError:
            above, below = (
                self._interval_of(study, f"{kind}-intervals", model, name, quantity)
                for name in (row, reference)
            )
            return quotient(above, below)

    def _interval_of(self, study: str, table: str, model: str, row: str, quantity: str) -> Interval:
        names = {
            "accuracy": "accuracy_sd_unbiased_points",
            "cross_entropy": "cross_entropy_sd_unbiased_nats",
            "perplexity": "perplexity_sd_unbiased",
            "disagreement": "disagreement_percent",
            "rank_distance": "spearman_correlation",
        }
        found = self.interval(study, table, names[quantity], model=model, row=row)
        if quantity == "rank_distance":
            return Interval(1 - found.value, 1 - found.high, 1 - found.low)
        return found

    def rows(self, study: str, table: str) -> Iterator[tuple[str, str]]:
        """Yield model and row of every line."""
        for line in self.lines(study, table):
            yield line.get("model", ""), line["row"]


class Limits(NamedTuple):
    """Where an interval has to lie."""

    low: float = -math.inf
    high: float = math.inf


def interval_of(line: Line, column: str) -> Interval:
    """Return a number of a line with its interval."""
    try:
        value = float(line[column])
    except (KeyError, ValueError) as error:
        raise MissingError(f"a table has no number in {column}") from error
    ends = [line.get(f"{column}_{end}") for end in ("low", "high")]
    if not all(ends):
        return Interval(value, math.nan, math.nan)
    return Interval(value, *(float(end) for end in ends if end is not None))


def quotient(a: Interval, b: Interval) -> Interval:
    """Return the quotient of two independent positive numbers with the interval that follows from
    theirs (Zou & Donner 2008, "Construction of confidence limits about effect measures", for the
    difference of logarithms). NaN ends where a number or an end is not positive.
    """
    value = a.value / b.value if b.value else math.inf
    if not all(part > 0 for part in (*a, *b)):
        return Interval(value, math.nan, math.nan)
    (x, x_low, x_high), (y, y_low, y_high) = (tuple(map(math.log, one)) for one in (a, b))
    down = math.hypot(x - x_low, y_high - y)
    up = math.hypot(x_high - x, y - y_low)
    return Interval(value, math.exp(x - y - down), math.exp(x - y + up))


def holds(found: Interval, limits: Limits) -> str:
    """Return whether a number lies between limits: "holds" if its whole interval does, "does not
    hold" if all of it lies outside, else "undecided".
    """
    if found.low > limits.low and found.high < limits.high:
        return "holds"
    if found.high < limits.low or found.low > limits.high:
        return "does not hold"
    return "undecided"


def together(verdicts: list[str]) -> str:
    """Return the verdict on a statement about all of several: it fails with any of them."""
    for worst in ("does not hold", "undecided"):
        if worst in verdicts:
            return worst
    return "holds"
