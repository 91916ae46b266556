"""What a comparison found, in sentences."""

import shlex
from collections.abc import Iterator, Mapping, Sequence

from nondet.tracing.compare.evidence import Distance, First, Rerun, StreamVerdict, Verdict
from nondet.tracing.compare.selection import differing_steps, has_values, select
from nondet.tracing.records import Line, Record, TensorType, in_package

NOTHING_FITS = (
    "No known cause fits. Record both runs again with --verify-inputs, which hashes every input; "
    "if that names no other operation, with one thread (OMP_NUM_THREADS=1), and see whether the "
    "difference is gone."
)

_LONGEST = 8
"""How many shapes, numbers or records are listed before "and more"."""


def conclusion(verdict: Verdict) -> str:
    """Return what was found, in one sentence."""
    steps = max((each.steps for each in verdict.streams), default=0)
    records = sum(each.records for each in verdict.streams)
    streams = _count(len(verdict.streams), "stream")
    extent = f"{_count(records, 'record')}, {_count(steps, 'step')}, {streams}"
    if verdict.outcome == "equal":
        return f"Identical in all that was recorded: {extent}."
    if verdict.outcome == "different":
        parted = sum(each.evidence.first is not None for each in verdict.streams)
        if not parted:
            return "The runs differ: one has streams that the other lacks."
        return f"The runs differ in {parted} of {streams}."
    if verdict.streams:
        return f"Identical as far as both can be read: {extent}. The rest could not be compared."
    return "The traces could not be compared."


def headline(first: First) -> str:
    """Return what the first difference is, in one sentence."""
    record, name = first.record, title(first.record)
    if first.ended is not None:
        other = "b" if first.ended == "a" else "a"
        return f"{first.ended} ends here, while {other} goes on with {name}."
    if first.kind == "seed":
        return f"{name} was given {_numbers(first.a)} in a and {_numbers(first.b)} in b."
    if first.kind == "state":
        generator = record.facts.get("generator", "cpu")
        return f"{name} drew from the generator {generator}, which was in another state."
    if first.kind == "arguments":
        return f"{name} was called with {_arguments(first.a)} in a, {_arguments(first.b)} in b."
    if first.kind == "replaced" and first.a and first.b:
        return f"a runs {title(first.a)} where b runs {title(first.b)}."
    if first.kind == "reordered":
        if first.a and first.b and title(first.a) != title(first.b):
            here = f"here a runs {title(first.a)}, b runs {title(first.b)}"
        else:
            here = f"here {name} takes tensors that it takes elsewhere in the other run"
        return f"Both runs do the same in another order: {here}."
    sentences = {
        "wrote": f"{name} read equal bits and wrote different ones.",
        "uninitialized": f"{name} read memory that nothing had written.",
        "read": (
            f"{name} read a tensor that differs, though no record wrote it differently: something "
            f"that the trace does not see wrote it, possibly an operation before."
        ),
        "batch": f"{name} returned another batch.",
        "parameter": f"The parameter {name} has another value when it is first used.",
        "types": f"{name} has tensors of other types.",
        "missing": f"Only a runs {name} here.",
        "inserted": f"Only b runs {name} here.",
    }
    return sentences[first.kind]


def title(record: Record) -> str:
    """Return what a record is, in a few words."""
    if record.kind == "graph":
        return f"the compiled graph {record.name}"
    return record.name


def details(verdict: StreamVerdict) -> Iterator[tuple[str, str]]:
    """Yield labels and texts: where the first difference is, and how far it goes."""
    first = verdict.evidence.first
    if first is None:
        return
    a, b = (each or first.record for each in (first.a, first.b))
    yield "step", _both(_step(a), _step(b))
    if a.module or b.module:
        yield "module", _both(a.module or "(none)", b.module or "(none)")
    yield "phase", _both(a.phase, b.phase)
    # A backward operation has the line of its forward operation.
    if a.line or b.line:
        yield "line", _both(*(show_line(each.line, each.caller) for each in (a, b)))
    if a.backward_line or b.backward_line:
        lines = [show_line(each.backward_line, each.backward_caller) for each in (a, b)]
        yield "backward()", _both(*lines)
    if a.reads or b.reads:
        yield "read", _both(*(_types([each.type for each in r.reads]) for r in (a, b)))
    if a.writes or b.writes:
        yield "wrote", _both(*(_types([each.type for each in r.writes]) for r in (a, b)))
    if first.unhashed:
        numbers = ", ".join(map(str, first.unhashed))
        yield "caution", f"of what it read, number {numbers} (from 0) was not hashed"
    if first.distance is not None:
        yield "difference", show_distance(first.distance)
    elif first.writes:
        yield "difference", "unknown, since values were not kept"


