"""What a comparison of two traces found: all that a cause may look at, and all that is reported."""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from nondet.tracing.records import Read, Record, Unseen

if TYPE_CHECKING:
    from nondet.tracing.header import HeaderDifference

FirstKind = Literal[
    "wrote",  # read equal bits and wrote different ones
    "uninitialized",  # read memory that nothing had written
    "read",  # read a tensor that differs though no record wrote it differently: an unseen write
    "state",  # a draw from a generator in another state
    "seed",  # another seed was set
    "batch",  # a loader returned another batch
    "parameter",  # a parameter has another value when it is first used
    "arguments",  # other arguments, with equal reads
    "types",  # other shapes, dtypes or devices, with equal reads as far as types agree
    "missing",  # only the first trace has this record
    "inserted",  # only the second trace has it
    "replaced",  # each has another record here
    "reordered",  # both have it, in another order
]

Name = Literal["a", "b"]  # the first trace, the second


class Pair(NamedTuple):
    """A record of each run that belong together; None where a run has no counterpart."""

    a: Record | None
    b: Record | None


@dataclass(frozen=True)
class Distance:
    """How far two tensors are apart, from kept values.

    differing: number of elements whose bits differ, of `elements`.
    ulp: largest distance in units in the last place; None if no element that differs is a finite
        floating-point number in both.
    where: index of the element that is furthest apart (or that differs first, without `ulp`).
    values: that element in a and in b.
    """

    differing: int
    elements: int
    ulp: int | None
    where: tuple[int, ...]
    values: tuple[float | int | bool, float | int | bool]


@dataclass(frozen=True)
class First:
    """The first difference of two streams, in order of execution.

    a, b: the records; one of them is None for "missing" and "inserted".
    reads, writes: numbers of the tensors that differ.
    unhashed: numbers of read tensors of which it is not known whether they are equal.
    ended: the trace whose stream is over here, while the other goes on.
    distance: of the first written tensor that differs, if its values were kept in both.
    """

    kind: FirstKind
    a: Record | None
    b: Record | None
    reads: tuple[int, ...] = ()
    writes: tuple[int, ...] = ()
    unhashed: tuple[int, ...] = ()
    ended: Name | None = None
    distance: Distance | None = None

    @property
    def record(self) -> Record:
        """The record of a, or of b where a has none."""
        record = self.a or self.b
        assert record is not None
        return record

    @property
    def records(self) -> tuple[Record, ...]:
        """The records that exist, a's first."""
        return tuple(record for record in (self.a, self.b) if record is not None)

    def fact(self, name: str) -> tuple[Any, Any]:
        """Return a fact of both records; None where it is not recorded."""
        a, b = (record.facts.get(name) if record else None for record in (self.a, self.b))
        return a, b


