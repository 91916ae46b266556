"""Runs that went on from a checkpoint which did not hold everything."""

from typing import NamedTuple

from nondet.tracing.causes.cause import Fit
from nondet.tracing.causes.looking import (
    base,
    by_optimizer,
    is_draw,
    lacks_counterpart,
    named,
    position,
    tensors,
    unpaired,
)
from nondet.tracing.compare.evidence import Evidence, Name, Side
from nondet.tracing.records import Record

_CREATES = ("zeros_like", "zeros", "new_zeros", "full_like", "full", "empty_like", "clone")
"""Operations with which optimizers make their state at their first step."""


class _Continued(NamedTuple):
    """A run that begins with the weights that the other had after one of its steps."""

    name: Name  # the run that continues
    run: Side
    whole: Side  # the other run
    step: int  # of the other run


def without_generator(evidence: Evidence) -> Fit | None:
    """Return a fit if after a restart, draws find a generator that was seeded anew."""
    first = evidence.first
    if first is None:
        return None
    if (continued := _continued(evidence)) is not None:
        run, whole = continued.run, continued.whole
        draw = _last_start(run)
        after = [each for each in whole.draws if each.step > continued.step and is_draw(each)]
        if draw is None or not after or draw.state == after[0].state:
            return None
        return Fit(
            f"{continued.name} goes on with the weights of step {continued.step}, but "
            f"{named(draw)} finds a generator in another state than the run without a break.",
            "shown",
        )
    if not lacks_counterpart(evidence) or first.record.step == 0:
        return None
    seed = next((each for each in first.records if each.kind == "seed"), None)
    made = [each for each in unpaired(evidence) if each.kind == "parameter"]
    if seed is not None:
        what = f"{named(seed)} sets the seed anew"
    elif made and is_draw(first.record):
        what = f"{named(first.record)} draws new parameters"
    else:
        return None
    name = "a" if first.a is not None else "b"
    return Fit(f"Only in {name}, {what} in step {first.record.step}; later draws differ.", "shown")


def without_optimizer(evidence: Evidence) -> Fit | None:
    """Return a fit if after a restart, the optimizer begins with new state."""
    first = evidence.first
    if first is None:
        return None
    if (continued := _continued(evidence)) is not None:
        created = [each for each in continued.run.everything() if _creates_state(each)]
        later = [
            each
            for each in continued.whole.everything()
            if each.step > continued.step and _creates_state(each)
        ]
        if not created or later:
            return None
        return Fit(
            f"{continued.name} goes on with the weights of step {continued.step}, but "
            f"{named(created[0])} makes new state of the optimizer.",
            "shown",
        )
    if first.ended is not None or first.record.step == 0:
        return None
    for name, records in (("a", evidence.missing), ("b", evidence.inserted)):
        for record in records:
            if record.step >= first.record.step and _creates_state(record):
                return Fit(
                    f"Only in {name}, the optimizer makes its state anew in step {record.step}, "
                    f"with {named(record)}.",
                    "shown",
                )
    return None


def another_start(evidence: Evidence) -> Fit | None:
    """Return a fit if one run begins with the weights that the other had after a step."""
    if (continued := _continued(evidence)) is None:
        return None
    other = "b" if continued.name == "a" else "a"
    return Fit(
        f"{continued.name} begins with the weights that {other} had after step {continued.step}.",
        "possible",
    )


def _creates_state(record: Record) -> bool:
    return base(record) in _CREATES and by_optimizer(record) and record.phase == "forward"


def _continued(evidence: Evidence) -> _Continued | None:
    """Return which run continues the other: its parameters have at their first use the bits that
    a later step of the other wrote in place.
    """
    if evidence.first is None or evidence.first.record.step != 0:
        return None
    a, b = ({p.name: _value(p) for p in side.parameters} for side in evidence.sides)
    differing = [name for name in a.keys() & b.keys() if a[name] != b[name]]
    if not differing:
        return None
    for name, run, whole, started in (
        ("b", evidence.b, evidence.a, b),
        ("a", evidence.a, evidence.b, a),
    ):
        wanted = {started[each] for each in differing} - {None}
        steps: dict[int, int] = {}  # digests: the last step that wrote these bits
        for record in whole.everything():
            for write in record.writes:
                if write.digest in wanted and write.into is not None and write.digest is not None:
                    steps[write.digest] = record.step
        if len(steps) == len(wanted) > 0 and len(set(steps.values())) == 1:
            return _Continued(name, run, whole, next(iter(steps.values())))  # type: ignore[arg-type]
    return None


def _value(parameter: Record) -> int | None:
    """Return the digest of a parameter at its first use."""
    return next((each.digest for each in tensors(parameter)[::-1]), None)


def _last_start(run: Side) -> Record | None:
    """Return the first draw after the parameters of a run are first used."""
    used = max((position(each) for each in run.parameters), default=(0, 0))
    return next((each for each in run.draws if is_draw(each) and position(each) > used), None)