def consequences(verdict: StreamVerdict) -> Iterator[str]:
    """Yield sentences on what came before and after the first difference."""
    evidence, first = verdict.evidence, verdict.evidence.first
    if first is None:
        return
    if first.kind in ("read", "parameter", "state") and _begins_late(verdict):
        yield (
            "Steps before it were not recorded: it may have begun in one of them. Record the first "
            "step too."
        )
    if verdict.source is not None:
        yield f"It comes from {verdict.source.role}: {headline(verdict.source.first)}"
    if evidence.unrelated:
        number = _count(len(evidence.unrelated), "place")
        yield (
            f"Before it, the runs do other things at {number}, the first in step "
            f"{evidence.unrelated[0].record.step} ({headline(evidence.unrelated[0])}) Nothing that "
            f"differs was traced to that."
        )
    if evidence.origins:
        names = [_briefly(pair.a) for pair in evidence.origins if pair.a]
        yield (
            f"After it, {_count(len(names), 'more record')} read equal bits and wrote different "
            f"ones: {_list(names)}."
        )
    if evidence.carriers:
        differ = "differs" if evidence.carriers == 1 else "differ"
        yield (
            f"After it, {_count(evidence.carriers, 'record')} of that step and the next "
            f"{differ} because of what came before."
        )
    if not evidence.by_value:
        yield (
            "All that both runs did came out equal; they did other things besides, or did them in "
            "another order."
        )
    elif verdict.remaining_steps > 1:
        yield (
            f"From step {first.record.step} on, {verdict.differing_steps} of "
            f"{verdict.remaining_steps} steps differ."
        )


def to_keep_values(verdict: StreamVerdict) -> str | None:
    """Return the command that records the values of what differs first; None if they were kept, or
    if there are none.
    """
    first = verdict.evidence.first
    if first is None or not has_values(first):
        return None
    steps = "{}:{}".format(*differing_steps(first))
    selection = shlex.quote(",".join(dict.fromkeys(map(select, first.records))))
    options = f"--steps {steps} --keep-values {selection}"
    return f"nondet trace {options} --out OUT.trace -- COMMAND"


def describe_rerun(rerun: Rerun) -> str:
    """Return what running both commands again has shown, in a sentence or two."""
    first = rerun.first
    if first is None:
        steps = "{} to {}".format(*rerun.steps) if rerun.steps[0] < rerun.steps[1] else ""
        step = f"steps {steps} are" if steps else f"step {rerun.steps[0]} is"
        return (
            f"Run again, {step} the same in both: what differed depends on timing, as in a race, "
            f"or on something that the trace does not see."
        )
    if rerun.outcome == "elsewhere":
        line = first.record.caller or first.record.line
        return (
            f"Run again, they part elsewhere, at {show_line(line)}, as runs with a race do: "
            f"{headline(first)}"
        )
    distance = "its values cannot be compared"
    if first.distance is not None:
        distance = show_distance(first.distance)
    bits = "the same bits as when they were recorded"
    if not rerun.same_bits:
        bits = "other bits than when they were recorded, as runs with a race do"
    return f"Run again, they part at the same place, with {bits}: {distance}."


def _begins_late(verdict: StreamVerdict) -> bool:
    """Return True if the first difference is in the first recorded step, and none of the first."""
    first, side = verdict.evidence.first, verdict.evidence.a
    options = side.command.get("options")
    if first is None or not isinstance(options, Mapping) or first.record.step == 0:
        return False
    return bool(options.get("steps")) or options.get("every", 1) != 1


def show_line(line: Line | None, caller: Line | None = None) -> str:
    """Return a line of source with its place; caller: that of the script which led to a line of a
    library, which then stands first.
    """
    if line is None:
        return "(unknown)"
    function = "" if line.function in ("", "<module>") else f" in {line.function}"
    text = f": {line.text}" if line.text else ""
    if caller is None:
        return f"{line.file}:{line.number}{function}{text}"
    return f"{show_line(caller)} (inside {in_package(line.file)}:{line.number}{function}{text})"


def show_distance(distance: Distance) -> str:
    """Return how far two tensors are apart."""
    where = f"at [{', '.join(map(str, distance.where))}]" if distance.where else "in the only one"
    values = f"{distance.values[0]!r} in a, {distance.values[1]!r} in b"
    largest = "first" if distance.ulp is None else f"at most {distance.ulp} ULP,"
    of = _count(distance.elements, "element")
    return f"{distance.differing} of {of}; {largest} {where}: {values}"


def _step(record: Record) -> str:
    return f"{record.step}, record {record.index}"


def _both(a: str, b: str) -> str:
    return a if a == b else f"{a} in a; {b} in b"


def _types(types: Sequence[TensorType]) -> str:
    return _list([f"{each.dtype}{list(each.shape)}" for each in types]) or "nothing"


def _numbers(record: Record | None) -> str:
    return ", ".join(map(str, record.numbers)) or record.arguments if record else "nothing"


def _arguments(record: Record | None) -> str:
    if record is None:
        return "nothing"
    given = [*([record.arguments] if record.arguments else []), *map(repr, record.numbers)]
    return f"({_list(given)})"


def _briefly(record: Record) -> str:
    line = record.caller or record.line
    place = f" ({line.file}:{line.number})" if line else ""
    return f"{title(record)}{place}"


def _list(texts: Sequence[str]) -> str:
    more = len(texts) - _LONGEST
    return ", ".join(texts[:_LONGEST]) + (f" and {more} more" if more > 0 else "")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
