"""Compare digests with docs/numerics.md, "Fingerprints", in Python's integers; test that different
tensors get different digests.
"""

from collections.abc import Callable, Iterator
from itertools import islice

import numpy as np
import pytest
import torch

import nondet_ext
from factories.threads import threads_of_torch
from references.fingerprints import CODES, M32, bytes_of, random_bytes, specified, tensor_of

pytestmark = pytest.mark.usefixtures("backend")


def expect_specified(x: torch.Tensor) -> None:
    assert nondet_ext.fingerprint(x) == specified(bytes_of(x), CODES[x.dtype], x.shape)


EDGES = (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 1000)
TILES = (*range(4090, 4102), 8191, 8192, 8193, 12288, 12288 + 17, 5 * 4096 + 4095)


def test_every_size_around_the_edges():
    for count in (0, *EDGES, *TILES):
        expect_specified(tensor_of(random_bytes(count), torch.uint8))
    for count in (0, 1, 2, 3, 1023, 1024, 1025, 2047, 2048, 2049, 3001):
        expect_specified(tensor_of(random_bytes(4 * count), torch.float32))
        expect_specified(tensor_of(random_bytes(2 * count), torch.bfloat16))


@pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental")
@pytest.mark.parametrize("dtype", CODES, ids=str)
def test_every_dtype(dtype):
    for count in (1, 5, 513):
        x = tensor_of(random_bytes(count * dtype.itemsize, seed=count), dtype)
        expect_specified(x)
        expect_specified(x.reshape(1, count, 1))


def test_extreme_bytes():
    for value in (0, 255, 128, 1):
        for count in (16, 4096, 9000):
            expect_specified(torch.full((count,), value, dtype=torch.uint8))


def test_shapes_without_elements_and_scalars():
    shapes = [(), (0,), (0, 3), (3, 0), (1,), (1, 1), (0, 0, 2**40)]
    made = [torch.zeros(shape) for shape in shapes]
    for x in made:
        expect_specified(x)
    assert len({nondet_ext.fingerprint(x) for x in made}) == len(shapes)


def test_memory_layouts_are_not_seen():
    x = tensor_of(random_bytes(4 * 6000), torch.float32).reshape(30, 40, 5)
    expected = nondet_ext.fingerprint(x)
    wide = torch.zeros(30, 80, 5)
    wide[:, ::2] = x
    stored = x.permute(2, 0, 1).contiguous().permute(1, 2, 0)
    for same in (wide[:, ::2], stored, x.flip(1).flip(1)):
        assert nondet_ext.fingerprint(same) == expected
    row = x[:1, :1].expand(30, 40, 5)
    assert nondet_ext.fingerprint(row) == nondet_ext.fingerprint(row.contiguous())


@pytest.mark.parametrize("offset", [*range(18), 31, 33])
def test_any_alignment(offset):
    data = random_bytes(9001)
    expected = nondet_ext.fingerprint(tensor_of(data[offset:], torch.uint8))
    assert nondet_ext.fingerprint(tensor_of(data, torch.uint8)[offset:]) == expected


def test_lazy_conjugates_and_negatives():
    z = torch.complex(torch.linspace(-1, 1, 700), torch.linspace(0, 3, 700))
    for lazy, resolved in (
        (z.conj(), z.conj().resolve_conj()),
        (z.conj().imag, z.conj().imag.resolve_neg()),
    ):
        assert nondet_ext.fingerprint(lazy) == nondet_ext.fingerprint(resolved)
    assert nondet_ext.fingerprint(z.conj()) != nondet_ext.fingerprint(z)


def test_gradients_parameters_and_the_registered_op():
    x = torch.linspace(0, 1, 70)
    expected = nondet_ext.fingerprint(x)
    assert nondet_ext.fingerprint(torch.nn.Parameter(x.clone())) == expected
    assert nondet_ext.fingerprint(x.clone().requires_grad_() * 1) == expected
    result = torch.ops.nondet_ext.fingerprint(x)
    assert result.dtype == torch.int64
    assert result.shape == ()
    assert int(result) % 2**64 == expected
    with torch.device("meta"):
        assert nondet_ext.fingerprint(x) == expected


def distinct(*tensors: torch.Tensor) -> bool:
    return len({nondet_ext.fingerprint(x) for x in tensors}) == len(tensors)


def control(*tensors: torch.Tensor) -> bool:
    """Return True if torch.hash_tensor gives the same hash to all tensors."""
    return len({torch.hash_tensor(x).view(torch.int64).item() for x in tensors}) == 1


def test_tells_a_permutation():
    x = torch.randn(5000, generator=torch.Generator().manual_seed(1))
    swapped = x.clone()
    swapped[[3, 4]] = x[[4, 3]]
    apart = x.clone()
    apart[[17, 4017]] = x[[4017, 17]]  # at the same position in two tiles
    tiles = torch.cat([x[1024:2048], x[:1024], x[2048:]])  # whole tiles
    permutations = [x, swapped, apart, tiles, x.flip(0), x.roll(1), x.roll(1024)]
    assert control(*permutations)
    assert distinct(*permutations)


def test_tells_the_sign():
    x = torch.randn(4096, generator=torch.Generator().manual_seed(2))
    assert control(x, -x)
    assert distinct(x, -x)


