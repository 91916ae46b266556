"""Compare Philox4x32-10 with published known answers, a plain loop, exact fractions and SciPy."""

from fractions import Fraction
from functools import partial

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

import nondet_ext
from factories.threads import threads_of_torch
from nondet_ext._backend import use_backend

pytestmark = [pytest.mark.early, pytest.mark.usefixtures("backend")]

WORD = st.integers(0, 2**32 - 1)


def philox_by_loop(counter: list[int], key: list[int]) -> list[int]:
    """Compute a block of four words by the definition, with Python's integers."""
    x, k = list(counter), list(key)
    for _ in range(10):
        left, right = 0xD2511F53 * x[0], 0xCD9E8D57 * x[2]
        x = [
            (right >> 32) ^ x[1] ^ k[0],
            right & 0xFFFFFFFF,
            (left >> 32) ^ x[3] ^ k[1],
            left & 0xFFFFFFFF,
        ]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return x


# The kat_vectors file of Random123: counter, key, answer.
KNOWN_ANSWERS = [
    ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    ([2**32 - 1] * 4, [2**32 - 1] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        [0xA4093822, 0x299F31D0],
        [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
    ),
]


def words(draw: torch.Tensor) -> list[int]:
    return draw.to(torch.int64).reshape(-1).tolist()


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN_ANSWERS)
def test_published_known_answers(counter, key, answer):
    draw = nondet_ext.philox_bits(
        4, seed=key[0], stream=key[1], counter=counter[1:], offset=4 * counter[0]
    )
    assert draw.dtype == torch.uint32
    assert words(draw) == answer
    assert philox_by_loop(counter, key) == answer


