"""The same work in another order: of a set, a folder, a loader, or of what was done first."""

from collections import Counter
from collections.abc import Iterable, Iterator

from nondet.tracing.causes.cause import Fit
from nondet.tracing.causes.looking import is_integer, named, settings
from nondet.tracing.compare.evidence import Evidence, Side
from nondet.tracing.records import Record


def hash_seed(evidence: Evidence) -> Fit | None:
    """Return a fit if integers from outside torch differ, and Python hashes strings with a random
    seed.
    """
    first = evidence.first
    if first is None or first.kind not in ("read", "batch") or first.a is None or first.b is None:
        return None
    seeds = settings(evidence, "*PYTHONHASHSEED")
    if seeds[0] == seeds[1] and str(seeds[0]).isdigit():
        return None
    if generators_differ(evidence):
        return None
    if first.kind == "read":
        types = [first.a.reads[number].type.dtype for number in first.reads]
        if any(_written_by_torch(side, first.a, first.reads) for side in evidence.sides):
            return None
    else:
        types = [first.a.writes[number].type.dtype for number in first.writes]
    if not types or not all(map(is_integer, types)):
        return None
    if first.kind == "batch" and _permuted(evidence):
        return None
    how = (
        "`PYTHONHASHSEED` is not set"
        if seeds[0] == seeds[1]
        else f"`PYTHONHASHSEED` is {seeds[0] or 'not set'} in a and {seeds[1] or 'not set'} in b"
    )
    return Fit(
        f"Only integers differ in what {named(first.a)} gets, torch did not compute them, no "
        f"generator differs, and {how}."
    )


def parameter_set(evidence: Evidence) -> Fit | None:
    """Return a fit if parameters are taken in the order of a set, that of their addresses."""
    first = evidence.first
    if first is None or first.kind not in ("reordered", "read", "parameter"):
        return None
    if first.a is None or first.b is None:
        return None
    known = [{each.name for each in side.parameters} for side in evidence.sides]
    names = [
        _parameters_of(side, record, some)
        for side, record, some in zip(evidence.sides, (first.a, first.b), known, strict=True)
    ]
    if first.a.kind == first.b.kind == "parameter":
        names = [[first.a.name], [first.b.name]]
    if not names[0] or not names[1] or names[0] == names[1] or known[0] != known[1]:
        return None
    number = next(n for n, (a, b) in enumerate(zip(*names, strict=False)) if a != b)
    return Fit(
        f"{named(first.a)} takes the parameter `{names[0][number]}` in a and `{names[1][number]}` "
        f"in b, and both runs take the same ones in all.",
        "shown",
    )


def order_of_completion(evidence: Evidence) -> Fit | None:
    """Return a fit if results of threads or processes are used in the order in which they came."""
    first = evidence.first
    if first is None or first.kind not in ("reordered", "read") or not _same_values(evidence):
        return None
    assert first.a is not None
    for side, record in zip(evidence.sides, first.records, strict=True):
        for read in [record.reads[number] for number in first.reads]:
            made = [] if read.digest is None else side.writers(read.digest)
            if read.source.label in side.others or any(role != side.role for role, _ in made):
                return Fit(
                    f"Both runs use the same results of other threads or processes, but "
                    f"{named(first.a)} gets them in another order.",
                    "shown",
                )
    if all(not read.type.shape for read in first.a.reads) and first.a.reads:
        return Fit(f"{named(first.a)} gets the same numbers in both runs, in another order.")
    return None


def order_of_batches(evidence: Evidence) -> Fit | None:
    """Return a fit if a loader with workers returned the same batches in another order."""
    first = evidence.first
    if first is None or first.kind not in ("batch", "reordered"):
        return None
    if any(record.kind != "batch" for record in first.records) or not evidence.same_batches:
        return None
    workers = [_integer(record.facts.get("workers")) for record in first.records]
    if min(workers, default=0) < 2 or generators_differ(evidence):
        return None
    return Fit(
        f"Both runs had the same batches, as {workers[0]} workers finished them.",
        "shown",
    )


def directory_order(evidence: Evidence) -> Fit | None:
    """Return a fit if data from outside torch is the same, in another order."""
    first = evidence.first
    if first is None or first.a is None or first.b is None or generators_differ(evidence):
        return None
    if "batch" in (first.a.kind, first.b.kind):
        if not _permuted(evidence):
            return None
        what = f"The batches of {named(first.a)} hold the same examples in both runs"
    elif first.kind in ("reordered", "read"):
        reads = [read for record in (first.a, first.b) for read in record.reads]
        scalars = all(not read.type.shape for read in reads)
        if not reads or scalars or not _same_values(evidence):
            return None
        if any(each.source.origin != "new" or each.source.label for each in reads[:1]):
            return None
        what = f"{named(first.a)} gets the same data from outside torch in both runs"
    else:
        return None
    return Fit(f"{what}, in another order, and no generator differs.")


def another_order(evidence: Evidence) -> Fit | None:
    """Return a fit if both runs do the same in another order, and nothing says why."""
    first = evidence.first
    if first is None or first.kind != "reordered":
        return None
    return Fit(
        f"From {named(first.record)} on, both runs do the same in another order.", "possible"
    )


def _parameters_of(side: Side, record: Record, known: set[str]) -> list[str]:
    """Return the names of the parameters that a record reads."""
    names = []
    for read in record.reads:
        source = None if read.source.label in known else side.source(record, read)
        name = source.name if source is not None else read.source.label
        names += [name] if name in known else []
    return names


def generators_differ(evidence: Evidence) -> bool:
    """Return True if a generator of NumPy or Python has another state by the first difference."""
    assert evidence.first is not None
    step = min(record.step for record in evidence.first.records)
    # A state may be recorded more than once in a step: before each seed, and at the end.
    a, b = (
        [(r.name, r.step, r.state) for r in side.generators if r.step <= step]
        for side in evidence.sides
    )
    return a != b


def _written_by_torch(side: Side, record: Record, numbers: Iterable[int]) -> bool:
    """Return True if a record read a tensor that torch computed."""
    return any(record.reads[number].source.origin != "new" for number in numbers)


def _permuted(evidence: Evidence) -> bool:
    """Return True if the batches of both runs hold the same examples."""
    return evidence.same_batches or evidence.same_rows


def _same_values(evidence: Evidence) -> bool:
    """Return True if both runs read the same tensors from outside where they part, again and again,
    from the first difference on.
    """
    assert evidence.first is not None
    a, b = (Counter(_taken(side, evidence.first.record)) for side in evidence.sides)
    return a == b and len(a) > 1


def _taken(side: Side, like: Record) -> Iterator[int | None]:
    """Yield the digests of what records with the name and line of one read from outside torch and
    from other threads.
    """
    for record in side.after:
        if record.name == like.name and _same_line(record, like):
            for read in record.reads:
                if read.source.origin == "new" and read.source.label in ("", *side.others):
                    yield read.digest


def _same_line(a: Record, b: Record) -> bool:
    return a.line is b.line or (
        a.line is not None and b.line is not None and a.line.text == b.line.text
    )


def _integer(value: object) -> int:
    return value if isinstance(value, int) else 0
