"""Batches of other sizes, other workers, and data that comes from outside torch."""

from nondet.tracing.causes.cause import Fit, Strength
from nondet.tracing.causes.looking import named, tensors
from nondet.tracing.causes.order import generators_differ
from nondet.tracing.causes.resuming import another_start
from nondet.tracing.compare.evidence import Evidence, Side
from nondet.tracing.records import Record, TensorType

_PARTS = ("split", "chunk", "unbind", "tensor_split", "split_with_sizes", "unsafe_split")


def worker_count(evidence: Evidence) -> Fit | None:
    """Return a fit if the loaders have other numbers of workers, and each worker has a generator of
    its own.
    """
    first = evidence.first
    kinds = ("batch", "state", "missing", "inserted", "replaced", "reordered", "types")
    if first is None or first.kind not in kinds or first.ended is not None:
        return None
    a, b = (_worker_counts(side) for side in evidence.sides)
    if not a or not b or a[0] == b[0]:
        return None
    where = named(evidence.a.batches[0])
    strength: Strength = "shown" if first.kind == "batch" else "likely"
    return Fit(f"The loader of {where} has `num_workers={a[0]}` in a and {b[0]} in b.", strength)


def accumulation(evidence: Evidence) -> Fit | None:
    """Return a fit if a step has more backward passes in one run, over smaller batches."""
    sizes = _other_sizes(evidence)
    if sizes is None:
        return None
    first = evidence.first
    assert first is not None
    assert first.a is not None
    assert first.b is not None
    passes = [
        _backward_passes(side, record.step)
        for side, record in zip(evidence.sides, (first.a, first.b), strict=True)
    ]
    if passes[0] == passes[1] or 0 in passes:
        return None
    return Fit(
        f"In step {first.a.step}, a backward pass runs {_times(passes[0])} in a and "
        f"{_times(passes[1])} in b, and {named(first.a)} has {sizes[0]} examples in a and "
        f"{sizes[1]} in b.",
        "shown",
    )


def batch_size(evidence: Evidence) -> Fit | None:
    """Return a fit if the same examples are computed in batches of other sizes."""
    sizes = _other_sizes(evidence)
    if sizes is None or accumulation(evidence) is not None:
        return None
    assert evidence.first is not None
    return Fit(
        f"{named(evidence.first.record)} has {sizes[0]} examples in a and {sizes[1]} in b.", "shown"
    )


def data_from_outside(evidence: Evidence) -> Fit | None:
    """Return a fit if a tensor that torch did not compute differs, and no generator or order says
    why.
    """
    first = evidence.first
    if first is None or first.kind not in ("read", "batch", "parameter"):
        return None
    if first.a is None or first.b is None or generators_differ(evidence):
        return None
    if first.kind == "read":
        reads = [first.a.reads[number] for number in first.reads]
        if any(read.source.origin != "new" or read.source.label for read in reads):
            return None
    elif first.kind == "parameter" and another_start(evidence) is not None:
        return None
    elif first.kind == "batch" and first.a.facts.get("worker") is not None:
        return None  # the stream of the worker says more
    return Fit(f"{named(first.a)} gets other values, which no record computed.", "possible")


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _worker_counts(side: Side) -> list[int]:
    counts = [batch.facts.get("workers") for batch in side.batches]
    return [count for count in counts if isinstance(count, int)]


def _other_sizes(evidence: Evidence) -> tuple[int, int] | None:
    """Return the first sizes that differ in dimension 0, if nothing else of the types does."""
    first = evidence.first
    if first is None or first.a is None or first.b is None:
        return None
    if first.kind not in ("types", "batch", "arguments") or first.a.name != first.b.name:
        return None
    found = None
    for a, b in zip(_types(first.a), _types(first.b), strict=False):
        if a == b:
            continue
        if a._replace(shape=()) != b._replace(shape=()) or a.shape[1:] != b.shape[1:]:
            return None
        if len(a.shape) != len(b.shape):
            return None
        found = found or (a.shape[0], b.shape[0])
    return found


def _types(record: Record) -> list[TensorType]:
    return [each.type for each in tensors(record)]


def _backward_passes(side: Side, step: int) -> int:
    """Return how often a step goes over from the forward to the backward phase."""
    passes, before = 0, "forward"
    for record in side.everything():
        if record.step == step and record.kind in ("operation", "graph", "module"):
            passes += record.phase == "backward" != before
            before = record.phase
    return passes
