"""Generators that nobody seeded, that were seeded otherwise, and draws that only one run makes."""

from collections.abc import Sequence

from nondet.tracing.causes.cause import Fit
from nondet.tracing.causes.looking import (
    base,
    differing_fact,
    is_draw,
    lacks_counterpart,
    named,
    place,
    position,
    same_command,
    unpaired,
)
from nondet.tracing.compare.evidence import Evidence, Side
from nondet.tracing.records import Record

_AFTER_GENERATOR = (
    *("read", "batch", "parameter", "arguments", "types", "reordered"),
    *("missing", "inserted", "replaced"),
)
"""Kinds of a first difference that numbers from outside torch can make."""


def no_seed(evidence: Evidence) -> Fit | None:
    """Return a fit if the first draws of both runs begin from seeds that nobody set."""
    if (draws := _unseeded_draws(evidence)) is None:
        return None
    if any(_torch_seeds(side) for side in evidence.sides):
        return None
    a, b = draws
    return Fit(
        f"No seed is set anywhere, so {named(a)} draws from a generator that torch seeded at "
        f"random: with {a.facts['seed']} in a and {b.facts['seed']} in b.",
        "shown",
    )


def seed_too_late(evidence: Evidence) -> Fit | None:
    """Return a fit if random numbers are drawn before the seed is set."""
    if (draws := _unseeded_draws(evidence)) is None:
        return None
    later = [_torch_seeds(side) for side in evidence.sides]
    if not all(later):
        return None
    a, seed = draws[0], later[0][0]
    return Fit(f"{named(a)} draws before {named(seed)} sets the seed.", "shown")


def seed_from_clock(evidence: Evidence) -> Fit | None:
    """Return a fit if the seed itself is another one in each run of the same command."""
    first = evidence.first
    if first is None or first.kind != "seed" or first.a is None or first.b is None:
        return None
    from_clock = True in first.fact("from_clock")
    if not from_clock and not same_command(evidence):
        return None
    return Fit(
        f"{named(first.a)} was given {_seed(first.a)} in a and {_seed(first.b)} in b, though the "
        f"command is the same.",
        "shown" if from_clock else "likely",
    )


def other_seed(evidence: Evidence) -> Fit | None:
    """Return a fit if the commands set different seeds."""
    first = evidence.first
    if first is None or first.kind != "seed" or first.a is None or first.b is None:
        return None
    if same_command(evidence) or True in first.fact("from_clock"):
        return None
    return Fit(
        f"{named(first.a)} was given {_seed(first.a)} in a and {_seed(first.b)} in b, and the "
        f"commands differ."
    )


def numpy_unseeded(evidence: Evidence) -> Fit | None:
    """Return a fit if numPy's global generator was used and its states differ."""
    return _unseeded(evidence, "numpy.random")


def python_unseeded(evidence: Evidence) -> Fit | None:
    """Return a fit if the generator of Python's `random` was used and its states differ."""
    return _unseeded(evidence, "random")


def hidden_draw(evidence: Evidence) -> Fit | None:
    """Return a fit if one run makes an iterator of a DataLoader where the other makes none."""
    draw = _extra(evidence)
    if draw is None or not _is_base_seed(draw):
        return None
    return Fit(
        f"Only {_who(evidence, draw)} makes an iterator of a DataLoader at {place(draw)}, which "
        f"draws a seed for its workers from the global generator, even without workers.",
        "shown",
    )


def extra_draw(evidence: Evidence) -> Fit | None:
    """Return a fit if one run draws random numbers where the other draws none."""
    draw = _extra(evidence)
    if draw is None or _is_base_seed(draw):
        return None
    return Fit(
        f"Only {_who(evidence, draw)} draws here, with {named(draw)}, and every later draw of that "
        f"generator finds another state.",
        "shown",
    )


def _unseeded_draws(evidence: Evidence) -> tuple[Record, Record] | None:
    """Return draws that differ because their generators have different seeds, with no seed set
    before them.
    """
    first = evidence.first
    if first is None or first.kind != "state" or first.a is None or first.b is None:
        return None
    a, b = first.fact("seed")
    if a is None or b is None or a == b:
        return None
    for side, record in zip(evidence.sides, (first.a, first.b), strict=True):
        if any(position(seed) < position(record) for seed in _torch_seeds(side)):
            return None
    return first.a, first.b


def _torch_seeds(side: Side) -> Sequence[Record]:
    return [seed for seed in side.seeds if seed.name.startswith("torch")]


def _seed(record: Record) -> str:
    return ", ".join(f"{number:.17g}" for number in record.numbers) or record.arguments or "none"


def _unseeded(evidence: Evidence, name: str) -> Fit | None:
    """Return a fit if look at the generators of a module: the global one, which nobody seeded, and
    those that take their seed from chance.
    """
    first = evidence.first
    if first is None or first.kind not in _AFTER_GENERATOR or first.ended is not None:
        return None
    for seed in evidence.a.seeds:
        chance = seed.name.startswith(f"{name}.") and seed.facts.get("from_clock")
        if chance and position(seed) < position(first.record):
            return Fit(
                f"{named(seed)} takes its seed from chance, and {named(first.record)} has other "
                f"values.",
            )
    a, b = (_before_seeding(side, name) for side in evidence.sides)
    differing = [one.step for one, other in zip(a, b, strict=False) if one.state != other.state]
    if not differing or differing[0] > first.record.step:
        return None
    return Fit(
        f"The generator of `{name}` was not seeded when it was used, by step {differing[0]}: its "
        f"states differ, and {named(first.record)} has other values.",
    )


def _before_seeding(side: Side, name: str) -> list[Record]:
    """Return the states of a module's global generator until it is seeded."""
    setters = [f"{name}.{each}" for each in ("seed", "set_state", "setstate")]
    seeded = min((position(seed) for seed in side.seeds if seed.name in setters), default=None)
    states = [each for each in side.generators if each.name == name]
    return [each for each in states if seeded is None or position(each) < seeded]


def _extra(evidence: Evidence) -> Record | None:
    """Return the draw that only one run makes, if it is the first difference."""
    first = evidence.first
    if first is None or not lacks_counterpart(evidence):
        return None
    draw = next(filter(is_draw, first.records), None)
    if draw is None or differing_fact(evidence, "training") or _loads_anew(evidence):
        return None
    if _workers(evidence.a) != _workers(evidence.b):
        return None
    return draw


def _workers(side: Side) -> set[str]:
    return {repr(batch.facts.get("workers")) for batch in side.batches}


def _loads_anew(evidence: Evidence) -> bool:
    """Return True if one run makes a model or sets a seed that the other does not."""
    return any(record.kind in ("parameter", "seed") for record in unpaired(evidence))


def _is_base_seed(draw: Record) -> bool:
    return base(draw) == "random_" and any(
        write.type.shape == () and write.type.dtype == "int64" for write in draw.writes
    )


def _who(evidence: Evidence, record: Record) -> str:
    return "a" if evidence.first is not None and evidence.first.a is record else "b"
