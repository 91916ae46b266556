"""Compare flip_ulp, flip_bit and random_flip with plain loops over NumPy; test their errors."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import nondet_ext
from factories.floats import FORMATS, Format, is_nan, nextafter
from nondet_ext._layout import merged

pytestmark = pytest.mark.usefixtures("backend")


@pytest.fixture(params=list(FORMATS))
def fmt(request: pytest.FixtureRequest) -> Format:
    return FORMATS[request.param]


def flip_by_loop(
    values: np.ndarray, idx: list[int], directions: list[int], ulps: int, fmt: Format
) -> np.ndarray:
    """Apply numpy.nextafter `ulps` times to each element, in the order of idx; NaN keeps its
    bits.
    """
    flat = values.reshape(-1).copy()
    bits = flat.view(fmt.uint)
    for index, direction in zip(idx, directions, strict=True):
        for _ in range(ulps):
            one = flat[index : index + 1] if index >= 0 else flat[[index]]
            if is_nan(one)[0]:
                continue
            bits[index] = nextafter(one.copy(), direction > 0).view(fmt.uint)[0]
    return flat.reshape(values.shape)


def tensor_of_specials(fmt: Format) -> torch.Tensor:
    return fmt.tensor(fmt.special_bits)


@pytest.mark.parametrize("ulps", [0, 1, 2, 7])
@pytest.mark.parametrize("direction", [1, -1])
def test_specials_move_as_a_chain_of_nextafter(fmt, direction, ulps):
    x = tensor_of_specials(fmt)
    n = x.numel()
    expected = flip_by_loop(fmt.array(fmt.bits(x)), list(range(n)), [direction] * n, ulps, fmt)
    assert nondet_ext.flip_ulp(x, range(n), direction, ulps) is x
    np.testing.assert_array_equal(fmt.bits(x), np.ascontiguousarray(expected).view(fmt.uint))


@given(data=st.data())
def test_any_indices_in_any_order(data):
    fmt = FORMATS[data.draw(st.sampled_from(list(FORMATS)))]
    n = data.draw(st.integers(1, 12))
    bits = data.draw(st.lists(st.integers(0, 2**fmt.width - 1), min_size=n, max_size=n))
    idx = data.draw(st.lists(st.integers(-n, n - 1), max_size=30))
    directions = data.draw(st.lists(st.sampled_from([1, -1]), min_size=len(idx), max_size=len(idx)))
    ulps = data.draw(st.integers(0, 3))
    x = fmt.tensor(np.array(bits, dtype=fmt.uint))
    expected = flip_by_loop(fmt.array(fmt.bits(x)), idx, directions, ulps, fmt)
    nondet_ext.flip_ulp(x, idx, torch.tensor(directions, dtype=torch.int64), ulps)
    np.testing.assert_array_equal(fmt.bits(x), expected.view(fmt.uint))


def test_many_steps_saturate_at_infinity(fmt):
    info = torch.finfo(fmt.torch_dtype)
    x = torch.tensor([0.0, -0.0, info.max, -info.max, 1.0], dtype=fmt.torch_dtype)
    for _ in range(2):  # the whole range of float64 is more than 2**63 - 1 steps
        nondet_ext.flip_ulp(x, range(5), 1, 2**63 - 1)
    assert bool(x.isposinf().all())
    nondet_ext.flip_ulp(x, [0], -1, 1)
    assert x[0] == info.max  # an infinity moves inward to the largest finite value
    ordinal_of_one = int(fmt.bits(torch.ones(1, dtype=fmt.torch_dtype))[0])
    y = torch.zeros(1, dtype=fmt.torch_dtype)
    nondet_ext.flip_ulp(y, 0, -1, ordinal_of_one)
    assert y.item() == -1.0
    nondet_ext.flip_ulp(y, 0, 1, ordinal_of_one)
    assert y.item() == 0.0
    assert bool(torch.signbit(y)[0])  # arriving from below


def views_of(base: torch.Tensor) -> dict[str, torch.Tensor]:
    return {
        "contiguous": base,
        "transposed": base.transpose(0, 2),
        "sliced": base[:, ::2, 1:],
        "row": base[1, 2],
        "channels first of many": base.permute(2, 0, 1),
        "0-d": base[0, 1, 2],
        "interleaved": base.reshape(-1).as_strided((2, 3), (3, 2)),
    }


@pytest.mark.parametrize("name", list(views_of(torch.zeros(3, 4, 5))))
def test_indices_are_logical_whatever_the_strides(fmt, name):
    base = torch.arange(60, dtype=torch.float32).reshape(3, 4, 5).to(fmt.torch_dtype)
    view = views_of(base)[name]
    n = view.numel()
    untouched = torch.ones(60, dtype=torch.bool).reshape(3, 4, 5)
    views_of(untouched)[name].fill_(False)
    before = base.clone()
    idx = [0, n - 1, -1, n // 2]
    expected = flip_by_loop(fmt.array(fmt.bits(view)), idx, [1] * 4, 1, fmt)
    nondet_ext.flip_ulp(view, idx)
    np.testing.assert_array_equal(fmt.bits(view), np.ascontiguousarray(expected).view(fmt.uint))
    assert torch.equal(base[untouched], before[untouched])


def test_every_kind_of_index_means_the_same(fmt):
    start = torch.linspace(-1, 1, 10).to(fmt.torch_dtype)
    expected = nondet_ext.flip_ulp(start.clone(), [3])
    for idx in (3, -7, (3,), np.int64(3), np.array([3]), torch.tensor(3), torch.tensor([[3]])):
        assert torch.equal(nondet_ext.flip_ulp(start.clone(), idx), expected)
    for dtype in (torch.int32, torch.int16, torch.int8, torch.uint8):
        assert torch.equal(
            nondet_ext.flip_ulp(start.clone(), torch.tensor([3], dtype=dtype)), expected
        )


def test_nothing_to_do():
    for empty in ([], torch.zeros(0, dtype=torch.int64)):
        x = torch.ones(3)
        assert torch.equal(nondet_ext.flip_ulp(x, empty), torch.ones(3))
        assert nondet_ext.flip_ulp(torch.zeros(0), empty).numel() == 0
        assert nondet_ext.flip_bit(x, empty, 3) is x


@given(data=st.data())
def test_flip_bit_is_an_xor(data):
    fmt = FORMATS[data.draw(st.sampled_from(list(FORMATS)))]
    n = data.draw(st.integers(1, 6))
    idx = data.draw(st.lists(st.integers(-n, n - 1), max_size=12))
    which = st.integers(0, fmt.width - 1)
    bits = data.draw(st.lists(which, min_size=len(idx), max_size=len(idx)))
    start = np.arange(n).astype(fmt.numpy_dtype)
    x = fmt.tensor(start.view(fmt.uint))
    expected = [int(each) for each in start.view(fmt.uint)]
    for index, bit in zip(idx, bits, strict=True):
        expected[index] ^= 1 << bit
    nondet_ext.flip_bit(x, idx, torch.tensor(bits, dtype=torch.int64))
    assert [int(each) for each in fmt.bits(x)] == expected


def test_flip_bit_with_one_bit_for_all():
    x = torch.tensor([1.0, -1.0, 0.0])
    nondet_ext.flip_bit(x, [0, 1, 2], 31)
    assert x.tolist() == [-1.0, 1.0, 0.0]
    assert torch.signbit(x[2])


SHARED = torch.ones(3).expand(2, 3)
LEFT_ALONE = [
    (
        lambda x: nondet_ext.flip_ulp(x, [0, 5]),
        IndexError,
        r"idx\[1\] = 5 is out of range .*-4 to 3",
    ),
    (lambda x: nondet_ext.flip_ulp(x, [0, -5]), IndexError, r"idx\[1\] = -5"),
    (lambda x: nondet_ext.flip_ulp(x, torch.tensor([1, 2, 4])), IndexError, r"idx\[2\] = 4"),
    (lambda x: nondet_ext.flip_bit(x, torch.tensor([1, 9]), 0), IndexError, r"idx\[1\] = 9"),
    (lambda x: nondet_ext.flip_ulp(x[:0], [0]), IndexError, "0 elements"),
    (lambda x: nondet_ext.flip_ulp(x, 0, 0), ValueError, "direction must be 1 or -1, got 0"),
    (lambda x: nondet_ext.flip_ulp(x, 0, 2), ValueError, "direction must be 1 or -1, got 2"),
    (
        lambda x: nondet_ext.flip_ulp(x, [0, 1], torch.tensor([1, 0])),
        ValueError,
        r"direction\[1\] must be 1 or -1, got 0",
    ),
    (
        lambda x: nondet_ext.flip_ulp(x, [0, 1], torch.tensor([1])),
        ValueError,
        "direction must have one entry per index, 2, got 1",
    ),
    (lambda x: nondet_ext.flip_ulp(x, 0, 1, -1), ValueError, "ulps must be in .*got -1"),
    (lambda x: nondet_ext.flip_ulp(x, 0, 1, 1.5), TypeError, "ulps must be an integer, got float"),
    (lambda x: nondet_ext.flip_ulp(x, 0.5), TypeError, "idx must be an int, .*got float"),
    (lambda x: nondet_ext.flip_ulp(x, [0.5]), TypeError, r"idx\[0\] must be an integer"),
    (lambda x: nondet_ext.flip_ulp(x, True), TypeError, "idx must hold integers, got bool"),
    (lambda x: nondet_ext.flip_ulp(x, torch.tensor([True])), TypeError, "idx .*torch.bool"),
    (lambda x: nondet_ext.flip_ulp(x, torch.tensor([0.0])), TypeError, "idx .*torch.float32"),
    (lambda x: nondet_ext.flip_bit(x, 0, 32), ValueError, "bit must be 0 to 31, got 32"),
    (
        lambda x: nondet_ext.flip_bit(x, [0, 1], torch.tensor([0, 32])),
        ValueError,
        r"bit\[1\] must be 0 to 31, got 32",
    ),
    (lambda x: nondet_ext.flip_ulp(x.expand(2, 4), 0), ValueError, "share memory"),
    (lambda x: nondet_ext.flip_ulp(x.as_strided((2, 2), (1, 1)), 0), ValueError, "share memory"),
    (lambda x: nondet_ext.random_flip(x.expand(2, 4), 1), ValueError, "share memory"),
    (lambda x: nondet_ext.random_flip(x, 1, count=5), ValueError, r"count must be in \[0, 4\]"),
    (lambda x: nondet_ext.random_flip(x, -1), ValueError, "seed must be in .*got -1"),
    (lambda x: nondet_ext.random_flip(x, 1, 2**32), ValueError, "stream must be in"),
    (lambda x: nondet_ext.flip_ulp(x.tolist(), 0), TypeError, "param must be a torch.Tensor"),
    (lambda x: nondet_ext.flip_ulp(x.to(torch.int64), 0), TypeError, "param .*torch.int64"),
]


@pytest.mark.parametrize(
    ("call", "error", "message"), LEFT_ALONE, ids=[str(i) for i in range(len(LEFT_ALONE))]
)
def test_bad_input_is_refused_before_anything_changes(call, error, message):
    x = torch.arange(4.0)
    with pytest.raises(error, match=message):
        call(x)
    assert x.tolist() == [0.0, 1.0, 2.0, 3.0]
    assert x._version == 0


def test_more_dimensions_than_the_kernels_hold_is_an_error():
    # 25 dimensions of size two that cannot be merged. Meta tensors need no memory for them.
    strides = tuple(3**k for k in range(25, 0, -1))
    many = torch.empty_strided((2,) * 25, strides, device="meta")
    with pytest.raises(ValueError, match="25 dimensions that cannot be merged; at most 24"):
        merged(many)
    assert merged(torch.zeros(2, 1, 3, 4).transpose(0, 1)) == ([24], [1])
    assert merged(torch.zeros(2, 3, 4).transpose(1, 2)) == ([2, 4, 3], [12, 1, 4])


def test_random_flip_record(fmt):
    x = torch.linspace(-3, 3, 50).to(fmt.torch_dtype).reshape(5, 10).t()
    before = x.clone()
    record = nondet_ext.random_flip(x, seed=7, stream=3, count=20)
    changed = (x != before).reshape(-1).nonzero().flatten()
    assert sorted(record.indices.tolist()) == changed.tolist()
    assert len(set(record.indices.tolist())) == 20
    assert set(record.directions.tolist()) == {1, -1}
    old = before.reshape(-1)[record.indices]
    new = x.reshape(-1)[record.indices]
    assert torch.equal(record.old_values, old)
    assert torch.equal(record.new_values, new)
    np.testing.assert_array_equal(record.old_bits.numpy().view(fmt.uint), fmt.bits(old))
    np.testing.assert_array_equal(record.new_bits.numpy().view(fmt.uint), fmt.bits(new))
    assert torch.equal(record.difference, new.double() - old.double())
    assert torch.equal(torch.sign(record.difference), record.directions.double())
    assert bool((nondet_ext.ulp_distance(old, new) == 1).all())
    record.undo()
    assert torch.equal(x, before)


def test_random_flip_depends_on_its_key_alone():
    def choice(seed: int, stream: int = 0, count: int = 3) -> list[int]:
        record = nondet_ext.random_flip(torch.zeros(1000), seed, stream, count)
        return (record.indices * record.directions).tolist()

    assert choice(1) == choice(1)
    assert len({tuple(choice(seed)) for seed in range(50)}) == 50
    assert choice(1, stream=1) != choice(1)
    assert choice(1, count=2) == choice(1)[:2]
    whole = nondet_ext.random_flip(torch.zeros(1000), 5, count=1000)
    assert sorted(whole.indices.tolist()) == list(range(1000))
    assert nondet_ext.random_flip(torch.zeros(()), 5).indices.tolist() == [0]
    assert nondet_ext.random_flip(torch.zeros(0), 5, count=0).indices.numel() == 0


def test_random_flip_is_uniform_over_indices_and_directions():
    from scipy import stats

    n, draws = 8, 1600
    where = np.zeros(n)
    ups = 0
    for seed in range(draws):
        record = nondet_ext.random_flip(torch.zeros(n), seed)
        where[record.indices.item()] += 1
        ups += record.directions.item() == 1
    assert stats.chisquare(where).pvalue > 1e-4
    assert stats.binomtest(ups, draws).pvalue > 1e-4


def test_undo_refuses_a_weight_that_has_moved_on():
    x = torch.ones(4)
    record = nondet_ext.random_flip(x, 1)
    with torch.no_grad():
        x += 1
    with pytest.raises(RuntimeError, match=r"element \d has changed since the flip"):
        record.undo()
    assert x[(record.indices.item() + 1) % 4] == 2.0


def test_emulated_and_cpu_edits_agree_on_many_repeats(backend):
    # The order matters: long runs of equal indices, both directions, infinities in between.
    rng = np.random.default_rng(11)
    fmt = FORMATS["float32"]
    largest = torch.full((7,), torch.finfo(torch.float32).max)
    idx = rng.integers(-7, 7, 600)
    directions = rng.choice([1, -1], 600)
    expected = flip_by_loop(largest.numpy(), idx.tolist(), directions.tolist(), 1, fmt)
    nondet_ext.flip_ulp(largest, torch.from_numpy(idx), torch.from_numpy(directions))
    np.testing.assert_array_equal(largest.numpy(), expected)
