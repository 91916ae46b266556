"""Operations whose threads race, and tensors that something else writes meanwhile."""

import math
from collections.abc import Iterable, Iterator

from nondet.tracing.causes.cause import Fit, Strength
from nondet.tracing.causes.looking import (
    base,
    deciding,
    flag,
    named,
    on_cpu,
    place,
    wrote_differently,
)
from nondet.tracing.compare.evidence import Evidence, First, Side
from nondet.tracing.records import Read, Record, TensorType

_INDEX_PUT = ("index_put", "index_put_", "_index_put_impl_", "_unsafe_index_put")
_SEARCHED = 1 << 24
"""The recorder looks for repeats among indices up to this number."""

RACING = (*_INDEX_PUT, "index_copy", "index_copy_", "put", "put_")


def race_of_index_backward(evidence: Evidence) -> Fit | None:
    """Return a fit if the gradient of `w[idx]` adds to rows of w from several threads."""
    record = wrote_differently(evidence)
    if record is None or record.phase != "backward":
        return None
    if base(record) not in _INDEX_PUT or not flag(record, "accumulate"):
        return None
    return _race(evidence, record, f"the backward of the indexing at {place(record)}", "adds to")


def race_of_index_put(evidence: Evidence) -> Fit | None:
    """Return a fit if `index_put_(..., accumulate=True)` adds to elements from several threads."""
    record = wrote_differently(evidence)
    if record is None or record.phase == "backward":
        return None
    if base(record) not in _INDEX_PUT or not flag(record, "accumulate"):
        return None
    return _race(evidence, record, named(record), "adds to")


def race_of_put(evidence: Evidence) -> Fit | None:
    """Return a fit if `put_(..., accumulate=True)` adds to elements from several threads."""
    record = wrote_differently(evidence)
    if record is None or base(record) not in ("put", "put_") or not flag(record, "accumulate"):
        return None
    return _race(evidence, record, named(record), "adds to")


def repeated_assignment(evidence: Evidence) -> Fit | None:
    """Return a fit if `o[idx] = x` writes several values to one element; any may stay."""
    record = wrote_differently(evidence)
    if record is None or base(record) not in RACING or flag(record, "accumulate"):
        return None
    return _race(evidence, record, named(record), "assigns to")


def unstable_operation(evidence: Evidence) -> Fit | None:
    """Return a fit if an operation that gave other bits when the recorder ran it again on its own
    inputs.
    """
    record = wrote_differently(evidence)
    if record is None or base(record) in RACING or not _repeats_differ(evidence.first):
        return None
    return Fit(
        f"{named(record)} gave other bits when it was run again on the same inputs.", "shown"
    )


def written_meanwhile(evidence: Evidence) -> Fit | None:
    """Return a fit if a tensor changed between two records without an operation of torch."""
    first = evidence.first
    if first is None:
        return None
    for record in first.records:
        if record.facts.get("written_meanwhile"):
            return Fit(
                f"A tensor that {named(record)} reads changed since the record before that used "
                f"it, though no operation of torch wrote it.",
                "shown",
            )
    return None


def perhaps_written_meanwhile(evidence: Evidence) -> Fit | None:
    """Return a fit if an operation with no known race, whose inputs were looked up, gave other bits
    on a CPU.
    """
    record = wrote_differently(evidence)
    if record is None or not on_cpu(record) or deciding(evidence) or base(record) in RACING:
        return None
    looked_up = [read for read in record.reads if read.source.origin != "new"]
    if not looked_up or record.kind != "operation":
        return None
    return Fit(
        f"{named(record)} has no known race, the environments agree, and {len(looked_up)} of its "
        f"inputs were looked up, not hashed, so a write that torch does not see would look so.",
        "possible",
    )


def shared_between_threads(evidence: Evidence) -> Fit | None:
    """Return a fit if two threads use one tensor, and one of them writes to it in place."""
    first = evidence.first
    if first is None or first.kind not in ("read", "wrote"):
        return None
    for side, record in zip(evidence.sides, first.records, strict=False):
        numbers = first.reads if first.kind == "read" else range(len(record.reads))
        for read in [record.reads[number] for number in numbers if number < len(record.reads)]:
            for role in side.others:
                if _share(evidence, side, role, read):
                    return Fit(
                        f"{named(record)} reads a tensor that {role} changes in place at a time "
                        f"that nothing fixes.",
                        "shown" if read.source.label == role else "likely",
                    )
    return None


def _share(evidence: Evidence, side: Side, role: str, read: Read) -> bool:
    """Return True if another stream changes the tensor of a read in place, and does not merely hand
    on a difference of its own.
    """
    if "/thread " not in role and "/thread " not in side.role:
        return False
    theirs = list(_changes(side.others[role](), read.type))
    ours = list(_changes(side.everything(), read.type))
    if not theirs:
        return False
    lines = {record.line for record in ours} - {None}
    if read.source.label != role and not any(record.line in lines for record in theirs):
        return False
    origin = next((each.first for each in evidence.elsewhere if each.role == role), None)
    return origin is None or (bool(ours) and _from_other_thread(origin))


def _changes(records: Iterable[Record], kind: TensorType) -> Iterator[Record]:
    """Yield the records that change a tensor of a type in place."""
    for record in records:
        if any(write.into is not None and write.type == kind for write in record.writes):
            yield record


def _from_other_thread(first: First) -> bool:
    """Return True if a difference comes from a tensor that another thread may have written."""
    if first.kind == "wrote":
        return any(write.into is not None for write in first.record.writes)
    reads = [record.reads[number] for record in first.records for number in first.reads]
    return first.kind == "read" and any(
        read.source.origin != "new" or "main" in read.source.label for read in reads
    )


def _race(evidence: Evidence, record: Record, what: str, does: str) -> Fit | None:
    first = evidence.first
    assert first is not None
    if not on_cpu(record) or True in first.fact("deterministic"):
        return None
    threads = [count for count in evidence.threads if isinstance(count, int)]
    if threads and max(threads) == 1:
        return None
    count = f"{min(threads)} threads" if threads else "several threads"
    shown = _repeats_differ(first)
    if shown:
        proof = "; run again on the same inputs, it gave other bits"
    elif True in first.fact("repeated_indices"):
        proof = ""
    elif max((math.prod(read.type.shape) for read in record.reads), default=0) > _SEARCHED:
        proof = ", if any do"
    else:
        return None
    strength: Strength = "shown" if shown else "likely"
    sentence = f"With {count}, {what} {does} elements that its indices name more than once{proof}."
    return Fit(sentence, strength)


def _repeats_differ(first: First | None) -> bool:
    return first is not None and True in first.fact("repeats_differ")
