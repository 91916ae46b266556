"""Align two sequences of records: which belong together, in the order of both."""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Sequence
from typing import NamedTuple

from nondet.tracing.compare.keys import Sketches
from nondet.tracing.records import Record

Indices = tuple[int | None, int | None]
"""A position in each sequence; None where it has no counterpart."""

_MOST_COMPARISONS = 500_000
"""How many keys are compared in search of the shortest edit script, about 0.3 s."""


class Alignment(NamedTuple):
    """The records of two sequences, aligned.

    pairs: in an order that keeps that of each sequence; where both have records without
        counterpart, those of a come first.
    certain: how many of them hold whatever follows the sequences: up to the last counterparts.
    """

    pairs: list[Indices]
    certain: int


def align(a: Sequence[Record], b: Sequence[Record], *, whole: bool = True) -> Alignment:
    """Align two sequences.

    whole: False if they go on, and may end at places that do not correspond.

    Records are paired that do the same at the same place in the source; between these, ones that do
    the same with tensors of other types, then the same elsewhere in the source, and so on. Where
    keys are unique, they decide (the method of patience), and then the shortest edit script.
    O((n + m) log(n + m)) for usual streams.
    """
    matches = list(_match(Sketches(a), Sketches(b), (len(a), len(b)), whole))
    pairs = list(_with_gaps([(i, j) for _, i, j in matches], len(a), len(b)))
    last = (-1, -1)
    if whole and matches:
        last = matches[-1][1:]
    elif matches:
        # Behind the keys that agree usually, records are paired that merely stand at the ends.
        usual = Counter(level for level, _, _ in matches).most_common(1)[0][0]
        last = next((i, j) for level, i, j in reversed(matches) if level <= usual)
    certain = pairs.index(last) + 1 if matches else 0
    return Alignment(pairs, certain)


class _Match(NamedTuple):
    """Positions that belong together, and the level of the keys that agree."""

    level: int
    a: int
    b: int


class _Range(NamedTuple):
    """A range of each sequence that is still to align."""

    level: int
    a: tuple[int, int]
    b: tuple[int, int]


def _match(a: Sketches, b: Sketches, sizes: tuple[int, int], whole: bool) -> Iterator[_Match]:
    """Yield the pairs of two sequences of these sizes, ascending in both."""
    size_a, size_b = sizes
    # Ranges still to do, the next one last: deep recursion would end Python's.
    todo: list[_Range | _Match] = [_Range(0, (0, size_a), (0, size_b))]
    while todo:
        task = todo.pop()
        if isinstance(task, _Match):
            yield task
            continue
        level, (start_x, end_x), (start_y, end_y) = task
        open_end = not whole and (end_x, end_y) == (size_a, size_b)
        if start_x == end_x or start_y == end_y or level == Sketches.levels:
            continue
        keys_a, keys_b = a[level], b[level]
        while start_x < end_x and start_y < end_y and keys_a[start_x] == keys_b[start_y]:
            yield _Match(level, start_x, start_y)
            start_x, start_y = start_x + 1, start_y + 1
        tail: list[_Match] = []
        while (
            not open_end
            and start_x < end_x
            and start_y < end_y
            and keys_a[end_x - 1] == keys_b[end_y - 1]
        ):
            end_x, end_y = end_x - 1, end_y - 1
            tail.append(_Match(level, end_x, end_y))
        todo += tail
        if start_x == end_x or start_y == end_y:
            continue
        part_a, part_b = keys_a[start_x:end_x], keys_b[start_y:end_y]
        anchors = _anchors(part_a, part_b)
        # Without anchors the range is searched in full, and what is left goes to the next level.
        below = level if anchors else level + 1
        anchors = anchors or shortest_edit(part_a, part_b)
        between: list[_Range | _Match] = []
        last_x, last_y = start_x, start_y
        for i, j in anchors:
            between.append(_Range(below, (last_x, start_x + i), (last_y, start_y + j)))
            between.append(_Match(level, start_x + i, start_y + j))
            last_x, last_y = start_x + i + 1, start_y + j + 1
        between.append(_Range(below, (last_x, end_x), (last_y, end_y)))
        todo += reversed(between)


