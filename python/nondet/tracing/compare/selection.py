"""Which values to keep to see how far two runs are apart where they part."""

import glob
from pathlib import PurePath

from nondet.tracing.compare.evidence import First
from nondet.tracing.records import Record


def has_values(first: First) -> bool:
    """Return True if tensors were written differently, and their values were not kept."""
    return first.distance is None and bool(first.writes)


def differing_steps(first: First) -> tuple[int, int]:
    """Return the first and the last step of the records of a difference."""
    steps = [each.step for each in first.records]
    return min(steps), max(steps)


def select(record: Record) -> str:
    """Return the pattern of `--keep-values` that keeps what a record writes, in its step.

    Its index is of no use: it may be another one where the steps before are not recorded, because
    parameters are recorded in the first step that is.
    """
    line = record.line
    name = "" if "," in record.name else glob.escape(record.name)
    if line is None or "," in line.file:
        return name or "*"
    return f"{name or '*'}@{glob.escape(PurePath(line.file).name)}:{line.number}"