@given(key=st.tuples(WORD, WORD), coordinates=st.lists(WORD, max_size=3), data=st.data())
def test_any_stretch_of_any_draw(key, coordinates, data):
    offset = data.draw(st.integers(0, 2**34 - 200))
    n = data.draw(st.integers(0, 150))
    draw = nondet_ext.philox_bits(n, seed=key[0], stream=key[1], counter=coordinates, offset=offset)
    c = [*coordinates, 0, 0, 0][:3]
    expected = [philox_by_loop([j // 4, *c], list(key))[j % 4] for j in range(offset, offset + n)]
    assert words(draw) == expected


@pytest.mark.parametrize("n", [0, 1, 3, 4, 63, 64, 65, 127, 128, 129, 255, 256, 257, 1000])
@pytest.mark.parametrize("offset", [0, 1, 2, 3, 4, 7])
def test_pieces_join_at_every_edge(n, offset):
    whole = nondet_ext.philox_bits(1100, seed=9, stream=2, counter=(5,))
    piece = nondet_ext.philox_bits(n, seed=9, stream=2, counter=(5,), offset=offset)
    assert torch.equal(piece.view(torch.int32), whole[offset : offset + n].view(torch.int32))


DRAWS = {
    "bits": nondet_ext.philox_bits,
    "randint": partial(nondet_ext.philox_randint, -7, 2**40),
    **{
        f"{draw.__name__} {dtype}": partial(draw, dtype=dtype)
        for draw in (nondet_ext.philox_uniform, nondet_ext.philox_normal)
        for dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16)
    },
}


def byte_rows(draws: torch.Tensor) -> list[bytes]:
    return [row.view(torch.uint8).numpy().tobytes() for row in draws]


@pytest.mark.parametrize("name", DRAWS)
def test_rows_of_any_length_from_any_offset(name):
    # A row of odd length makes the next one begin beside an address that is a multiple of 16.
    draw, rows = DRAWS[name], torch.tensor([3, 2**32 - 1, 0])
    with use_backend(None):
        wholes = draw(150, seed=2, counter=(rows,))
    for offset in (0, 1, 2, 3, 4, 5, 7, 8, 9, 16):
        for n in (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 127, 128, 129):
            pieces = draw(n, seed=2, counter=(rows,), offset=offset)
            assert byte_rows(pieces) == byte_rows(wholes[:, offset : offset + n].contiguous())


@pytest.mark.parametrize("name", DRAWS)
def test_the_last_elements_of_a_draw(name):
    elements = {"bits": 4, "randint": 1}.get(name, 2 if "normal" in name or "64" in name else 4)
    for n in (1, 3, 8, 21):
        last = {"seed": 2, "counter": (5,), "offset": elements * 2**32 - n}
        with use_backend(None):
            expected = DRAWS[name](n, **last)
        assert byte_rows(DRAWS[name](n, **last)[None]) == byte_rows(expected[None])


def test_tensor_coordinates_give_one_draw_each():
    epochs, examples = torch.tensor([[3], [4]]), torch.tensor([10, 11, 7])
    draws = nondet_ext.philox_bits((2, 5), seed=1, counter=(epochs, examples, 6))
    assert draws.shape == (2, 3, 2, 5)
    for i, epoch in enumerate([3, 4]):
        for j, example in enumerate([10, 11, 7]):
            one = nondet_ext.philox_bits((2, 5), seed=1, counter=(epoch, example, 6))
            assert words(draws[i, j]) == words(one)


def block_of(seed: int, element_block: int) -> list[int]:
    return philox_by_loop([element_block, 0, 0, 0], [seed, 0])


@pytest.mark.parametrize(
    ("dtype", "digits"),
    [(torch.float64, 53), (torch.float32, 24), (torch.float16, 11), (torch.bfloat16, 8)],
)
def test_uniform_is_the_top_bits_as_an_exact_fraction(dtype, digits):
    n = 600
    draw = nondet_ext.philox_uniform(n, seed=5, dtype=dtype)
    assert draw.dtype == dtype
    stream = [w for block in range(n) for w in block_of(5, block)]
    for j, value in enumerate(draw.double().tolist()):
        if dtype == torch.float64:
            pattern, width = stream[2 * j] | stream[2 * j + 1] << 32, 64
        else:
            pattern, width = stream[j], 32
        assert Fraction(value) == Fraction(pattern >> (width - digits), 2**digits)


@given(
    seed=WORD, bounds=st.tuples(st.integers(-(2**63), 2**63 - 1), st.integers(-(2**63), 2**63 - 1))
)
def test_randint_is_floor_of_a_128_bit_fraction(seed, bounds):
    low, high = min(bounds), max(bounds) + (bounds[0] == bounds[1])
    if high >= 2**63:
        low, high = low - 1, high - 1
    draw = nondet_ext.philox_randint(low, high, 3, seed=seed)
    for j, value in enumerate(draw.tolist()):
        fraction = sum(w << (32 * i) for i, w in enumerate(block_of(seed, j)))
        assert value == low + ((high - low) * fraction >> 128)


@pytest.mark.parametrize("n", [0, 1, 2, 17, 1000])
def test_permutation_sorts_64_bit_keys(n):
    permutation = nondet_ext.philox_permutation(n, seed=4, stream=1, counter=(2,))
    assert sorted(permutation.tolist()) == list(range(n))
    stream = words(nondet_ext.philox_bits(2 * n, seed=4, stream=1, counter=(2,)))
    keys = [stream[2 * j] | stream[2 * j + 1] << 32 for j in range(n)]
    signed = [key - 2**64 if key >= 2**63 else key for key in keys]
    assert permutation.tolist() == sorted(range(n), key=lambda j: signed[j])


def test_permutations_per_epoch():
    both = nondet_ext.philox_permutation(50, seed=4, counter=(torch.tensor([0, 1]),))
    for epoch in (0, 1):
        assert torch.equal(both[epoch], nondet_ext.philox_permutation(50, seed=4, counter=(epoch,)))
    assert not torch.equal(both[0], both[1])


def normal_probabilities(seed: int, n: int) -> np.ndarray:
    stream = [w for block in range((n + 1) // 2) for w in block_of(seed, block)]
    pairs = [stream[2 * j] | stream[2 * j + 1] << 32 for j in range(n)]
    return np.array([(2 * (pair >> 12) + 1) / 2**53 for pair in pairs])


def test_normal_inverts_the_distribution_function():
    n = 4000
    p = normal_probabilities(3, n)
    z = nondet_ext.philox_normal(n, seed=3, dtype=torch.float64).numpy()
    # AS 241 claims about 1e-16 relative; scipy.special.ndtri is good to a few units as well.
    np.testing.assert_allclose(z, special.ndtri(p), rtol=4e-15, atol=2e-16)


@pytest.mark.parametrize(
    ("dtype", "numpy_dtype"),
    [
        (torch.float32, np.float32),
        (torch.float16, np.float16),
        (torch.bfloat16, ml_dtypes.bfloat16),
    ],
)
def test_narrow_normals_are_the_float64_ones_rounded_once(dtype, numpy_dtype):
    n = 5000
    wide = nondet_ext.philox_normal(n, seed=8, dtype=torch.float64).tolist()
    narrow = nondet_ext.philox_normal(n, seed=8, dtype=dtype).double().tolist()
    for got, exact in zip(narrow, wide, strict=True):
        value = np.array(got).astype(numpy_dtype)
        below, above = (
            float(np.nextafter(value, np.array(goal, dtype=numpy_dtype)))
            for goal in (-np.inf, np.inf)
        )
        error = abs(Fraction(got) - Fraction(exact))
        assert error <= abs(Fraction(below) - Fraction(exact))
        assert error <= abs(Fraction(above) - Fraction(exact))


def test_normal_bits_are_one_defined_number():
    # Fixed values: if one bit changes, so does every model that is initialised from these draws.
    z = nondet_ext.philox_normal(4, seed=1, dtype=torch.float64).view(torch.int64).tolist()
    assert z == [4608316575724571694, 4603193067767910676, 4607840151397974156, 4600910724537878470]


def test_large_draws_are_written_past_the_caches_with_equal_bits(backend):
    # Only the CPU kernels bypass the caches.
    n = (2**22 if backend.startswith("cpu") else 2**18) + 37
    large = nondet_ext.philox_bits(n, seed=2, counter=(1,))
    for start in (0, 1000, n // 2 - 3, n - 100):
        small = nondet_ext.philox_bits(100, seed=2, counter=(1,), offset=start)
        assert words(large[start : start + 100]) == words(small)


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_change_nothing(threads):
    expected = nondet_ext.philox_normal((7,), seed=2, counter=(torch.arange(9001),))
    with threads_of_torch(threads):
        got = nondet_ext.philox_normal((7,), seed=2, counter=(torch.arange(9001),))
    assert torch.equal(got, expected)
    assert torch.equal(got[8500], nondet_ext.philox_normal(7, seed=2, counter=(8500,)))


def test_draws_do_not_follow_a_default_device():
    expected = nondet_ext.philox_uniform(9, seed=3)
    with torch.device("meta"):
        drawn = [nondet_ext.philox_uniform(9, seed=3, device=each) for each in (None, "cpu")]
    assert [each.tolist() for each in drawn] == [expected.tolist()] * 2


def test_words_are_uniform():
    n = 2**16
    for seed in (0, 1, 2**31):
        bits = np.array(words(nondet_ext.philox_bits(n, seed=seed)))
        for shift in (0, 8, 16, 24):
            counts = np.bincount(bits >> shift & 255, minlength=256)
            assert stats.chisquare(counts).pvalue > 1e-5
        z = nondet_ext.philox_normal(n, seed=seed, dtype=torch.float64).numpy()
        assert stats.kstest(z, "norm").pvalue > 1e-5


@pytest.mark.parametrize(
    "neighbour",
    [{"seed": 1}, {"stream": 1}, {"counter": (1,)}, {"counter": (0, 1)}, {"counter": (0, 0, 1)}],
    ids=str,
)
def test_neighbouring_keys_are_uncorrelated(neighbour):
    n = 2**15
    base = {"seed": 0, "stream": 0, "counter": ()}
    a = nondet_ext.philox_uniform(n, dtype=torch.float64, **base).numpy()
    b = nondet_ext.philox_uniform(n, dtype=torch.float64, **(base | neighbour)).numpy()
    # The correlation of independent samples has SD 1 / sqrt(n): five of them.
    assert abs(np.corrcoef(a, b)[0, 1]) < 5 / n**0.5
    assert abs(np.corrcoef(a[:-1], a[1:])[0, 1]) < 5 / n**0.5


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"seed": 2**32}, ValueError, r"seed must be in \[0, 4294967295\], got 4294967296"),
        ({"seed": -1}, ValueError, "seed must be in .*got -1"),
        ({"seed": 1.0}, TypeError, "seed must be an integer, got float"),
        ({"seed": 1, "stream": 2**40}, ValueError, "stream must be in"),
        ({"seed": 1, "counter": (1, 2, 3, 4)}, TypeError, "at most three coordinates, got 4"),
        ({"seed": 1, "counter": 5}, TypeError, "counter must be a tuple .* got int"),
        ({"seed": 1, "counter": (-1,)}, ValueError, r"counter\[0\] must be in"),
        ({"seed": 1, "counter": (0, torch.tensor([3, -1]))}, ValueError, r"counter\[1\] .*got -1"),
        ({"seed": 1, "counter": (torch.tensor([2**32]),)}, ValueError, r"counter\[0\] .*got 42949"),
        ({"seed": 1, "counter": (torch.ones(2),)}, TypeError, r"counter\[0\] must hold integers"),
        (
            {"seed": 1, "counter": (torch.zeros(2, dtype=torch.int64), torch.arange(3))},
            ValueError,
            r"do not broadcast: \(2,\), \(3,\)",
        ),
        ({"seed": 1, "offset": -1}, ValueError, "offset must be in"),
        ({"seed": 1, "offset": 2**34}, ValueError, "offset . the elements of size"),
        ({"seed": 1, "size": -1}, ValueError, "size must be in"),
        ({"seed": 1, "size": (2, 0.5)}, TypeError, "size must be an integer, got float"),
        ({"seed": 1, "size": "ab"}, TypeError, "size must be an int or a sequence of ints"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        nondet_ext.philox_bits(**({"size": 3} | arguments))


def test_bad_dtype_and_bounds():
    with pytest.raises(TypeError, match=r"dtype must be .*got torch.int32"):
        nondet_ext.philox_uniform(3, seed=1, dtype=torch.int32)
    with pytest.raises(ValueError, match="high must be above low, got low=3, high=3"):
        nondet_ext.philox_randint(3, 3, 1, seed=1)
    with pytest.raises(ValueError, match="low must be in"):
        nondet_ext.philox_randint(-(2**63) - 1, 3, 1, seed=1)


WORD = np.iinfo(np.uint32).max


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("n", [0, 1, 2, 47, 48, 49, 2047, 2049, 131_073, 400_001])
@pytest.mark.parametrize("highest", [0, 3, WORD], ids=["equal", "few", "all"])
def test_orders_of_words_equal_those_of_numpy(n, highest, threads):
    rng = np.random.default_rng(n)
    # Keys with equal upper words, which have both signs, and equal keys, which keep their order.
    words = np.stack([rng.integers(0, 4, (2, n)), rng.integers(0, highest, (2, n), endpoint=True)])
    words = np.ascontiguousarray(np.moveaxis(words, 0, -1).astype(np.uint32))
    words[..., 1] ^= (rng.integers(0, 2, (2, n)) << 31).astype(np.uint32)
    expected = np.argsort(words.view(np.int64)[..., 0], axis=-1, stable=True)
    with threads_of_torch(threads):
        found = torch.ops.nondet_ext.philox_order(torch.from_numpy(words.reshape(2, 2 * n)))
    assert torch.equal(found, torch.from_numpy(expected))