def _anchors(a: Sequence[Hashable], b: Sequence[Hashable]) -> list[tuple[int, int]]:
    """Return the longest ascending list of pairs of keys that both a and b have once."""
    in_a, in_b = Counter(a), Counter(b)
    return _occurrences(a, b, {key for key, count in in_a.items() if count == in_b[key] == 1})


def _occurrences(
    a: Sequence[Hashable], b: Sequence[Hashable], keys: set[Hashable]
) -> list[tuple[int, int]]:
    """Pair the n-th occurrence of each key in a with the n-th in b, and return the most that
    ascend in both.
    """
    places: defaultdict[Hashable, list[int]] = defaultdict(list)
    for j, key in enumerate(b):
        if key in keys:
            places[key].append(j)
    seen: Counter[Hashable] = Counter()
    pairs = []
    for i, key in enumerate(a):
        if key in keys and seen[key] < len(places[key]):
            pairs.append((i, places[key][seen[key]]))
            seen[key] += 1
    return _longest_ascending(pairs)


def _longest_ascending(pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the longest sublist whose second numbers ascend; the first ones ascend already."""
    ends: list[int] = []  # the smallest second number that ends an ascending list of each length
    last: list[int] = []  # the pair with that number
    previous: list[int] = []
    for number, (_, j) in enumerate(pairs):
        length = bisect_left(ends, j)
        ends[length : length + 1] = [j]
        last[length : length + 1] = [number]
        previous.append(last[length - 1] if length else -1)
    chosen = []
    number = last[-1] if last else -1
    while number >= 0:
        chosen.append(pairs[number])
        number = previous[number]
    return chosen[::-1]


def shortest_edit(a: Sequence[Hashable], b: Sequence[Hashable]) -> list[tuple[int, int]]:
    """Return the pairs of a shortest edit script (Myers 1986, An O(ND) difference algorithm), or of
    `_occurrences` of all keys where that takes too long.
    """
    n, m = len(a), len(b)
    common = set(a) & set(b)
    if not common:
        return []
    furthest = {1: 0}
    history = []
    comparisons = 0
    for edits in range(n + m + 1):
        if comparisons > _MOST_COMPARISONS:
            break
        history.append(dict(furthest))
        for diagonal in range(-edits, edits + 1, 2):
            down = diagonal == -edits or (
                diagonal != edits and furthest[diagonal - 1] < furthest[diagonal + 1]
            )
            x = furthest[diagonal + 1] if down else furthest[diagonal - 1] + 1
            while x < n and 0 <= x - diagonal < m and a[x] == b[x - diagonal]:
                x += 1
                comparisons += 1
            comparisons += 1
            furthest[diagonal] = x
            if x >= n and x - diagonal >= m:
                return _trace_back(history, n, m)
    return _occurrences(a, b, common)


def _trace_back(history: list[dict[int, int]], n: int, m: int) -> list[tuple[int, int]]:
    """Return the pairs on the path that `shortest_edit` found."""
    pairs = []
    x, y = n, m
    for edits in range(len(history) - 1, -1, -1):
        furthest, diagonal = history[edits], x - y
        down = diagonal == -edits or (
            diagonal != edits and furthest[diagonal - 1] < furthest[diagonal + 1]
        )
        before = diagonal + 1 if down else diagonal - 1
        x_before = furthest[before] if edits else 0
        y_before = x_before - before if edits else 0
        while x > x_before and y > y_before:
            x, y = x - 1, y - 1
            pairs.append((x, y))
        x, y = x_before, y_before
    return pairs[::-1]


def _with_gaps(pairs: list[tuple[int, int]], n: int, m: int) -> Iterator[Indices]:
    """Yield all positions of both sequences, given the pairs."""
    i = j = 0
    for x, y in [*pairs, (n, m)]:
        yield from ((each, None) for each in range(i, x))
        yield from ((None, each) for each in range(j, y))
        if (x, y) != (n, m):
            yield x, y
        i, j = x + 1, y + 1