def test_tells_the_same_bit_flipped_in_two_elements():
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(3000, dtype=torch.float64, generator=generator)
    pairs = ([0, 1], [0, 2], [7, 512 + 7], [5, 2999])
    flipped = [nondet_ext.flip_bit(x.clone(), pair, bit) for pair in pairs for bit in range(64)]
    variants = [x, *flipped]
    assert control(*variants)
    assert distinct(*variants)


def test_tells_constants_of_different_length():
    lengths = (2, 4, 1022, 1024, 1026, 2048, 4096, 6144)
    for value in (0.0, 1.0, -1.0):
        constants = [torch.full((n,), value) for n in lengths]
        assert control(*constants)
        assert distinct(*constants)


def test_tells_bits_apart_that_compare_equal_or_not_at_all():
    nans = torch.tensor([0x7FC00000, 0x7FC00001, -0x00400000, 0x7F800001], dtype=torch.int32)
    zeros = [torch.tensor([0.0]), torch.tensor([-0.0])]
    assert distinct(*nans.view(torch.float32).split(1), *zeros)


def test_tells_dtype_and_shape():
    x = torch.zeros(4, 6)
    others = [x.view(torch.int32), x.view(torch.uint32), x.view(torch.uint8)]
    shapes = [x.t(), x.reshape(24), x.reshape(2, 12), x.reshape(4, 6, 1), x.reshape(1, 4, 6)]
    assert distinct(x, *others, *shapes)


def test_avalanche():
    # A flipped bit should change each bit of the digest with probability 1/2.
    x = torch.from_numpy(np.frombuffer(random_bytes(96), dtype=np.int64).copy())
    before = nondet_ext.fingerprint(x)
    changes = []
    for element in range(12):
        for bit in range(64):
            changed = x.clone()
            changed[element] ^= torch.tensor(1 << bit if bit < 63 else -(2**63))
            difference = before ^ nondet_ext.fingerprint(changed)
            changes.append([difference >> b & 1 for b in range(64)])
    rates = np.array(changes, dtype=np.float64)
    n = len(rates)
    # Allow six standard deviations of fair coins, for every bit of the input and of the digest.
    assert np.abs(rates.mean() - 0.5) < 6 * 0.5 / np.sqrt(64 * n)
    assert np.abs(rates.mean(axis=0) - 0.5).max() < 6 * 0.5 / np.sqrt(n)
    assert rates.sum(axis=1).min() >= 32 - 6 * 4
    assert rates.sum(axis=1).max() <= 32 + 6 * 4


def one_hots() -> Iterator[torch.Tensor]:
    x = torch.zeros(2500)
    for place in range(2500):
        for value in range(1, 26):
            x[place] = value
            yield x
        x[place] = 0


def counters() -> Iterator[torch.Tensor]:
    x = torch.zeros(3, dtype=torch.int32)
    for i in range(-150, 150):
        x[0] = i
        for j in range(-150, 150):
            x[2] = j
            yield x


def constants() -> Iterator[torch.Tensor]:
    x = torch.zeros(250, dtype=torch.float64)
    for value in range(-100, 100):
        x.fill_(value / 4)
        for length in range(1, 251):
            yield x[:length]


@pytest.mark.parametrize("tensors", [one_hots, counters, constants])
def test_structured_tensors_do_not_collide(
    tensors: Callable[[], Iterator[torch.Tensor]], backend: str
) -> None:
    # The full set on one instruction set only: other tests show that the others give equal digests,
    # and emulated launches take milliseconds.
    some = 1 if backend == "cpu-generic" else 29 if backend.startswith("cpu") else 499
    digests = [nondet_ext.fingerprint(x) for x in islice(tensors(), 0, None, some)]
    n = len(digests)
    assert n >= 100
    assert len(set(digests)) == n
    # Each bit is a fair coin, and either half collides as often as random numbers would.
    columns = np.array(digests, dtype=np.uint64)[:, None]
    ones = (columns >> np.arange(64, dtype=np.uint64) & np.uint64(1)).mean(axis=0)
    assert np.abs(ones - 0.5).max() < 6 * 0.5 / np.sqrt(n)
    for half in ({d >> 32 for d in digests}, {d & M32 for d in digests}):
        assert n - len(half) <= 5 + 3 * n**2 / 2**33


def test_threads_do_not_change_it(backend):
    x = tensor_of(random_bytes(3_000_001), torch.uint8)
    digests = set()
    for threads in (1, 2, 3, 8):
        with threads_of_torch(threads):
            digests.add(nondet_ext.fingerprint(x))
    assert len(digests) == 1


def test_refusals():
    with pytest.raises(TypeError, match=r"x must be a torch\.Tensor, got list"):
        nondet_ext.fingerprint([1.0])
    with pytest.raises(TypeError, match=r"got torch\.sparse_coo torch\.float32"):
        nondet_ext.fingerprint(torch.ones(2, 2).to_sparse())
    with pytest.raises(TypeError, match=r"got torch\.uint4"):
        nondet_ext.fingerprint(torch.empty(2, dtype=torch.uint4))
    with pytest.raises(TypeError, match="meta"):
        nondet_ext.fingerprint(torch.empty(2, device="meta"))


@pytest.mark.filterwarnings("ignore")
def test_quantized_and_nested_tensors_are_refused():
    quantized = torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8)
    with pytest.raises(TypeError, match=r"got torch\.qint8"):
        nondet_ext.fingerprint(quantized)
    nested = torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])
    with pytest.raises(TypeError, match="got nested"):
        nondet_ext.fingerprint(nested)
