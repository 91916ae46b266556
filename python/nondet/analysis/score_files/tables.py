"""Read scores from CSV and TSV files: a line is a run, or a run and an example ("long form")."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from nondet.analysis.comparison.scores import SINGLE_TASK, Examples, ScoredRun
from nondet.analysis.score_files.cells import (
    Record,
    Table,
    is_number,
    no_number,
    parse_cell,
    without_header,
)
from nondet.analysis.score_files.making import Source, choose, make_scores, run_of_examples
from nondet.analysis.score_files.options import ROLES, ReadOptions

_WHOLE = re.compile(r"([+-]?\d+)\.0*", re.ASCII)
"""A seed as pandas writes it if another is missing in its column: "3.0"."""
_NO_COLUMNS = ("position", "none")
"""What runs can be paired by, or not, in any table."""


def table_source(
    table: Table, name: str, options: ReadOptions, only: tuple[str, str] | None = None
) -> Source:
    """Return the scores of a table.

    only: a column and the value that lines must have in it; all lines if None.

    Raises ValueError, with line and column, for what is no table of scores.
    """
    if only is not None:
        table = _lines_with(table, *only)
    places = {role: _role(table, role, options) for role in ROLES}
    score = _score(table, places, options, only)
    signs = _percent_signs(table, score)
    lines = _Lines(table, score, places, options)
    runs = lines.single() if places["example"] is None else lines.long()
    scores = make_scores(name, runs, table.columns[score], options, percent=signs or None)
    return Source(scores, percent_signs=signs)


class _Lines:
    """Makes runs of the lines of a table. score, places: of the columns."""

    def __init__(
        self,
        table: Table,
        score: int,
        places: Mapping[str, int | None],
        options: ReadOptions,
    ) -> None:
        self.table = table
        self.score = score
        self.places = places
        self.keys = {} if places["seed"] is None else {"seed": places["seed"]}
        pair_by = options.pair_by
        if pair_by is not None and pair_by not in (*_NO_COLUMNS, *self.keys):
            self.keys[pair_by] = table.place(pair_by)

    def single(self) -> list[ScoredRun]:
        """Return the runs of a table with a line for each run and task."""
        task, run = self.places["task"], self._run_column()
        if task is not None and run is None:
            raise ValueError(
                f"{self.table.path} has a column of tasks, but none named run or seed that says "
                "which lines are of one run"
            )
        groups = self._groups(run if task is not None or self.places["run"] is not None else None)
        runs = []
        for position, (label, records) in enumerate(groups):
            lines: dict[str, Record] = {}
            for record in records:
                self._add_once(lines, self._text(record, "task", SINGLE_TASK), record, "score")
            values = {name: self.table.number(line, self.score) for name, line in lines.items()}
            keys = {"position": str(position), **self._keys(label, records)}
            runs.append(ScoredRun(label, values, keys))
        return runs

    def long(self) -> list[ScoredRun]:
        """Return the runs of a table with a line for each run, task and example."""
        runs = []
        for label, records in self._groups(self._run_column()):
            tasks: dict[str, dict[str, Record]] = {}
            for record in records:
                lines = tasks.setdefault(self._text(record, "task", SINGLE_TASK), {})
                self._add_once(lines, self._text(record, "example"), record, "line")
            examples = {task: self._examples(lines) for task, lines in tasks.items()}
            runs.append(run_of_examples(label, examples, self._keys(label, records)))
        return runs

    def _run_column(self) -> int | None:
        return self.places["run"] if self.places["run"] is not None else self.places["seed"]

    def _groups(self, column: int | None) -> list[tuple[str, list[Record]]]:
        """Return the lines of each run with its label. Without a column, lines with examples are of
        one run, and others of one each.
        """
        name = self.table.path.name
        if column is None and self.places["example"] is not None:
            return [(name, list(self.table.records))]
        if column is None:
            return [(f"{name}, line {record.line}", [record]) for record in self.table.records]
        groups: dict[str, list[Record]] = {}
        for record in self.table.records:
            groups.setdefault(record.cells[column].strip(), []).append(record)
        return [
            (f"{name}, {self.table.columns[column]} {value}", lines)
            for value, lines in groups.items()
        ]

    def _add_once(self, lines: dict[str, Record], key: str, record: Record, what: str) -> None:
        if key in lines:
            of = f" of {key!r}" if key else ""
            column = self._run_column()
            advice = (
                "; a column named run would tell runs apart"
                if column is None
                else f"; {self.table.columns[column]} {record.cells[column].strip()!r} has both"
            )
            raise ValueError(
                f"{self.table.path}, line {record.line}: a second {what}{of}, after line "
                f"{lines[key].line}{advice}"
            )
        lines[key] = record

    def _keys(self, label: str, records: Sequence[Record]) -> dict[str, str]:
        """Return what a run may be paired by; its lines must agree in it."""
        keys = {}
        for name, column in self.keys.items():
            values = {record.cells[column].strip() for record in records}
            if len(values) > 1:
                raise ValueError(
                    f"{self.table.path}: the lines of {label!r} differ in the column "
                    f"{self.table.columns[column]!r}: {', '.join(sorted(values)[:5])}"
                )
            (value,) = values
            if value:
                whole = _WHOLE.fullmatch(value) if name == "seed" else None
                keys[name] = whole[1] if whole else value
        return keys

    def _examples(self, lines: Mapping[str, Record]) -> Examples:
        columns = {
            role: np.array([self._text(line, role) for line in lines.values()])
            for role in ("cluster", "label")
            if self.places[role] is not None
        }
        scores = [self.table.number(line, self.score) for line in lines.values()]
        return Examples(
            np.array(list(lines)),
            np.array(scores, dtype=np.float64),
            columns.get("cluster"),
            columns.get("label"),
        )

    def _text(self, record: Record, role: str, absent: str = "") -> str:
        column = self.places[role]
        if column is None:
            return absent
        text = record.cells[column].strip()
        if not text:
            raise ValueError(
                f"{self.table.path}, line {record.line}, column {self.table.columns[column]!r}: "
                "it is empty"
            )
        return text


def _percent_signs(table: Table, column: int) -> bool:
    """Return whether the numbers of a column have percent signs.

    Raises ValueError, with lines, if some have one and others, but for 0, have not.
    """
    first: dict[bool, Record] = {}
    for record in table.records:
        cell = record.cells[column].strip()
        value = parse_cell(cell)
        if value is not None and math.isfinite(value) and value != 0:
            first.setdefault(cell.endswith("%"), record)
    if len(first) == 2:
        without, with_sign = first[False], first[True]
        cell, other = (each.cells[column].strip() for each in (without, with_sign))
        line = with_sign.line
        raise table.error(
            without,
            column,
            f"{cell[:40]!r} has no percent sign, but {other[:40]!r} in line {line} has one; write "
            "either all or none with it",
        )
    return True in first


def _lines_with(table: Table, column: str, value: str) -> Table:
    place = table.place(column)
    found = [record for record in table.records if record.cells[place].strip() == value]
    if not found:
        known = dict.fromkeys(record.cells[place].strip() for record in table.records)
        shown = [repr(each) for each in known]
        more = f", ... ({len(shown)} values)" if len(shown) > 20 else ""
        raise ValueError(
            f"{table.path} has no line with {value!r} in the column {column!r}; known: "
            f"{', '.join(shown[:20])}{more}"
        )
    return replace(table, records=found)


def _role(table: Table, role: str, options: ReadOptions) -> int | None:
    given = options.columns.get(role)
    return table.find(role) if given is None else table.place(given)


def _score(
    table: Table,
    places: Mapping[str, int | None],
    options: ReadOptions,
    only: tuple[str, str] | None,
) -> int:
    """Return the column of the scores: that of the options, or named "score", or the only one of
    numbers that is for nothing else.
    """
    if options.score is not None:
        return table.place(options.score)
    taken = {place for place in places.values() if place is not None}
    pair_by = None if options.pair_by is None else table.find(options.pair_by)
    taken |= {place for place in (pair_by,) if place is not None}
    taken |= {table.place(only[0])} if only is not None else set()
    named = table.find("score")
    if named is not None and named not in taken:
        return named
    numeric = [
        name
        for place, name in enumerate(table.columns)
        if place not in taken and name and _is_numeric(table, place)
    ]
    if not numeric:
        raise ValueError(f"{table.path} has no column of scores: {_reasons(table, places)}")
    name = choose("column of scores", None, numeric, str(table.path))
    if is_number(name) and "" not in table.columns:
        raise without_header(table.path, table.header, name)
    return table.place(name)


def _reasons(table: Table, places: Mapping[str, int | None]) -> str:
    """Return why no column of a table is one of scores, for its first columns."""
    roles = {place: role for role, place in places.items() if place is not None}
    reasons = []
    for place, name in list(enumerate(table.columns))[:5]:
        if place in roles:
            reasons.append(f"{name!r} is the {roles[place]}")
            continue
        texts = [r for r in table.records if parse_cell(r.cells[place].strip()) is None]
        if texts:
            cell = no_number(texts[0].cells[place].strip())
            reasons.append(f"of {name!r}, line {texts[0].line}, {cell}")
        else:
            reasons.append(f"{name!r} holds no number")
    if len(table.columns) == 1:
        reasons.append("columns are separated by comma, tab or semicolon")
    return "; ".join(reasons)


def _is_numeric(table: Table, place: int) -> bool:
    """Return whether most cells of a column that are not missing hold a number.

    A few others are errors, which are reported with their line.
    """
    values = [parse_cell(record.cells[place].strip()) for record in table.records]
    numbers = sum(value is not None and not math.isnan(value) for value in values)
    return numbers > 0 and 2 * sum(value is None for value in values) < numbers
