"""Tell which of several differences came first, and which only carry it on."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from nondet.tracing.compare.equality import Differing, compare_records
from nondet.tracing.compare.evidence import First, FirstKind, Pair, identity
from nondet.tracing.compare.keys import key
from nondet.tracing.records import Read, Record

_REMEMBERED = 20_000
"""How many records of each stream are remembered, to find where a tensor comes from."""


@dataclass(frozen=True)
class Judgement:
    """The first difference in a window of aligned records. See `Evidence` for the other fields.

    by_value: True if a value differs; False if records merely have no counterpart.
    """

    first: First
    by_value: bool
    pairs: tuple[Pair, ...]
    origins: tuple[Pair, ...] = ()
    missing: tuple[Record, ...] = ()
    inserted: tuple[Record, ...] = ()
    moved: tuple[Pair, ...] = ()
    carriers: int = 0
    unrelated: tuple[First, ...] = ()


@dataclass
class _Gap:
    """Neighbouring records without counterpart."""

    a: list[Record] = field(default_factory=list)
    b: list[Record] = field(default_factory=list)

    next: Pair | None = None  # the first record of each from its start on
    moved: bool = False  # all its records stand elsewhere in the other stream

    def first(self) -> First:
        """Return the difference that it is."""
        a, b = (side[0] if side else None for side in (self.a, self.b))
        if self.moved and self.next:
            return First("reordered", *self.next)
        if a and b:
            return First("replaced", a, b)
        return First("missing" if a else "inserted", a, b)


class Judge:
    """Judges windows of two streams, in order of execution."""

    def __init__(self) -> None:
        # Records by place, and gaps by the place of their records, for each side.
        self._known: tuple[dict[tuple[int, int], Record], ...] = ({}, {})
        self._gap_at: tuple[dict[tuple[int, int], _Gap], ...] = ({}, {})
        # Draws and seeds without counterpart since the last draw that found equal states.
        self._unpaired: defaultdict[object, list[First]] = defaultdict(list)
        self._changing: list[_Gap] = []  # gaps that change tensors in place
        self._steps: tuple[list[int], list[int]] = ([], [])  # numbers of the last two steps
        self._gaps: list[_Gap] = []

    def passed(self, pairs: Sequence[Pair]) -> None:
        """Take note of records that are equal."""
        for pair in pairs:
            self._note(pair)
            if pair.a and pair.a.draws:
                self._found_equal(pair.a)

    def judge(
        self, aligned: Sequence[Pair], count: int, a: Sequence[Record], b: Sequence[Record]
    ) -> Judgement | None:
        """Judge a window.

        aligned: the records of the window, a and b. The counterparts of those behind the first
        `count` pairs may come later.

        Returns None if nothing differs.
        """
        moved, pairs = _moved(aligned), aligned[:count]
        paired = {id(record) for pair in moved for record in pair}
        gaps = _gaps(pairs, paired)
        before = [each.first() for each in self._gaps]
        first: First | None = None
        by_value = False
        origins: list[Pair] = []
        carriers = 0
        for pair, gap in zip(pairs, gaps, strict=True):
            self._note(pair)
            left, right = pair
            if gap is not None:
                self._add(gap, pair)
                continue
            assert left is not None
            assert right is not None
            differing = compare_records(left, right)
            if not differing:
                if left.draws:
                    self._found_equal(left)
            elif first is None:
                before = [each.first() for each in self._gaps]
                first, by_value = self._first(left, right, differing, a, b), True
            elif self._is_origin(left, right, differing):
                origins.append(pair)
            else:
                carriers += 1
        if first is None:
            first = next((gap.first() for gap in gaps if gap is not None), None)
        if first is None:
            return None
        only_a, only_b = (
            tuple(pair[side] for pair in pairs if pair[1 - side] is None) for side in (0, 1)
        )
        return Judgement(
            first,
            by_value,
            tuple(pairs),
            tuple(origins),
            tuple(record for record in only_a if record is not None and id(record) not in paired),
            tuple(record for record in only_b if record is not None and id(record) not in paired),
            moved,
            carriers,
            tuple(each for each in before if each != first),
        )

    def _found_equal(self, draw: Record) -> None:
        """Forget draws and seeds without counterpart: a generator's state is equal after them."""
        self._unpaired.pop(_generator(draw), None)
        self._unpaired.pop(None, None)

    def _note(self, pair: Pair) -> None:
        for known, steps, record in zip(self._known, self._steps, pair, strict=True):
            if record is None:
                continue
            if not steps or steps[-1] != record.step:
                steps[:] = [*steps[-1:], record.step]
            known[record.step, record.index] = record
            if len(known) > 2 * _REMEMBERED:
                for place in list(known)[:_REMEMBERED]:
                    del known[place]

    def _add(self, gap: _Gap, pair: Pair) -> None:
        """Take note of a record without counterpart."""
        if not self._gaps or self._gaps[-1] is not gap:
            self._gaps.append(gap)
        for side, record in enumerate(pair):
            if record is None:
                continue
            self._gap_at[side][record.step, record.index] = gap
            if record.draws or (record.kind == "seed" and record.name.startswith("torch")):
                kind: FirstKind = "inserted" if side else "missing"
                name = _generator(record) if record.draws else None
                self._unpaired[name].append(First(kind, *pair))
            if any(write.into is not None for write in record.writes):
                self._changing.append(gap)

    def _first(
        self,
        a: Record,
        b: Record,
        differing: Differing,
        window_a: Sequence[Record],
        window_b: Sequence[Record],
    ) -> First:
        """Return the origin of the first pair that differs in a value: everything before that has
        a counterpart is equal.
        """
        if differing.state and (found := self._unpaired_draw(a)):
            return found
        gap = self._gap_behind(a, b)
        if gap is not None and a.kind in ("operation", "graph", "module"):
            return gap.first()
        uninitialized = {
            number
            for record in (a, b)
            for number in _uninitialized(record)
            if number in differing.reads or number in differing.unhashed
        }
        kind: FirstKind
        if a.kind in ("batch", "parameter", "seed"):
            kind = a.kind
        elif differing.state:
            kind = "state"
        elif _permuted(a, b) or (_stands_in(a, window_b) and _stands_in(b, window_a)):
            kind = "reordered"
        elif uninitialized:
            kind = "uninitialized"
        elif differing.types:
            kind = "types"
        elif differing.reads:
            if self._changing and any(a.reads[n].source.origin == "new" for n in differing.reads):
                return self._changing[-1].first()
            kind = "read"
        elif differing.arguments:
            kind = "arguments"
        else:
            kind = "wrote"
        unhashed = tuple(
            number
            for number in differing.unhashed
            if self._bits(0, a, a.reads[number]) is None
            or self._bits(1, b, b.reads[number]) is None
        )
        return First(kind, a, b, differing.reads, differing.writes, unhashed)

    def _unpaired_draw(self, record: Record) -> First | None:
        """Return the first draw or seed without counterpart that can have changed the generator."""
        found = [*self._unpaired[_generator(record)], *self._unpaired[None]]
        return min(found, key=lambda each: (each.record.step, each.record.index), default=None)

    def _gap_behind(self, a: Record, b: Record) -> _Gap | None:
        """Return the gap that wrote a tensor that one of two records reads."""
        for side, record in enumerate((a, b)):
            for read in record.reads:
                if (gap := self._gap_of(side, record, read)) is not None:
                    return gap
        return None

    def _gap_of(self, side: int, record: Record, read: Read) -> _Gap | None:
        """Return the gap in which a tensor was written, seen through views."""
        for _ in range(100):  # views of views
            place = self._source(side, record, read)
            if place is None:
                return None
            if place in self._gap_at[side]:
                return self._gap_at[side][place]
            following = self._behind(side, place, read)
            if following is None:
                return None
            record, read = following
        return None

    def _bits(self, side: int, record: Record, read: Read) -> int | None:
        """Return the digest of a read, or of the tensor that it is a view of."""
        for _ in range(100):
            if read.digest is not None:
                return read.digest
            place = self._source(side, record, read)
            following = None if place is None else self._behind(side, place, read)
            if following is None:
                return None
            record, read = following
        return None

    def _source(self, side: int, record: Record, read: Read) -> tuple[int, int] | None:
        """Return step and index of the record that a read names."""
        source = read.source
        if source.origin == "new":
            return None
        if source.origin == "earlier":
            steps = [step for step in self._steps[side] if step != record.step]
            return (steps[-1], source.back) if steps else None
        return record.step, record.index - source.back

    def _behind(self, side: int, place: tuple[int, int], read: Read) -> tuple[Record, Read] | None:
        """Return the read that a view or a read of the record at a place goes back to."""
        record = self._known[side].get(place)
        if record is None:
            return None
        slot: int | None = read.source.slot
        if read.source.origin != "read":
            written = record.writes[read.source.slot : read.source.slot + 1]
            slot = written[0].view_of if written else None
        if slot is None or slot >= len(record.reads):
            return None
        return record, record.reads[slot]

    def _is_origin(self, a: Record, b: Record, differing: Differing) -> bool:
        """Return True if two records read equal bits for certain and wrote different ones."""
        if differing.types or differing.arguments or differing.state or differing.reads:
            return False
        return all(
            self._bits(0, a, a.reads[number]) == self._bits(1, b, b.reads[number]) is not None
            for number in differing.unhashed
        )


