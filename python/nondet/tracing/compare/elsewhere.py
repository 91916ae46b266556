"""Differences that begin in another stream."""

from nondet.tracing.compare.evidence import Elsewhere, Evidence, First
from nondet.tracing.records import COLLECTIVE

_COLLECTIVE = ("c10d.", "_c10d_functional.", "c10d_functional.")


def starts_elsewhere(evidence: Evidence) -> Elsewhere | None:
    """Return the difference of another stream that explains the first one of this stream.

    A batch that a worker made differs because the worker's does; what a collective operation gives
    to a rank differs because the input of another rank does; a tensor that no record of this stream
    wrote, because the stream that wrote it parts too. None otherwise: no order is implied between
    streams.
    """
    first = evidence.first
    if first is None or first.a is None or first.b is None:
        return None
    roles = {each.role: each for each in evidence.elsewhere}
    if first.kind == "batch" and (worker := first.a.facts.get("worker")) is not None:
        ending = f" worker {worker}"
        found = [each for role, each in roles.items() if role.endswith(ending)]
        inside = [each for each in found if each.role.startswith(f"{evidence.a.role}/")]
        return next(iter([*inside, *found]), None)
    if _is_collective(first):
        ranks = [each for each in evidence.elsewhere if not _is_collective(each.first)]
        return next((each for each in ranks if "rank " in each.role), None)
    if first.kind in ("read", "batch"):
        for side, record in zip(evidence.sides, first.records, strict=True):
            for digest in [record.reads[number].digest for number in first.reads]:
                for role, _ in [] if digest is None else side.writers(digest):
                    if role in roles and role != evidence.a.role:
                        return roles[role]
    return None


def _is_collective(first: First) -> bool:
    """Return True for a difference that other ranks gave: what a collective operation wrote, or
    the first read of what it filled.
    """
    record = first.record
    if first.kind == "read" and first.reads:
        return all(record.reads[number].source.label == COLLECTIVE for number in first.reads)
    return first.kind == "wrote" and record.name.startswith(_COLLECTIVE)
