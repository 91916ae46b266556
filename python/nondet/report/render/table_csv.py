"""Tables and runs as CSV, with numbers in full precision."""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from nondet.characters import printable
from nondet.environment import short_digest
from nondet.report.document import Table
from nondet.report.layout import failure_reason, file_value, one_line
from nondet.store import StoredRun

if TYPE_CHECKING:
    from nondet.analysis.summary import Summary

_FORMULA = re.compile("[=@+-].")
_NUMBER = re.compile(r"[+-]?[0-9., ±e%()+-]+")


def table_csv(table: Table) -> str:
    """Return a table as CSV, with a record per line.

    Fields: the group, named by the table's grouping; the value of every column, followed by
    <name>_error for columns with error bars and <name>_low and <name>_high for those with
    intervals; seeds. Missing numbers are empty.
    """
    records = []
    for line in table.lines:
        record: dict[str, Any] = {table.grouping: one_line(line.group)} if table.grouped else {}
        for number, (column, cell) in enumerate(zip(table.columns, line.cells, strict=True)):
            value = file_value(cell)
            record[column.name] = one_line(value) if isinstance(value, str) else value
            column_cells = [other.cells[number] for other in table.lines]
            if any(other.error is not None for other in column_cells):
                record[f"{column.name}_error"] = cell.error
            if any(other.interval is not None for other in column_cells):
                low, high = cell.interval or (None, None)
                record |= {f"{column.name}_low": low, f"{column.name}_high": high}
        if table.seeds:
            record["seeds"] = one_line(line.seeds)
        records.append(record)
    return records_csv(records)


def runs_csv(summary: "Summary") -> str:
    """Return a record per run of a row: seeds, results, hashes and folder; a failed run has its
    reason in place of results. Runs with unequal environment or data must not be compared: these
    columns hold the first digits of SHA-256.
    """
    records = []
    for model in summary.models:
        for row in model.rows:
            for run in [*row.runs, *row.failed]:
                record = {
                    "model": model.config.model,
                    "row": row.row.name,
                    "repeat": run.job.repeat,
                }
                record |= {f"{source}_seed": seed for source, seed in asdict(run.job.seeds).items()}
                record |= _results(run)
                record |= {
                    "seconds": run.seconds,
                    "folder": f"runs/{run.job.address}",
                    "environment": short_digest(run.record.get("environment", {})),
                    "data": run.job.data[:12],
                }
                records.append(record)
    return records_csv(records)


def _results(run: StoredRun) -> dict[str, float | str | None]:
    if run.failure is not None:
        empty = ("accuracy", "cross_entropy", "weights_sha256", "predictions_sha256")
        return {**dict.fromkeys(empty), "failure": failure_reason(run.failure)}
    return {
        "accuracy": run.accuracy,
        "cross_entropy": run.cross_entropy,
        "weights_sha256": run.weight_hashes[-1],
        "predictions_sha256": run.record["hashes"]["predictions"],
        "failure": None,
    }


def records_csv(records: Sequence[Mapping[str, Any]]) -> str:
    """Return records as CSV with a header, "" without records; None becomes an empty field, and
    texts are made safe.
    """
    text = io.StringIO()
    if records:
        writer = csv.writer(text, lineterminator="\n")
        names = list(records[0])
        writer.writerow(map(_safe, names))
        writer.writerows([_safe(each[name]) for name in names] for each in records)
    return text.getvalue()


def _safe(value: Any) -> Any:
    """Return a text without control characters, with an apostrophe in front if a spreadsheet would
    take it for a formula.
    """
    if not isinstance(value, str):
        return value
    text = printable(value)
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text
