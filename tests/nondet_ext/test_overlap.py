"""Test what happens to tensors that share memory: of one storage, or of two storages that are views
of one buffer.
"""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import nondet_ext
from nondet_ext._layout import apart, overlap

SIZE = 400


def buffers():
    """Return pairs of vectors of SIZE float64 zeros that are the same memory."""
    one = np.zeros(SIZE)
    storage = torch.zeros(SIZE, dtype=torch.float64)
    return {
        "numpy": (torch.from_numpy(one), torch.from_numpy(one)),
        "dlpack": (storage, torch.from_dlpack(storage.numpy())),
        "storage": (torch.zeros(SIZE, dtype=torch.float64),) * 2,
    }


KINDS = list(buffers())
ORDERS = [{"order": "fixed"}, {"order": "exact"}, {"order": "seeded", "seed": 3}]


def filled(kind):
    """Return such a pair, with values that differ from element to element."""
    left, right = buffers()[kind]
    left.copy_(torch.randn(SIZE, dtype=torch.float64, generator=torch.Generator().manual_seed(1)))
    return left, right


@st.composite
def views(draw):
    """Draw a view of a vector of SIZE elements: its shape, strides and offset."""
    dims = draw(st.integers(0, 3))
    shape = [draw(st.integers(0, 5)) for _ in range(dims)]
    strides = [draw(st.integers(0, 20)) for _ in range(dims)]
    return shape, strides, draw(st.integers(0, SIZE - 5 * 20 * 3 - 1))


def addresses(shape, strides, offset):
    """Return the positions of a view's elements."""
    found = {offset} if 0 not in shape else set()
    for size, stride in zip(shape, strides, strict=True):
        found = {each + i * stride for each in found for i in range(size)}
    return found


@settings(max_examples=300, deadline=None)
@given(views(), views(), st.sampled_from(KINDS))
def test_overlap_is_exact(first, second, kind):
    left, right = buffers()[kind]
    expected = bool(addresses(*first) & addresses(*second))
    assert overlap(left.as_strided(*first), right.as_strided(*second)) == expected


def test_elements_of_two_sizes():
    buffer = np.zeros(64, np.uint8)
    wide = torch.from_numpy(buffer.view(np.float64))
    narrow = torch.from_numpy(buffer.view(np.float16))
    assert overlap(wide[1:2], narrow[4:5])
    assert overlap(wide[1:2], narrow[7:8])
    assert not overlap(wide[1:2], narrow[3:4])
    assert not overlap(wide[1:2], narrow[8:9])
    assert overlap(wide[::2], narrow[3::5])  # 3, 8, 13, 18, 23, 28: 8 and 18 are in wide[2], [4]
    assert not overlap(wide[::4], narrow[4:16])


def test_hard_cases_are_taken_to_overlap(monkeypatch):
    """A search that takes too long is answered on the safe side."""
    x = torch.zeros(10_000)
    left = x.as_strided((4, 5, 3, 4), (24, 812, 40, 861))
    right = x[3:].as_strided((3, 4, 4, 3), (332, 861, 650, 245))
    assert not overlap(left, right)
    monkeypatch.setattr("nondet_ext._layout._MOST_WORK", 1)
    assert overlap(left, right)


def test_tensors_without_memory():
    meta = torch.zeros(5, device="meta")
    assert not overlap(meta, meta)
    assert not overlap(torch.zeros(0), torch.zeros(5))


def test_apart_copies_what_overlaps_alone():
    left, right = filled("numpy")
    assert apart(right[:5], left[5:]) is not None
    assert apart(right[:5], left[5:]).data_ptr() == right.data_ptr()
    copy = apart(right[:5], left[4:])
    assert copy.data_ptr() != right.data_ptr()
    assert torch.equal(copy, right[:5])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("order", ORDERS, ids=lambda order: order["order"])
