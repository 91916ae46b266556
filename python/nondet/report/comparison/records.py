"""A comparison and a plan of runs as JSON, and the runs of both methods as CSV."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

import numpy as np

from nondet.analysis.comparison.planning import RunPlan
from nondet.analysis.comparison.result import Comparison
from nondet.analysis.comparison.scores import Scores
from nondet.report.render.table_csv import records_csv

VERSION = 1
"""The version of the JSON; it is increased whenever an entry changes its meaning or goes."""


def comparison_json(found: Comparison, a: Scores, b: Scores) -> str:
    """Return a comparison as JSON: the fields of `Comparison`, and the runs of both sides under
    "runs_a" and "runs_b".

    NaN, which means that a number is not known, is null; infinite numbers are the texts "Infinity"
    and "-Infinity".
    """
    record = {"version": VERSION, "kind": "comparison", **_entries(found)}
    for name, side in (("runs_a", a), ("runs_b", b)):
        record[name] = [
            {
                "label": run.label,
                "values": _plain(run.values),
                "keys": dict(run.keys),
                "failure": run.failure,
            }
            for run in side.runs
        ]
        record[f"notes_{name[-1]}"] = list(side.notes)
    return json.dumps(record, indent=2, allow_nan=False)


def plan_json(plan: RunPlan, pilot: Scores) -> str:
    """Return a plan of runs as JSON: the fields of `RunPlan`; numbers as in `comparison_json`."""
    record = {"version": VERSION, "kind": "plan", "pilot": pilot.name, **_entries(plan)}
    return json.dumps({**record, "notes_pilot": list(pilot.notes)}, indent=2, allow_nan=False)


def scores_csv(sides: Sequence[Scores]) -> str:
    """Return a record for each run and task of several methods: method, run, task, score, the
    values that runs may be paired by, and why a run failed.
    """
    keys = list(dict.fromkeys(key for side in sides for run in side.runs for key in run.keys))
    records = []
    for side in sides:
        for run in side.runs:
            for task, value in (run.values or {"": math.nan}).items():
                record: dict[str, Any] = {"method": side.name, "run": run.label, "task": task}
                record["score"] = value if math.isfinite(value) else None
                record |= {f"key_{key}": run.keys.get(key) for key in keys}
                records.append({**record, "failure": run.failure})
    return records_csv(records)


def _entries(value: Any) -> dict[str, Any]:
    return {each.name: _plain(getattr(value, each.name)) for each in fields(value)}


def _plain(value: Any) -> Any:
    """Return a value of a result as JSON types."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float):
        return _number(value)
    if hasattr(value, "_asdict"):
        return _plain(value._asdict())
    if is_dataclass(value) and not isinstance(value, type):
        return _entries(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value


def _number(value: float) -> float | str | None:
    if math.isfinite(value):
        return value
    return None if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
