"""Pair the streams of two traces."""

import re
from collections import defaultdict
from collections.abc import Hashable, Sequence
from typing import NamedTuple

from nondet.tracing.compare.keys import place
from nondet.tracing.format import Stream

_OUTLINE = 200
"""How many records of a stream are looked at to tell what it does."""


class Pairing(NamedTuple):
    """The streams that belong together, and those that only the first or the second trace has."""

    pairs: tuple[tuple[Stream, Stream], ...]
    missing: tuple[Stream, ...]
    extra: tuple[Stream, ...]


def pair_streams(a: Sequence[Stream], b: Sequence[Stream]) -> Pairing:
    """Pair streams by role.

    Numbers in roles count threads and processes as they begin, which may be in another order: where
    two streams of one role begin with other work, those of that kind which begin with the same work
    are paired first. In the order of a.
    """
    kinds: defaultdict[str, tuple[list[Stream], list[Stream]]] = defaultdict(lambda: ([], []))
    for side, streams in enumerate((a, b)):
        for stream in streams:
            kinds[_kind(stream)][side].append(stream)
    partner: dict[int, Stream] = {}
    for left, right in kinds.values():
        outlines = {id(stream): _outline(stream) for stream in (*left, *right)}
        rest_a, rest_b = left, right
        for by_role, by_outline in ((True, True), (False, True), (True, False), (False, False)):
            names = {
                id(stream): (
                    by_role and stream.info.role,
                    by_outline and outlines[id(stream)],
                )
                for stream in (*left, *right)
            }
            waiting, rest_a = rest_a, []
            for stream in waiting:
                match = next((x for x in rest_b if names[id(x)] == names[id(stream)]), None)
                if match is None:
                    rest_a.append(stream)
                else:
                    partner[id(stream)] = match
                    rest_b = [each for each in rest_b if each is not match]
    found = {id(stream) for stream in partner.values()}
    return Pairing(
        tuple((stream, partner[id(stream)]) for stream in a if id(stream) in partner),
        tuple(stream for stream in a if id(stream) not in partner),
        tuple(stream for stream in b if id(stream) not in found),
    )


def _kind(stream: Stream) -> str:
    """Return a role without its numbers; that of a rank with them, since ranks have no order of
    their own.
    """
    parts = stream.info.role.split("/")
    return "/".join(
        part if part.startswith("rank ") else re.sub(r"\d+", "#", part) for part in parts
    )


def _outline(stream: Stream) -> Hashable:
    """Return what a stream does first, without values."""
    if not stream.steps:
        return ()
    entries = [stream.entries[number] for number in stream.steps[0].entries[:_OUTLINE]]
    return tuple(
        (entry.kind, entry.name, place(stream.lines[entry.line]) if entry.line >= 0 else None)
        for entry in entries
        if entry.kind != "generator"
    )
