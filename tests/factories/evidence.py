"""Evidence of two fabricated streams, as a comparison of their traces gives it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from factories.streams import make_stream
from factories.traces import COMMAND, StreamMaker
from nondet.tracing.compare.evidence import Elsewhere, Evidence, First, Side
from nondet.tracing.compare.parting import part
from nondet.tracing.format import Stream
from nondet.tracing.records import Record

Make = Callable[[StreamMaker, bool], object]
"""Makes a stream; the flag is True for the run b."""


class Difference(NamedTuple):
    """A difference of two headers, as `nondet.tracing.header` gives it."""

    name: str
    a: Any
    b: Any
    decides: bool
    sentence: str


def differ(name: str, a: Any, b: Any) -> Difference:
    """Return a difference of headers that decides bits."""
    return Difference(name, a, b, True, f"{name} is {a} in a and {b} in b.")


def make_evidence(
    make: Make,
    *,
    headers: Sequence[Difference] = (),
    header: Mapping[str, Any] | None = None,
    commands: tuple[Sequence[str], Sequence[str]] = ((), ()),
    others: Mapping[str, Make] | None = None,
) -> Evidence:
    """Return the evidence of the streams that a function makes for a and b.

    headers: in what their headers differ. header: of both, `threads` = 2 by default. commands: the
    arguments of each. others: makes the other streams of each run, by role.
    """
    known = {"threads": 2, **(header or {})}
    roles: dict[str, Make] = {"main": make, **(others or {})}
    pairs = {role: _pair(role, each, known, headers) for role, each in roles.items()}
    partings = {role: part(*pair) for role, pair in pairs.items()}
    firsts = {
        role: parting.judgement.first
        for role, parting in partings.items()
        if parting.judgement is not None
    }
    sides = [
        Side(
            role="main",
            header=pairs["main"][side].info.header,
            command={**COMMAND, "arguments": list(commands[side])},
            before=_before(pairs["main"][side], partings["main"].after[side]),
            after=partings["main"].after[side],
            everything=lambda stream=pairs["main"][side]: _records(stream),  # type: ignore[misc]
            others={
                role: lambda stream=pair[side]: _records(stream)  # type: ignore[misc]
                for role, pair in pairs.items()
                if role != "main"
            },
        )
        for side in (0, 1)
    ]
    found = partings["main"].judgement
    if found is None:
        return Evidence(*sides, headers=tuple(headers))
    return Evidence(
        *sides,
        headers=tuple(headers),
        first=found.first,
        pairs=found.pairs,
        origins=found.origins,
        missing=found.missing,
        inserted=found.inserted,
        moved=found.moved,
        carriers=found.carriers,
        elsewhere=tuple(Elsewhere(role, f) for role, f in firsts.items() if role != "main"),
    )


def first_of(evidence: Evidence) -> First:
    """Return the first difference, which there must be."""
    assert evidence.first is not None
    return evidence.first


def _pair(
    role: str, make: Make, header: Mapping[str, Any], headers: Sequence[Difference]
) -> tuple[Stream, Stream]:
    makers = [
        StreamMaker(role, header={**header, **{each.name: each[side + 1] for each in headers}})
        for side in (0, 1)
    ]
    for side, maker in enumerate(makers):
        make(maker, bool(side))
    return make_stream(makers[0]), make_stream(makers[1])


def _before(stream: Stream, after: Sequence[Record]) -> tuple[Record, ...]:
    """Return the records of a stream before the first of some."""
    places = [(record.step, record.index) for record in after[:1]]
    records = _records(stream)
    return tuple(each for each in records if (each.step, each.index) < min(places, default=(0, 0)))


def _records(stream: Stream) -> list[Record]:
    return [each for place in range(len(stream.steps)) for each in stream.records(place)]
