"""Compare two traces, stream by stream."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from nondet.tracing.causes import explain
from nondet.tracing.compare.distance import kept_distance
from nondet.tracing.compare.elsewhere import starts_elsewhere
from nondet.tracing.compare.evidence import (
    Elsewhere,
    Evidence,
    First,
    Outcome,
    Pair,
    Side,
    StreamVerdict,
    Verdict,
)
from nondet.tracing.compare.pairing import Pairing, pair_streams
from nondet.tracing.compare.parting import Parting, part
from nondet.tracing.compare.steps import StepComparison
from nondet.tracing.format import Stream, Trace, TraceError, read_trace
from nondet.tracing.format.blocks import CALLERS
from nondet.tracing.header import compare_headers
from nondet.tracing.options import Options
from nondet.tracing.records import Record, Unseen

_BEFORE = 200
_AFTER = 20_000
_STEPS_AFTER = 2


def compare_traces(a: Path | str, b: Path | str) -> Verdict:
    """Return where two traces part, and why, as far as is known.

    Traces that cannot be read or compared give the outcome "not compared", with reasons.
    """
    paths = Path(a), Path(b)
    traces, reasons = [], []
    for path in paths:
        try:
            traces.append(read_trace(path))
        except (TraceError, OSError) as error:
            reasons.append(str(error))
    if len(traces) == 2:
        reasons = [*_other_options(*traces), *_empty(*traces)]
    if reasons:
        return Verdict(*paths, "not compared", tuple(reasons))
    try:
        return _compare(*traces)
    except TraceError as error:
        return Verdict(*paths, "not compared", (str(error),))


def _other_options(a: Trace, b: Trace) -> Iterator[str]:
    """Yield the options of recording that keep two traces from being compared."""
    left, right = (_options(trace) for trace in (a, b))
    for name in ("level", "steps", "every", "eager"):
        if left[name] != right[name]:
            yield (
                f"the traces were recorded with other options: {name} is {_shown(left[name])} in "
                f"{a.path} and {_shown(right[name])} in {b.path}; record one of them again"
            )


def _options(trace: Trace) -> dict[str, Any]:
    given = trace.command.get("options")
    known = asdict(Options()) | (dict(given) if isinstance(given, Mapping) else {})
    steps = known["steps"]
    return known | {"steps": tuple(steps) if isinstance(steps, list) else steps}


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ":".join(map(str, value))
    return "all" if value is None else str(value)


def _empty(*traces: Trace) -> Iterator[str]:
    for trace in traces:
        if not any(len(step.entries) for stream in trace.streams for step in stream.steps):
            found = [f"{each.file} {each.problem}" for each in trace.streams if each.problem]
            yield "; ".join([f"{trace.path}: holds no records: nothing was recorded", *found])


def _compare(a: Trace, b: Trace) -> Verdict:
    pairing = pair_streams(_readable(a), _readable(b))
    partings = [_part(*pair) for pair in pairing.pairs]
    firsts = [_first(parting, *pair) for parting, pair in zip(partings, pairing.pairs, strict=True)]
    verdicts = []
    for number, (pair, parting) in enumerate(zip(pairing.pairs, partings, strict=True)):
        elsewhere = tuple(
            Elsewhere(pairing.pairs[other][0].info.role, first)
            for other, first in enumerate(firsts)
            if first is not None and other != number
        )
        verdicts.append(_stream_verdict((a, b), pair, parting, firsts[number], elsewhere))
    headers = {
        (each.name, str(each.a), str(each.b)): each
        for verdict in verdicts
        for each in verdict.evidence.headers
    }
    return Verdict(
        a.path,
        b.path,
        _outcome(verdicts, pairing, (a, b)),
        tuple(_problems(a, b)),
        tuple(headers.values()),
        tuple(verdicts),
        tuple(stream.info.role for stream in pairing.missing),
        tuple(stream.info.role for stream in pairing.extra),
        (_unseen(a), _unseen(b)),
    )


def _readable(trace: Trace) -> list[Stream]:
    return [stream for stream in trace.streams if any(len(step.entries) for step in stream.steps)]


def _outcome(
    verdicts: Sequence[StreamVerdict], pairing: Pairing, traces: tuple[Trace, Trace]
) -> Outcome:
    problems = list(_problems(*traces))
    if any(verdict.evidence.first is not None for verdict in verdicts):
        return "different"
    # A run that was killed may have been killed before it started the rest.
    if (pairing.missing or pairing.extra) and not problems:
        return "different"
    return "not compared" if problems else "equal"


def _problems(*traces: Trace) -> Iterator[str]:
    """Yield what of the traces cannot be read. Workers of a loader are ended by their parent."""
    for trace in traces:
        for stream in trace.streams:
            if stream.problem and not (_is_worker(stream) and stream.steps):
                last = f"; read up to step {stream.steps[-1].number}" if stream.steps else ""
                yield f"{trace.path / stream.file} ({stream.info.role}) {stream.problem}{last}"


def _is_worker(stream: Stream) -> bool:
    return "/loader " in stream.info.role


def _part(a: Stream, b: Stream) -> Parting:
    try:
        return part(a, b)
    except (IndexError, KeyError, OverflowError) as error:
        raise TraceError(a.file, f"holds records that cannot be compared: {error!r}") from error


def _first(parting: Parting, a: Stream, b: Stream) -> First | None:
    """Return the first difference, None if there is none: a stream that was cut differs in nothing
    because it is shorter, nor does a worker that made fewer batches that nobody asked for.
    """
    if parting.judgement is None:
        return None
    first = parting.judgement.first
    if first.ended is not None:
        ended = a if first.ended == "a" else b
        if not ended.complete or _is_worker(ended):
            return None
    return replace(first, distance=kept_distance(first, a.kept, b.kept))


def _stream_verdict(
    traces: tuple[Trace, Trace],
    pair: tuple[Stream, Stream],
    parting: Parting,
    first: First | None,
    elsewhere: tuple[Elsewhere, ...],
) -> StreamVerdict:
    judgement = parting.judgement if first is not None else None
    side_a, side_b = (
        _side(trace, stream, place)
        for trace, stream, place in zip(traces, pair, _places(parting, first), strict=True)
    )
    headers = tuple(compare_headers(pair[0].info.header, pair[1].info.header))
    evidence = Evidence(side_a, side_b, headers, first, elsewhere=elsewhere)
    differing = remaining = 0
    if judgement is not None and first is not None:
        evidence = replace(
            evidence,
            pairs=judgement.pairs,
            origins=judgement.origins,
            missing=judgement.missing,
            inserted=judgement.inserted,
            moved=judgement.moved,
            carriers=judgement.carriers,
            unrelated=judgement.unrelated,
            by_value=judgement.by_value,
        )
        differing, remaining = _differing_steps(*pair, first.record.step)
    problems = [
        f"{trace.path}: {stream.problem}"
        for trace, stream in zip(traces, pair, strict=True)
        if stream.problem and not _is_worker(stream)
    ]
    return StreamVerdict(
        evidence,
        tuple(explain(evidence)) if first is not None else (),
        parting.steps,
        parting.records,
        differing,
        remaining,
        "; ".join(problems) or None,
        starts_elsewhere(evidence),
    )


Place = tuple[int, int] | None
"""Step and index of a record; None for the end of a stream."""


def _places(parting: Parting, first: First | None) -> tuple[Place, Place]:
    """Return the place in each stream at which they part."""
    if first is None or parting.judgement is None:
        return None, None
    pairs = parting.judgement.pairs
    start = next((n for n, pair in enumerate(pairs) if _belongs(pair, first)), 0)
    places: list[Place] = []
    for side, record in enumerate((first.a, first.b)):
        following = (pair[side] for pair in pairs[start:])
        record = record or next((each for each in following if each is not None), None)
        places.append(None if record is None else (record.step, record.index))
    return places[0], places[1]


def _belongs(pair: Pair, first: First) -> bool:
    return any(
        one is not None and one is other
        for one, other in zip(pair, (first.a, first.b), strict=True)
    )


def _side(trace: Trace, stream: Stream, place: Place) -> Side:
    before, after = _around(stream, place)
    others = {each.info.role: each for each in trace.streams if each is not stream}
    return Side(
        stream.info.role,
        stream.info.header,
        trace.command,
        before,
        after,
        partial(_everything, stream),
        {role: partial(_everything, each) for role, each in others.items()},
        _unseen(trace),
        partial(_find, [stream, *others.values()]),
    )


def _around(stream: Stream, place: Place) -> tuple[tuple[Record, ...], tuple[Record, ...]]:
    """Return records before a place and from it on."""
    numbers = [step.number for step in stream.steps]
    at = numbers.index(place[0]) if place is not None else len(numbers)
    before: list[Record] = []
    after: list[Record] = []
    if place is not None:
        records = stream.records(at)
        before, after = records[: place[1]], records[place[1] :]
        for position in range(at + 1, min(at + 1 + _STEPS_AFTER, len(numbers))):
            if len(after) < _AFTER:
                after += stream.records(position)
    for position in range(at - 1, -1, -1):
        if len(before) >= _BEFORE:
            break
        before = stream.records(position) + before
    return tuple(before[-_BEFORE:]), tuple(after)


def _everything(stream: Stream) -> Iterator[Record]:
    for position in range(len(stream.steps)):
        yield from stream.records(position)


def _find(streams: Sequence[Stream], digest: int) -> list[tuple[str, Record]]:
    """Return the records that wrote a digest, with the roles of their streams."""
    return [
        (stream.info.role, record)
        for stream in streams
        for position, step in enumerate(stream.steps)
        if np.any(step.values == np.uint64(digest))
        for record in stream.records(position)
        if any(write.digest == digest for write in record.writes)
    ]


def _differing_steps(a: Stream, b: Stream, start: int) -> tuple[int, int]:
    """Return how many steps of both differ from a number on, and how many there are."""
    same = StepComparison(a, b)
    places_a, places_b = (
        {step.number: place for place, step in enumerate(stream.steps) if step.number >= start}
        for stream in (a, b)
    )
    both = sorted(places_a.keys() & places_b.keys())
    return sum(not same.equal(places_a[n], places_b[n]) for n in both), len(both)


def _unseen(trace: Trace) -> tuple[Unseen, ...]:
    counts: Counter[tuple[str, str]] = Counter()
    for each in (*_of_command(trace), *(u for stream in trace.streams for u in stream.unseen)):
        counts[each.kind, each.what] += each.count
    return tuple(Unseen(kind, what, count) for (kind, what), count in counts.items())


def _of_command(trace: Trace) -> Iterator[Unseen]:
    """Yield what the command's processes did unseen, as trace.json lists it, and what no trace of
    its version tells.
    """
    if trace.version < CALLERS:
        yield Unseen(
            "callers",
            f"which line of the script led to a line of a library: version {trace.version} of the "
            f"format does not tell; a new recording does",
        )
    listed = trace.command.get("unseen")
    for each in listed if isinstance(listed, list) else ():
        if isinstance(each, Mapping) and all(
            isinstance(each.get(k), str) for k in ("kind", "what")
        ):
            count = each.get("count", 1)
            yield Unseen(each["kind"], each["what"], count if isinstance(count, int) else 1)
