"""Alignments against a slow search for the longest common subsequence."""

from functools import lru_cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factories.traces import StreamMaker
from nondet.tracing.compare.alignment import align, shortest_edit
from nondet.tracing.records import Record


def records(names: list[int]) -> list[Record]:
    """Return operations that differ by line and name, one for each number."""
    stream = StreamMaker()
    for name in names:
        stream.op(f"aten.op{name}", line=name)
    return stream.records


def matches(a: list[int], b: list[int], *, whole: bool = True) -> list[tuple[int, int]]:
    pairs, _ = align(records(a), records(b), whole=whole)
    return [(i, j) for i, j in pairs if i is not None and j is not None]


def longest_common(a: list[int], b: list[int]) -> int:
    """Return the length of the longest common subsequence, by its definition."""

    @lru_cache(None)
    def length(i: int, j: int) -> int:
        if i == len(a) or j == len(b):
            return 0
        if a[i] == b[j]:
            return 1 + length(i + 1, j + 1)
        return max(length(i + 1, j), length(i, j + 1))

    return length(0, 0)


sequences = st.lists(st.integers(0, 5), max_size=20)


@given(sequences, sequences, st.booleans())
def test_every_record_stands_once_and_in_order(a, b, whole):
    pairs, certain = align(records(a), records(b), whole=whole)
    assert [i for i, _ in pairs if i is not None] == list(range(len(a)))
    assert [j for _, j in pairs if j is not None] == list(range(len(b)))
    assert (None, None) not in pairs
    assert 0 <= certain <= len(pairs)
    assert certain == 0 or None not in pairs[certain - 1]


@given(sequences, sequences)
def test_only_equal_operations_are_paired(a, b):
    assert all(a[i] == b[j] for i, j in matches(a, b))


@given(st.lists(st.integers(0, 30), max_size=30, unique=True), st.data())
def test_what_is_taken_out_of_distinct_records_is_missing(a, data):
    kept = data.draw(st.lists(st.booleans(), min_size=len(a), max_size=len(a)))
    places = [place for place, keep in enumerate(kept) if keep]
    found = matches(a, [a[place] for place in places])
    assert found == [(place, number) for number, place in enumerate(places)]


@given(sequences, st.integers(0, 20), st.integers(0, 6))
def test_repeated_records_are_aligned_as_well_as_they_can_be(a, start, count):
    b = a[:start] + a[start + count :]
    assert len(matches(a, b)) == longest_common(a, b) == len(b)


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("place", [0, 100, 297])
def test_a_block_that_is_taken_out_of_repeated_blocks_does_not_shift_the_others(place, whole):
    layers = [7, 8, 9] * 100
    a, b = [1, *layers, 2], [1, *layers[:place], 50, 51, *layers[place:], 2]
    pairs, _ = align(records(a), records(b), whole=whole)
    assert [pair for pair in pairs if None in pair] == [(None, place + 1), (None, place + 2)]


@given(sequences, sequences)
def test_an_edit_script_leaves_as_much_as_can_be(a, b):
    pairs = shortest_edit(a, b)
    assert all(a[i] == b[j] for i, j in pairs)
    assert [sorted(set(side)) for side in zip(*pairs, strict=True)] == [
        list(side) for side in zip(*pairs, strict=True)
    ]
    assert len(pairs) == longest_common(a, b)


def test_a_unique_record_is_an_anchor_among_repeated_ones():
    a, b = [1, 1, 9, 2, 2], [2, 2, 9, 1, 1]
    assert matches(a, b) == [(2, 2)]
    assert len(shortest_edit(a, b)) == 2


def test_a_long_edit_script_is_not_searched():
    a, b = [1, 2, 3, 4] * 2000, [4, 3, 2, 1, 1] * 1600
    found = matches(a, b)
    assert found == sorted(found)
    assert len(found) > 1600


def test_repeated_blocks_are_aligned_by_the_shortest_edit():
    a, b = [1, 3, 2, 2], [1, 2, 3, 2, 1, 2, 3]  # numbering the occurrences would pair only 3
    assert len(matches(a, b)) == longest_common(a, b) == 4
    a, b = [3, 2, 2, 1, 3, 1], [2, 1, 2, 1, 3]
    assert len(matches(a, b)) == longest_common(a, b) == 4


def test_a_block_that_moves_the_end_of_a_window_does_not_shift_the_others():
    a, b = [1, *[7, 8, 9] * 100], [1, 50, 51, 52, *[7, 8, 9] * 99]
    found = matches(a, b, whole=False)
    assert found == [(0, 0), *((number, number + 3) for number in range(1, 298))]


def test_what_stands_at_the_end_of_a_window_is_paired_later():
    stream, other = StreamMaker(), StreamMaker()
    for maker in (stream, other):
        for line in range(20):
            maker.op("aten.relu.default", line=line)
    stream.op("aten.relu.default", line=50)
    other.op("aten.relu.default", line=60)
    assert align(stream.records, other.records, whole=True).certain == 21
    assert align(stream.records, other.records, whole=False).certain == 20