@pytest.mark.parametrize("name", ["index_add_", "scatter_add_"])
@pytest.mark.parametrize("shift", [0, 1, 37, 200])
def test_sums_at_indices_read_before_they_write(kind, order, name, shift):
    """A source in the memory of the input counts with its values before the call, and so do
    indices.
    """
    left, right = filled(kind)
    into, source = left[:200], right[shift : shift + 200]
    index = torch.randint(0, 200, (200,), generator=torch.Generator().manual_seed(2))
    expected = getattr(nondet_ext, name[:-1])(into.clone(), 0, index, source.clone(), **order)
    getattr(nondet_ext, name)(into, 0, index, source, **order)
    assert torch.equal(into, expected)

    left, right = filled(kind)
    into, where = left[:200], right.view(torch.int64)[shift : shift + 200]
    where.copy_(index)
    source = torch.ones(200, dtype=torch.float64)
    expected = getattr(nondet_ext, name[:-1])(into.clone(), 0, index, source, **order)
    getattr(nondet_ext, name)(into, 0, where, source, **order)
    assert torch.equal(into, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_edits_read_before_they_write(kind):
    """Indices, directions and bits may lie in the memory that an edit changes."""
    for which in ("idx", "direction", "bit"):
        left, right = buffers()[kind]
        values = [5, 3, 3, 1, 0, 0, 2] if which == "idx" else [1, -1, 1, 1, -1, -1, 1]
        given = right.view(torch.int64)[: len(values)]
        given.copy_(torch.tensor(values).abs() if which == "bit" else torch.tensor(values))
        plain = left.clone()
        idx = given if which == "idx" else torch.arange(len(values))
        if which == "bit":
            nondet_ext.flip_bit(plain, idx, given.clone())
            nondet_ext.flip_bit(left, idx, given)
        else:
            more = () if which == "idx" else (given,)
            nondet_ext.flip_ulp(plain, idx.clone(), *(each.clone() for each in more))
            nondet_ext.flip_ulp(left, idx, *more)
        assert torch.equal(left.view(torch.int64), plain.view(torch.int64))


OUTS = {
    "next_up": lambda x, out: nondet_ext.next_up(x, out=out),
    "next_down": lambda x, out: nondet_ext.next_down(x, out=out),
    "ulp_distance, a": lambda x, out: nondet_ext.ulp_distance(x, x + 1, out=out.view(torch.int64)),
    "ulp_distance, b": lambda x, out: nondet_ext.ulp_distance(x + 1, x, out=out.view(torch.int64)),
    "sum": lambda x, out: nondet_ext.sum(x[None], 0, out=out),
    "mean": lambda x, out: nondet_ext.mean(x[None], 0, out=out),
    "accumulate": lambda x, out: nondet_ext.accumulate(x[None], out=out),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", OUTS)
def test_results_may_not_overlap_inputs(kind, name):
    left, right = filled(kind)
    before = left.clone()
    for shift in (1, 99, -1, -99):
        x, out = left[100:200], right[100 + shift : 200 + shift]
        with pytest.raises(ValueError, match=r"^out (overlaps|must not share memory)"):
            OUTS[name](x, out)
        assert torch.equal(left, before)
    for start in (0, 200):  # next to each other
        OUTS[name](left[100:200], right[start : start + 100])
        expected = torch.zeros(100, dtype=torch.float64)
        OUTS[name](before[100:200], expected)
        found = right[start : start + 100].view(torch.int64)
        assert torch.equal(found, expected.view(torch.int64))
    assert torch.equal(left[100:200], before[100:200])


@pytest.mark.parametrize("kind", KINDS)
def test_neighbours_may_be_written_in_place(kind):
    left, right = filled(kind)
    expected = nondet_ext.next_up(left.clone())
    assert nondet_ext.next_up(left, out=right) is right
    assert torch.equal(left, expected)


def test_results_between_the_elements_of_inputs():
    x = torch.randn(20, 2, generator=torch.Generator().manual_seed(1))
    matrix = torch.zeros(6, 5)
    matrix[:, 1:] = x[:6].repeat(1, 2)
    expected = nondet_ext.sum(matrix[:, 1:].clone(), 0)
    row = torch.zeros(4)
    assert torch.equal(nondet_ext.sum(matrix[:, 1:], 0, out=row), expected)
    with pytest.raises(ValueError, match="out must not share memory with x"):
        nondet_ext.sum(matrix[1:, 1:], 0, out=matrix[1, 1:])
    found = nondet_ext.sum(matrix[1:, 1:], 0, out=matrix[0, 1:])
    assert torch.equal(found, nondet_ext.sum(matrix[1:, 1:].clone(), 0))
    alone = matrix[:, 1:].sum()
    nondet_ext.sum(matrix[:, 1:], out=matrix[3, 0])  # between the elements
    assert matrix[3, 0] == pytest.approx(float(alone), rel=1e-5)
