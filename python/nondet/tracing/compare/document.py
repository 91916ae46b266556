"""What a comparison found, as JSON. docs/comparing-traces.md describes it."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from nondet.tracing.compare.evidence import First, Rerun, StreamVerdict, Verdict
from nondet.tracing.compare.wording import (
    conclusion,
    describe_rerun,
    headline,
    to_keep_values,
)
from nondet.tracing.records import Line, Read, Record, Unseen, Write

VERSION = 1


def as_document(verdict: Verdict, rerun: Rerun | None = None) -> dict[str, Any]:
    """Return a verdict as values of JSON. rerun: what running both commands again showed."""
    a, b = verdict.unseen
    return {
        "format": "nondet diff",
        "version": VERSION,
        "a": str(verdict.a),
        "b": str(verdict.b),
        "outcome": verdict.outcome,
        "conclusion": conclusion(verdict),
        "reasons": list(verdict.reasons),
        "headers": [
            {
                "name": each.name,
                "a": _plain(each.a),
                "b": _plain(each.b),
                "decides": _plain(each.decides),
                "sentence": each.sentence,
            }
            for each in verdict.headers
        ],
        "streams": [_stream(each) for each in verdict.streams],
        "missing": list(verdict.missing),
        "extra": list(verdict.extra),
        "unseen": {"a": _unseen(a), "b": _unseen(b)},
        "rerun": None if rerun is None else _rerun(rerun),
    }


def format_document(verdict: Verdict, rerun: Rerun | None = None) -> str:
    """Return a verdict as indented JSON in ASCII."""
    return json.dumps(as_document(verdict, rerun), indent=2, allow_nan=False)


def _rerun(rerun: Rerun) -> dict[str, Any]:
    return {
        "role": rerun.role,
        "steps": list(rerun.steps),
        "outcome": rerun.outcome,
        "same_bits": rerun.same_bits,
        "sentence": describe_rerun(rerun),
        "first": None if rerun.first is None else _first(rerun.first),
    }


def _stream(verdict: StreamVerdict) -> dict[str, Any]:
    evidence = verdict.evidence
    return {
        "role": {"a": evidence.a.role, "b": evidence.b.role},
        "equal_steps": verdict.steps,
        "equal_records": verdict.records,
        "problem": verdict.problem,
        "first": None if evidence.first is None else _first(evidence.first),
        "values_differ": evidence.first is not None and evidence.by_value,
        "comes_from": None if verdict.source is None else verdict.source.role,
        "explanations": [asdict(each) for each in verdict.explanations],
        "carriers": evidence.carriers,
        "origins": [_record(pair.a) for pair in evidence.origins],
        "only_in_a": len(evidence.missing),
        "only_in_b": len(evidence.inserted),
        "moved": len(evidence.moved),
        "unrelated": [_first(each) for each in evidence.unrelated],
        "steps_from_first": verdict.remaining_steps,
        "differing_steps": verdict.differing_steps,
        "to_keep_values": to_keep_values(verdict),
    }


def _first(first: First) -> dict[str, Any]:
    distance = first.distance
    return {
        "kind": first.kind,
        "sentence": headline(first),
        "a": _record(first.a),
        "b": _record(first.b),
        "differing_reads": list(first.reads),
        "differing_writes": list(first.writes),
        "unhashed_reads": list(first.unhashed),
        "ended": first.ended,
        "distance": distance
        and {
            "differing": distance.differing,
            "elements": distance.elements,
            "ulp": distance.ulp,
            "where": list(distance.where),
            "a": _plain(distance.values[0]),
            "b": _plain(distance.values[1]),
        },
    }


def _record(record: Record | None) -> dict[str, Any] | None:
    if record is None:
        return None
    return {
        "step": record.step,
        "index": record.index,
        "kind": record.kind,
        "name": record.name,
        "phase": record.phase,
        "module": record.module,
        "line": _line(record.line),
        "caller": _line(record.caller),
        "backward_line": _line(record.backward_line),
        "backward_caller": _line(record.backward_caller),
        "arguments": record.arguments,
        "numbers": [_plain(number) for number in record.numbers],
        "state": _digest(record.state),
        "reads": [_tensor(each) for each in record.reads],
        "writes": [_tensor(each) for each in record.writes],
        "facts": {name: _plain(value) for name, value in record.facts.items()},
    }


def _tensor(tensor: Read | Write) -> dict[str, Any]:
    dtype, shape, device = tensor.type
    digest = _digest(tensor.digest)
    return {"dtype": dtype, "shape": list(shape), "device": device, "digest": digest}


def _line(line: Line | None) -> dict[str, Any] | None:
    return line and line._asdict()


def _digest(digest: int | None) -> str | None:
    return None if digest is None else f"{digest:016x}"


def _unseen(unseen: Sequence[Unseen]) -> list[dict[str, Any]]:
    return [asdict(each) for each in unseen]


def _plain(value: Any) -> Any:
    """Return a value that JSON can hold; infinities and NaN as texts."""
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, dict):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return str(value)