def _generator(record: Record) -> object:
    return record.facts.get("generator", "cpu")


def _uninitialized(record: Record) -> list[int]:
    numbers = record.facts.get("uninitialized") or ()
    return [number for number in numbers if isinstance(number, int)]


def _stands_in(record: Record, window: Sequence[Record]) -> bool:
    """Return True if a record with the same bits is in a window of the other stream. Only records
    that read or write something can be told from each other.
    """
    digests = [read.digest for read in record.reads] + [write.digest for write in record.writes]
    if not any(digest is not None for digest in digests):
        return False
    same = identity(record)
    return any(each.name == record.name and identity(each) == same for each in window)


def _permuted(a: Record, b: Record) -> bool:
    """Return True if two records read the same tensors in another order."""
    left, right = ([(read.type, read.digest) for read in each.reads] for each in (a, b))
    return left != right and Counter(left) == Counter(right)


def _moved(pairs: Sequence[Pair]) -> tuple[Pair, ...]:
    """Return pairs of records without counterpart that do the same at the same place."""
    waiting: defaultdict[object, list[Record]] = defaultdict(list)
    for a, b in pairs:
        if b is not None and a is None:
            waiting[key(b)].append(b)
    moved = []
    if waiting:
        for a, b in pairs:
            if a is not None and b is None and waiting.get(key(a)):
                moved.append(Pair(a, waiting[key(a)].pop(0)))
    return tuple(moved)


def _gaps(pairs: Sequence[Pair], moved: set[int]) -> list[_Gap | None]:
    """Return for each pair the gap that it belongs to; None for two records.

    moved: `id` of records that stand elsewhere in the other stream.
    """
    # The first record of each stream from every pair on.
    following = [Pair(None, None)]
    for a, b in reversed(pairs):
        following.append(Pair(a or following[-1].a, b or following[-1].b))
    gaps: list[_Gap | None] = []
    gap: _Gap | None = None
    for pair, upcoming in zip(pairs, reversed(following[1:]), strict=True):
        if None not in pair:
            gap = None
        else:
            gap = gap or _Gap(next=upcoming, moved=True)
            gap.a += [pair.a] if pair.a else []
            gap.b += [pair.b] if pair.b else []
            gap.moved &= all(id(record) in moved for record in pair if record is not None)
        gaps.append(gap)
    return gaps
