"""Find where two streams part."""

from collections.abc import Sequence
from dataclasses import dataclass

from nondet.tracing.compare.alignment import align
from nondet.tracing.compare.equality import is_equal
from nondet.tracing.compare.evidence import First, Pair
from nondet.tracing.compare.judging import Judge, Judgement
from nondet.tracing.compare.keys import same_place
from nondet.tracing.compare.steps import StepComparison
from nondet.tracing.format import Stream
from nondet.tracing.records import Record

_STEPS = 2
"""How many steps after the one that differs are aligned too."""

_RECORDS = 20_000
"""How many records are aligned at most, unless no counterpart is found among them."""

_MOST_RECORDS = 16 * _RECORDS


@dataclass(frozen=True)
class Parting:
    """Where two streams part.

    judgement: the first difference and what follows it; None if there is none.
    after: the records of each from the first difference on, as far as they were aligned.
    steps, records: how many were equal before it, or in all.
    """

    judgement: Judgement | None
    after: tuple[tuple[Record, ...], tuple[Record, ...]]
    steps: int
    records: int


def part(a: Stream, b: Stream) -> Parting:
    """Return where two streams part.

    Steps are compared by their arrays. From the first that differs on, records are compared in
    order, wherever steps begin. Records without counterpart that no difference of values can be
    traced to do not end the search: they are the first difference only if no value differs.

    Raises TraceError if a stream holds records that refer to nothing.
    """
    same = StepComparison(a, b)
    left, right = _Cursor(a), _Cursor(b)
    judge = Judge()
    steps = records = 0
    without_value: tuple[Judgement, Sequence[Record], Sequence[Record], int, int] | None = None
    while True:
        if not left.rest and not right.rest:
            while left.more and right.more and same.equal(left.position, right.position):
                records += left.skip()
                right.skip()
                steps += 1
        if not all([left.fill(), right.fill()]):
            break
        equal = _equal_prefix(left.rest, right.rest)
        judge.passed(list(map(Pair, left.rest[:equal], right.rest[:equal])))
        records += equal
        steps += left.take(equal)
        right.take(equal)
        if not left.rest or not right.rest:
            continue
        pairs, judged = _judge_window(judge, left, right)
        after = (left.rest, right.rest)
        if judged is not None and judged.by_value:
            return Parting(judged, (tuple(after[0]), tuple(after[1])), steps, records)
        if judged is not None and without_value is None:
            without_value = judged, *after, steps, records
        records += sum(None not in pair for pair in pairs)
        steps += left.take(sum(a is not None for a, _ in pairs))
        right.take(sum(b is not None for _, b in pairs))
    if without_value is not None:
        judged, after_a, after_b, steps, records = without_value
        return Parting(judged, (tuple(after_a), tuple(after_b)), steps, records)
    if not left.rest and not right.rest:
        return Parting(None, ((), ()), steps, records)
    rest = left.rest or right.rest
    first = (
        First("missing", rest[0], None, ended="b")
        if left.rest
        else First("inserted", None, rest[0], ended="a")
    )
    pairs = [Pair(each, None) if left.rest else Pair(None, each) for each in rest]
    only = tuple(rest)
    judged = Judgement(
        first,
        False,
        tuple(pairs),
        missing=only if left.rest else (),
        inserted=() if left.rest else only,
    )
    return Parting(judged, (tuple(left.rest), tuple(right.rest)), steps, records)


def _judge_window(
    judge: Judge, left: "_Cursor", right: "_Cursor"
) -> tuple[list[Pair], Judgement | None]:
    """Align what follows the records that are equal, and judge it. The window grows until a record
    with a counterpart follows the first without, so that what is missing is told from what comes
    later. What follows the last counterparts is left for the next window.
    """
    steps, most = _STEPS, _RECORDS
    while True:
        a, b = left.window(steps, most), right.window(steps, most)
        everything = len(a) == left.remaining and len(b) == right.remaining
        places, certain = align(a, b, whole=everything)
        if certain or everything or most >= _MOST_RECORDS:
            break
        steps, most = 2 * steps, 2 * most
    pairs = [Pair(None if i is None else a[i], None if j is None else b[j]) for i, j in places]
    certain = certain or len(pairs)
    return pairs[:certain], judge.judge(pairs, certain, a, b)


def _equal_prefix(a: Sequence[Record], b: Sequence[Record]) -> int:
    """Return how many records are equal at the start of two sequences, and at equal places."""
    for number, (left, right) in enumerate(zip(a, b, strict=False)):
        if not (is_equal(left, right) and same_place(left, right)):
            return number
    return min(len(a), len(b))


class _Cursor:
    """A place in a stream: `rest` holds records that were read and not yet taken; `position` is
    that of the next step to read. States of generators are left out: those that nothing seeds
    differ in any two runs, and a difference that matters shows in what was drawn.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.position = 0
        self.rest: list[Record] = []
        self._ends: list[int] = []  # the length of `rest` at the end of each step in it

    @property
    def more(self) -> bool:
        return self.position < len(self._stream.steps)

    @property
    def remaining(self) -> int:
        """The number of records from here on, or one more than `rest` holds if steps are left."""
        return len(self.rest) + self.more

    def skip(self) -> int:
        """Pass over the next step; return its number of records."""
        self.position += 1
        return len(self._stream.steps[self.position - 1].entries)

    def fill(self) -> bool:
        """Read until a record is there. Returns False at the end of the stream."""
        while not self.rest and self.more:
            self._read()
        return bool(self.rest)

    def window(self, steps: int, most: int) -> Sequence[Record]:
        """Return the next records: those of the current step and of some more, `most` at most."""
        while self.more and len(self._ends) <= steps and len(self.rest) < most:
            self._read()
        return self.rest[:most]

    def take(self, count: int) -> int:
        """Pass over records of `rest`; return how many steps end in them."""
        self.rest = self.rest[count:]
        ended = sum(end <= count for end in self._ends)
        self._ends = [end - count for end in self._ends[ended:]]
        return ended

    def _read(self) -> None:
        records = self._stream.records(self.position)
        self.rest += [record for record in records if record.kind != "generator"]
        self._ends.append(len(self.rest))
        self.position += 1