@dataclass(frozen=True)
class Side:
    """One of the two runs, as one pair of streams sees it.

    before: up to 200 records before the first difference, in order.
    after: records from the first difference on; a few steps.
    everything: calls give all records of the stream, from its start.
    others: the same for the other streams of the trace, by role.
    find: finds what `writers` returns faster than by going through all records.
    """

    role: str
    header: Mapping[str, Any] = field(default_factory=dict)
    command: Mapping[str, Any] = field(default_factory=dict)
    before: tuple[Record, ...] = ()
    after: tuple[Record, ...] = ()
    everything: Callable[[], Iterable[Record]] = tuple
    others: Mapping[str, Callable[[], Iterable[Record]]] = field(default_factory=dict)
    unseen: tuple[Unseen, ...] = ()
    find: Callable[[int], list[tuple[str, Record]]] | None = None

    @cached_property
    def draws(self) -> tuple[Record, ...]:
        """All draws of the stream."""
        return tuple(
            record
            for record in self.everything()
            if record.draws and record.kind != "generator"  # which only tells a state
        )

    @cached_property
    def seeds(self) -> tuple[Record, ...]:
        """All records of seeds of the stream."""
        return tuple(record for record in self.everything() if record.kind == "seed")

    @cached_property
    def batches(self) -> tuple[Record, ...]:
        """All batches of the stream."""
        return tuple(record for record in self.everything() if record.kind == "batch")

    @cached_property
    def parameters(self) -> tuple[Record, ...]:
        """All records of parameters of the stream."""
        return tuple(record for record in self.everything() if record.kind == "parameter")

    @cached_property
    def generators(self) -> tuple[Record, ...]:
        """All states of generators that torch does not draw from, at the ends of steps."""
        return tuple(record for record in self.everything() if record.kind == "generator")

    def writers(self, digest: int) -> list[tuple[str, Record]]:
        """Return who wrote these bits, in any stream of the run: roles and records."""
        if self.find is not None:
            return self.find(digest)
        streams = {self.role: self.everything, **self.others}
        return [
            (role, record)
            for role, records in streams.items()
            for record in records()
            if any(write.digest == digest for write in record.writes)
        ]

    def source(self, record: Record, read: Read) -> Record | None:
        """Return the record that a read of a record names as its source; None if it is outside
        `before` and `after`, or in no record.
        """
        known = (*self.before, *self.after)
        step, index = record.step, record.index - read.source.back
        if read.source.origin == "earlier":
            step = max((each.step for each in known if each.step < step), default=-1)
            index = read.source.back
        if read.source.origin == "new":
            return None
        return next((each for each in known if (each.step, each.index) == (step, index)), None)


class Elsewhere(NamedTuple):
    """The first difference of another pair of streams."""

    role: str
    first: First


@dataclass(frozen=True)
class Evidence:
    """All that is known about one pair of streams.

    headers: in what the environments of the two streams differ.
    first: the first difference; None if the streams are equal in all that was recorded.
    by_value: True if something that both recorded differs; False if they merely did other things,
        or the same in another order, and all that both did came out equal.
    pairs: records of both, aligned, from some before the first difference to the end of a window.
    origins: further pairs in the window that read equal bits and wrote different ones.
    missing, inserted: records in the window that only a has, and only b.
    moved: records in the window that both have, in another order.
    carriers: number of pairs in the window that differ only because they read different bits.
    unrelated: records without counterpart before the first difference, which it was not traced to.
    elsewhere: first differences of other streams.
    """

    a: Side
    b: Side
    headers: tuple["HeaderDifference", ...] = ()
    first: First | None = None
    pairs: tuple[Pair, ...] = ()
    origins: tuple[Pair, ...] = ()
    missing: tuple[Record, ...] = ()
    inserted: tuple[Record, ...] = ()
    moved: tuple[Pair, ...] = ()
    carriers: int = 0
    unrelated: tuple[First, ...] = ()
    elsewhere: tuple[Elsewhere, ...] = ()
    by_value: bool = True

    @property
    def sides(self) -> tuple[Side, Side]:
        """Both sides, a first."""
        return self.a, self.b

    @cached_property
    def threads(self) -> tuple[int | None, int | None]:
        """The numbers of threads of torch in a and b at the first difference."""
        given = self.first.fact("threads") if self.first else (None, None)
        a, b = (
            side.header.get("threads") if fact is None else fact
            for side, fact in zip(self.sides, given, strict=True)
        )
        return a, b

    @cached_property
    def first_draws(self) -> Pair:
        """The first draw of each stream."""
        a, b = (next(iter(side.draws), None) for side in self.sides)
        return Pair(a, b)

    @cached_property
    def states_differ_from_start(self) -> bool:
        """True if the first draws of the streams found generators in different states."""
        a, b = self.first_draws
        return a is not None and b is not None and a.state != b.state

    @cached_property
    def same_batches(self) -> bool:
        """True if both runs had the same batches, in some order."""
        a, b = (Counter(written(batch) for batch in side.batches) for side in self.sides)
        return a == b

    @cached_property
    def same_rows(self) -> bool:
        """True if all batches together had the same examples, whatever their order and split, as
        far as their rows were hashed: False if they were not.
        """
        a, b = (
            Counter(repr(batch.facts.get("rows")) for batch in side.batches) for side in self.sides
        )
        return a == b and "None" not in a

    @cached_property
    def same_operations(self) -> bool:
        """True if the records from the first difference on are the same, in some order: kinds,
        names, types, arguments and bits.
        """
        a, b = (Counter(identity(record) for record in side.after) for side in self.sides)
        return a == b

    @cached_property
    def same_names(self) -> bool:
        """True if the records from the first difference on have the same names and types of
        tensors, in some order.
        """
        a, b = (Counter(shape(record) for record in side.after) for side in self.sides)
        return a == b

    def differing_generators(self) -> tuple[str, ...]:
        """Return the generators that torch does not draw from whose states differ, by name."""
        a, b = ({(r.name, r.step): identity(r) for r in side.generators} for side in self.sides)
        names = {name for name, step in a.keys() & b.keys() if a[name, step] != b[name, step]}
        return tuple(sorted(names))


