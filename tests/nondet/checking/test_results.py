"""Test where results differ first, on results of which one bit was changed."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nondet.checking.results import first_difference, same_bits

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.int64, torch.bool, torch.uint8)


@given(
    st.sampled_from(DTYPES),
    st.lists(st.integers(1, 4), max_size=3),
    st.data(),
)
def test_the_first_changed_element_is_named(dtype, shape, data):
    expected = torch.ones(shape, dtype=dtype)
    raw = expected.clone().reshape(-1).view(torch.uint8)
    width = expected.element_size()
    places = data.draw(st.sets(st.integers(0, expected.numel() - 1), min_size=1))
    for place in places:
        raw[place * width] ^= 1
    found = raw.view(dtype).reshape(shape)
    apart = first_difference([3, expected], (3, found))
    index = [0] * len(shape)
    rest = min(places)
    for axis in reversed(range(len(shape))):
        rest, index[axis] = divmod(rest, shape[axis])
    assert apart.element == f"result 1, element {tuple(index)}"
    assert apart.shape == str(tuple(shape))
    assert int(apart.expected, 16) ^ int(apart.found, 16) == 1
    assert len(apart.expected) == 2 + 2 * width
    assert not same_bits(expected, found)


def test_equal_bits_have_no_difference():
    nan = torch.tensor([torch.nan, -0.0, 1e-45])
    results = [nan, [nan.t(), 5], nan[:0]]
    assert first_difference(results, results) is None
    assert same_bits(results, [nan.clone(), [nan.clone(), 5], nan[:0]])


@pytest.mark.parametrize(
    ("expected", "found", "bits"),
    [
        (torch.tensor(0.0), torch.tensor(-0.0), ("0x00000000", "0x80000000")),
        (torch.zeros(2), torch.zeros(3), ("torch.float32 (2,)", "torch.float32 (3,)")),
        (torch.zeros(2), torch.zeros(2, dtype=torch.int32), None),
        (7, 8, ("7", "8")),
        (torch.tensor(7), 7, None),
        ([7, 7], [7], ("2 results", "1 results")),
    ],
)
def test_what_differs_is_told(expected, found, bits):
    apart = first_difference(expected, found)
    assert apart is not None
    assert not same_bits(expected, found)
    if bits is not None:
        assert (apart.expected, apart.found) == bits


def test_gaps_between_elements_are_no_difference():
    x = torch.arange(10.0)
    assert same_bits(x[::2], x[::2].contiguous())
    one = x.view(5, 2)[:1, 0]  # one element, whose stride is 2
    assert same_bits(one, torch.zeros(1))
    assert first_difference(one, torch.ones(1)).element == "element (0,)"
