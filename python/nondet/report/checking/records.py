"""A check of a machine as JSON, and its parts as CSV."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from nondet.checking.running import Findings
from nondet.report.render.table_csv import records_csv

VERSION = 1
"""The version of the JSON; it is increased whenever an entry changes its meaning or goes."""


def selftest_json(found: Findings, machine: Mapping[str, Any]) -> str:
    """Return the findings as JSON in ASCII. machine: as `describe_machine` returns it."""
    record = {
        "format": "nondet selftest",
        "version": VERSION,
        "equal": not found.differences,
        "quick": found.quick,
        "seconds": found.seconds,
        "memory": {
            "limit": found.memory,
            "estimates": found.estimates,
            "peak": found.peak_bytes,
        },
        "machine": machine,
        "parts": [_part(part) for part in found.parts],
        "differences": [
            {**asdict(each), "op": each.op, "dtype": each.dtype} for each in found.differences
        ],
        "notes": found.notes,
        "atomic": [asdict(each) for each in found.variations],
        "sanitizer": None if found.sanitized is None else found.sanitized._asdict(),
        "speed": {
            "device": found.timed or None,
            "copy": found.copy_rate,
            "ops": [
                {**each._asdict(), "rate": each.rate, "peer_rate": each.peer_rate}
                for each in found.speeds
            ],
        },
    }
    return json.dumps(record, indent=2, allow_nan=False)


def parts_csv(found: Findings) -> str:
    """Return a record for each check on each device."""
    return records_csv([_part(part) for part in found.parts])


def _part(part: Any) -> dict[str, Any]:
    return {
        "check": part.name,
        "device": part.device,
        "compared": part.compared,
        "differences": len(part.differences),
        "seconds": part.seconds,
        "left_out": part.left_out or None,
    }
