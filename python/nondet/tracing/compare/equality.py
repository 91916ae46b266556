"""In what two records differ that belong together."""

from collections.abc import Sequence
from typing import NamedTuple

from nondet.tracing.records import Read, Record, Write


class Differing(NamedTuple):
    """In what two records differ. False if they are equal in all that was recorded.

    types: shapes, dtypes, devices or the number of tensors. arguments: arguments or numbers.
    state: the generator's state. reads, writes: numbers of tensors of one type with different bits.
    unhashed: numbers of reads whose bits are known in neither or in one.
    """

    types: bool
    arguments: bool
    state: bool
    reads: tuple[int, ...]
    writes: tuple[int, ...]
    unhashed: tuple[int, ...]

    def __bool__(self) -> bool:
        return bool(self.types or self.arguments or self.state or self.reads or self.writes)


def compare_records(a: Record, b: Record) -> Differing:
    """Return in what two records of the same kind and name differ."""
    types = (
        a.phase != b.phase
        or [read.type for read in a.reads] != [read.type for read in b.reads]
        or [(w.type, w.into) for w in a.writes] != [(w.type, w.into) for w in b.writes]
    )
    arguments = a.arguments != b.arguments or not _same_numbers(a.numbers, b.numbers)
    reads, unhashed = _compare_tensors(a.reads, b.reads)
    writes, _ = _compare_tensors(a.writes, b.writes)
    return Differing(types, arguments, a.state != b.state, reads, writes, unhashed)


def is_equal(a: Record, b: Record) -> bool:
    """Return True if two records did the same, wherever in the source they stand."""
    return a.kind == b.kind and a.name == b.name and not compare_records(a, b)


def _same_numbers(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    # The texts tell -0.0 from 0.0 and 1 from 1.0, and NaN is NaN.
    return a is b or list(map(repr, a)) == list(map(repr, b))


def _compare_tensors(
    a: Sequence[Read | Write], b: Sequence[Read | Write]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the numbers of tensors of one type whose digests differ, and those without."""
    differing, unhashed = [], []
    for number, (left, right) in enumerate(zip(a, b, strict=False)):
        if left.digest is None or right.digest is None:
            unhashed.append(number)
        elif left.digest != right.digest and left.type == right.type:
            differing.append(number)
    return tuple(differing), tuple(unhashed)
