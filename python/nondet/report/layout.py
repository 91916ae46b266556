"""Helpers that several renderers share: values for files, single lines, groups, reasons."""

from nondet.characters import printable
from nondet.report.document import Cell, Line, Table, Value
from nondet.report.text import NOTHING
from nondet.store import Failure


def file_value(cell: Cell) -> Value:
    """Return a cell's value for a file: its number, else its text; None for a missing number."""
    if cell.value is not None:
        return cell.value
    return None if cell.text == NOTHING else cell.text


def one_line(text: str) -> str:
    """Return the text on one line, without control characters; only the terminal keeps line
    breaks.
    """
    return printable(" ".join(text.split()))


def groups(table: Table) -> list[tuple[str, list[Line]]]:
    """Return consecutive lines of the same group, with the group's heading."""
    grouped: list[tuple[str, list[Line]]] = []
    for line in table.lines:
        if not grouped or grouped[-1][0] != line.group:
            grouped.append((line.group, []))
        grouped[-1][1].append(line)
    return grouped


def failure_reason(failure: Failure) -> str:
    """Return why a run failed, and in which epoch unless it crashed."""
    reason = one_line(failure.reason)
    return reason if failure.crashed else f"{reason} in epoch {failure.epoch}"
