"""What several renderers do to cells, lines and reasons."""

from nondet.report.document import Cell, Line, Table, Value
from nondet.report.text import NOTHING
from nondet.store import Failure


def file_value(cell: Cell) -> Value:
    """What a file says of a cell: the number behind it, else its text; None where it is missing."""
    if cell.value is not None:
        return cell.value
    return None if cell.text == NOTHING else cell.text


def one_line(text: str) -> str:
    """Line breaks are for the terminal."""
    return " ".join(text.split())


def groups(table: Table) -> list[tuple[str, list[Line]]]:
    """Consecutive lines with the same heading."""
    found: list[tuple[str, list[Line]]] = []
    for line in table.lines:
        if not found or found[-1][0] != line.group:
            found.append((line.group, []))
        found[-1][1].append(line)
    return found


def failure_reason(failure: Failure) -> str:
    """Why a run failed, and where in its training if it failed by itself."""
    reason = one_line(failure.reason)
    return reason if failure.crashed else f"{reason} in epoch {failure.epoch}"