def written(record: Record) -> tuple[int | None, ...]:
    """Return the digests of what a record wrote."""
    return tuple(write.digest for write in record.writes)


def shape(record: Record) -> Hashable:
    """Return what a record is, without its values and its place in the source."""
    return (
        record.kind,
        record.name,
        record.phase,
        tuple([read.type for read in record.reads]),
        tuple([(write.type, write.into) for write in record.writes]),
    )


def identity(record: Record) -> Hashable:
    """Return what a record did: all that must agree for two records to be equal.

    That is all but its place in the source and facts that do not bear on bits.
    """
    return (
        shape(record),
        record.arguments,
        tuple(map(repr, record.numbers)),  # NaN equals NaN, -0 does not equal 0
        record.state,
        tuple(read.digest for read in record.reads),
        written(record),
        repr(record.facts.get("state")) if record.kind == "generator" else None,
    )


@dataclass(frozen=True)
class Explanation:
    """A known cause that fits.

    cause: its id in the table of causes, such as "index-backward-race".
    because: what in the traces speaks for it, one sentence.
    advice: what to do about it, one sentence.
    """

    cause: str
    title: str
    because: str
    advice: str


@dataclass(frozen=True)
class StreamVerdict:
    """What was found for one pair of streams.

    steps, records: how much was found equal before the first difference, or in all.
    differing_steps: number of steps from the first difference on whose records differ, of
        `remaining_steps`.
    problem: what was wrong with one of the streams, such as that it was cut.
    source: the difference of another stream that explains the first one.
    """

    evidence: Evidence
    explanations: tuple[Explanation, ...]
    steps: int
    records: int
    differing_steps: int = 0
    remaining_steps: int = 0
    problem: str | None = None
    source: Elsewhere | None = None

    @property
    def role(self) -> str:
        """The role of the stream in the first trace."""
        return self.evidence.a.role


@dataclass(frozen=True)
class Rerun:
    """What running both commands again showed, of the step of the first difference alone.

    role: of the stream. steps: the first and last that were recorded again. outcome: whether the
    runs part at the same place again. first: their first difference; its distance is that of the
    values which were kept. same_bits: True if both wrote there what they wrote before.
    """

    role: str
    steps: tuple[int, int]
    outcome: Literal["same place", "elsewhere", "equal"]
    first: First | None
    same_bits: bool = False


Outcome = Literal["equal", "different", "not compared"]


@dataclass(frozen=True)
class Verdict:
    """What `nondet diff` concluded.

    outcome: "not compared" if the traces cannot be compared, or are equal as far as a damaged or
        cut one can be read.
    reasons: why they could not be compared, or not in full.
    missing, extra: roles of streams that only the first trace has, and only the second.
    """

    a: Path
    b: Path
    outcome: Outcome
    reasons: tuple[str, ...] = ()
    headers: tuple["HeaderDifference", ...] = ()
    streams: tuple[StreamVerdict, ...] = ()
    missing: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    unseen: tuple[tuple[Unseen, ...], tuple[Unseen, ...]] = ((), ())

    @property
    def exit_code(self) -> int:
        """0 equal, 1 different, 2 could not compare."""
        return {"equal": 0, "different": 1, "not compared": 2}[self.outcome]
