"""Modes of modules, dtypes, memory: how the same code came to compute something else."""

from typing import Any

from nondet.tracing.causes.cause import Fit
from nondet.tracing.causes.looking import (
    base,
    deciding,
    differing_fact,
    lacks_counterpart,
    mentions,
    named,
    on_cpu,
    tensors,
    wrote_differently,
)
from nondet.tracing.causes.races import RACING
from nondet.tracing.compare.evidence import Evidence
from nondet.tracing.records import Record

_MODE_SHOWS = ("arguments", "missing", "inserted", "replaced", "types", "wrote")


def _mode_that_differs(evidence: Evidence, fact: str) -> tuple[Record, Any, Any] | None:
    """Return a record of a and the values of a fact, if that is what parts the runs."""
    first = evidence.first
    if first is None or first.kind not in _MODE_SHOWS or first.ended is not None:
        return None
    return differing_fact(evidence, fact)


def train_or_eval(evidence: Evidence) -> Fit | None:
    """Return a fit if a module was in training mode in one run, in evaluation mode in the other."""
    found = _mode_that_differs(evidence, "training")
    if found is None:
        return None
    record, a, _ = found
    module = f"the module `{record.module}`" if record.module else "the module"
    return Fit(
        f"At {named(record)}, {module} is in {'training' if a else 'evaluation'} mode in a and in "
        f"{'evaluation' if a else 'training'} mode in b.",
        "shown",
    )


def autocast(evidence: Evidence) -> Fit | None:
    """Return a fit if autocast was on in one run only, or to another dtype."""
    found = _mode_that_differs(evidence, "autocast")
    if found is None:
        return None
    record, a, b = found
    return Fit(
        f"At {named(record)}, autocast is {_dtype(a)} in a and {_dtype(b)} in b.",
        "shown",
    )


def another_dtype(evidence: Evidence) -> Fit | None:
    """Return a fit if a tensor has another dtype, without autocast."""
    first = evidence.first
    if first is None or first.a is None or first.b is None or autocast(evidence) is not None:
        return None
    if first.kind not in ("types", "parameter", "batch"):
        return None
    a, b = ([each.type for each in tensors(record)] for record in (first.a, first.b))
    for left, right in zip(a, b, strict=False):
        if left.dtype != right.dtype:
            return Fit(
                f"{named(first.a)} has a tensor of {left.dtype} in a and of {right.dtype} in b.",
                "shown",
            )
    return None


def fused_optimizer(evidence: Evidence) -> Fit | None:
    """Return a fit if the optimizer is fused in one run only."""
    first = evidence.first
    if first is None or first.ended is not None:
        return None
    if not lacks_counterpart(evidence) and first.kind not in ("types", "arguments", "reordered"):
        return None
    both = (
        [*evidence.missing, *([first.a] if first.a else [])],
        [*evidence.inserted, *([first.b] if first.b else [])],
    )
    fused = [mentions(records, "._fused_") for records in both]
    if fused[0] == fused[1]:
        return None
    name = next(r.name for r in both[fused[1]] if "._fused_" in r.name)
    return Fit(f"Only {'a' if fused[0] else 'b'} steps with `{name}`.", "shown")


def uninitialized_memory(evidence: Evidence) -> Fit | None:
    """Return a fit if an operation read memory that nothing had written."""
    first = evidence.first
    if first is None or first.kind not in ("uninitialized", "wrote"):
        return None
    records = [each for each in first.records if each.facts.get("uninitialized")]
    if first.kind == "uninitialized":
        records += first.records
    if not records:
        return None
    return Fit(f"{named(records[0])} reads memory that nothing wrote before.", "shown")


def memory_layout(evidence: Evidence) -> Fit | None:
    """Return a fit if a tensor has the same elements in another layout, so that sums take another
    order.
    """
    first = evidence.first
    if wrote_differently(evidence) is None or first is None or first.a is None or first.b is None:
        return None
    for number, (a, b) in enumerate(zip(first.a.reads, first.b.reads, strict=False)):
        if a.is_contiguous != b.is_contiguous:
            return Fit(
                f"The tensor that {named(first.a)} reads as number {number} (from 0) is contiguous "
                f"in {'a' if a.is_contiguous else 'b'} only."
            )
    return None


def alignment(evidence: Evidence) -> Fit | None:
    """Return a fit if a tensor begins at an address of another alignment, so that vector loops
    split otherwise.
    """
    first = evidence.first
    record = wrote_differently(evidence)
    if record is None or first is None or first.a is None or first.b is None:
        return None
    if not on_cpu(record) or base(record) in RACING or deciding(evidence):
        return None
    if memory_layout(evidence) is not None:
        return None
    for number, (a, b) in enumerate(zip(first.a.reads, first.b.reads, strict=False)):
        if a.alignment != b.alignment:
            return Fit(
                f"The tensor that {named(record)} reads as number {number} (from 0) begins at a "
                f"multiple of {a.alignment} bytes in a and of {b.alignment} in b."
            )
    return None


def _dtype(value: object) -> str:
    return "off" if value is None else f"on, to {value},"
