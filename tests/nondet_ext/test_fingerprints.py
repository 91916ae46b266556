"""Test digests of many tensors in one call: each is that of docs/numerics.md, whatever the tensors
and where they lie, modes of torch see nothing, and errors name the tensor.
"""

import random
import threading
from collections import deque

import numpy as np
import pytest
import torch

import nondet_ext
from factories.seen_calls import Seen, SeenFunctions
from factories.threads import threads_of_torch
from references.fingerprints import CODES, bytes_of, random_bytes, specified, tensor_of

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*(ComplexHalf|BComplex32|nested|quantize|jit.script)"),
]

on_every_backend = pytest.mark.usefixtures("backend")
with_every_isa = pytest.mark.usefixtures("cpu_isa")

WITHOUT_COPIES = {torch.float4_e2m1fn_x2}
"""torch cannot copy views of it with gaps."""


def expected(x: torch.Tensor) -> int:
    """Return the digest as docs/numerics.md specifies it."""
    plain = x.detach().resolve_conj().resolve_neg().contiguous()
    plain = plain.clone() if plain._is_zerotensor() else plain
    return specified(bytes_of(plain), CODES[x.dtype], x.shape)


def drawn(dtype: torch.dtype, *shape: int, seed: int = 1) -> torch.Tensor:
    count = int(np.prod(shape)) * dtype.itemsize
    return tensor_of(random_bytes(count, seed), dtype).reshape(shape)


@pytest.mark.parametrize("dtype", CODES, ids=str)
@on_every_backend
def test_every_dtype(dtype):
    shapes = [(), (0,), (3, 0, 2), (1,), (5, 7), (4099,), (2, 3000)]
    tensors = [drawn(dtype, *shape) for shape in shapes]
    wide = drawn(dtype, 64, 6)
    if dtype not in WITHOUT_COPIES:
        tensors += [wide.t(), wide[::3, 1::2], wide[:, :1].expand(64, 9), wide[5, 3]]
    assert nondet_ext.fingerprints(tensors) == [expected(x) for x in tensors]
    assert nondet_ext.fingerprints(wide) == [expected(x) for x in wide]
    for x in tensors:
        assert nondet_ext.fingerprint(x) == expected(x)
        assert int(torch.ops.nondet_ext.fingerprint(x)) % 2**64 == expected(x)


@with_every_isa
def test_dtypes_of_less_than_a_byte_are_refused():
    names = [f"{sign}int{bits}" for sign in ("", "u") for bits in range(1, 8)]
    for name in names:
        if hasattr(torch, name):
            x = torch.empty(3, dtype=getattr(torch, name))
            with pytest.raises(TypeError, match=rf"tensors\[1\] must .* got torch\.{name}"):
                nondet_ext.fingerprints([torch.ones(1), x])
            with pytest.raises(TypeError, match=rf"tensors must .* got torch\.{name}"):
                nondet_ext.fingerprints(x)


def layouts():
    x = drawn(torch.float32, 3, 5, 40, 4)
    z = torch.complex(torch.linspace(-1, 1, 700), torch.linspace(0, 3, 700))
    recorded = torch.linspace(0, 1, 70).requires_grad_()
    many = torch.arange(2.0**12).reshape((2,) * 12).permute(*range(11, -1, -1))
    return {
        "contiguous": x,
        "permuted": x.permute(3, 1, 0, 2),
        "channels last": x.contiguous(memory_format=torch.channels_last),
        "channels last 2": x.to(torch.float64).contiguous(memory_format=torch.channels_last)[1:],
        "rows with gaps": drawn(torch.uint8, 9, 5000)[:, 3:4500],
        "columns": drawn(torch.int16, 3000, 7)[:, 2],
        "expanded": x[:1, :1].expand(2, 9, 40, 4),
        "one element, expanded": x[0, 0, 0, 0].expand(3000),
        "overlapping": x.reshape(-1).as_strided((300, 20), (3, 2)),
        "sizes of one": x[:, None, :, :, None, :1],
        "misaligned": drawn(torch.uint8, 9001)[3:],
        "many dimensions": many,
        "more dimensions than a layout": many[(...,) + (None,) * 20].expand((-1,) * 12 + (1,) * 20),
        "as many as torch has": torch.ones((1,) * 64),
        "recorded leaf": recorded,
        "recorded result": recorded * 2,
        "recorded view": recorded[::2],
        "parameter": torch.nn.Parameter(torch.ones(3)),
        "lazy conjugate": z.conj(),
        "lazy conjugate with gaps": z.conj()[::2],
        "imaginary part": z.imag,
        "lazy negation": z.conj().imag,
        "negated integers": torch._neg_view(torch.arange(5)),
        "lazy zeros": torch._efficientzerotensor((3,)),
        "inference": inference(),
        "from NumPy": torch.from_numpy(np.asfortranarray(np.arange(60.0).reshape(5, 12))),
        "read-only": torch.from_dlpack(np.arange(5.0)),
    }


def inference():
    with torch.inference_mode():
        return torch.ones(3, 4).t()


@pytest.mark.parametrize("name", layouts())
@on_every_backend
def test_layouts(name):
    x = layouts()[name]
    assert nondet_ext.fingerprints((x,)) == [expected(x)]
    assert nondet_ext.fingerprint(x) == expected(x)
    assert nondet_ext.fingerprints(x) == [expected(row) for row in x]


@with_every_isa
def test_more_strides_than_a_layout_holds():
    # Every second place, so that no two dimensions are one.
    x = torch.zeros(1).as_strided((2,) * 30, (0, 0) * 15)[(0,) * 6]
    memory = drawn(torch.uint8, 2**20)
    strides = [2 * 4**d % 99991 for d in range(28)]
    sizes = [2] * 8 + [1] * 20
    y = memory.as_strided(sizes, strides)
    assert nondet_ext.fingerprints([x[(0,) * 14], y]) == [expected(x[(0,) * 14]), expected(y)]


@on_every_backend
def test_random_layouts():
    chance = random.Random(1)
    tensors = []
    for _ in range(150):
        dtype = chance.choice([torch.uint8, torch.int16, torch.float32, torch.float64])
        memory = drawn(dtype, 6000)
        sizes = [chance.choice([1, 1, 2, 3, 5, 17]) for _ in range(chance.randrange(5))]
        strides = [chance.choice([0, 1, 2, 3, 7, 20]) for _ in sizes]
        reach = sum((n - 1) * s for n, s in zip(sizes, strides, strict=True))
        tensors.append(memory.as_strided(sizes, strides, chance.randrange(6000 - reach)))
    assert nondet_ext.fingerprints(tensors) == [expected(x) for x in tensors]


@on_every_backend
def test_sizes_around_tiles():
    counts = [*range(70), *range(4080, 4100), 8191, 8192, 8193, 5 * 4096 + 7]
    tensors = [drawn(torch.uint8, n, seed=n) for n in counts]
    assert nondet_ext.fingerprints(tensors) == [expected(x) for x in tensors]


@pytest.mark.parametrize("threads", [None, 1, 2, 3, 8])
@with_every_isa
def test_threads_change_nothing(threads):
    small = [torch.full((n % 7,), float(n)) for n in range(50)]
    large = drawn(torch.uint8, 3_000_001)
    gaps = drawn(torch.int32, 700, 1200).t()
    tensors = [*small, large, torch.ones(0), gaps, *small, large[1:], large[:600_000]]
    alone = [nondet_ext.fingerprint(x) for x in tensors]
    rows = drawn(torch.float32, 50, 30_000)
    with threads_of_torch(3):
        assert nondet_ext.fingerprints(tensors, threads=threads) == alone
        found = nondet_ext.fingerprints(rows, threads=threads)
    assert found == [nondet_ext.fingerprint(row) for row in rows]


@with_every_isa
def test_iterables():
    x, y = torch.ones(3), torch.zeros(2)
    digests = [expected(x), expected(y)]
    named = {"x": x, "y": y}
    for given in ([x, y], (x, y), deque([x, y]), iter([x, y]), named.values()):
        assert nondet_ext.fingerprints(given) == digests
    assert nondet_ext.fingerprints([]) == []
    assert nondet_ext.fingerprints(torch.nn.Linear(2, 3).parameters(), threads=1)


@with_every_isa
def test_rows():
    x = drawn(torch.float32, 6, 50, 3)
    every = [expected(row) for row in x]
    for same in (x, x.clone().requires_grad_(), torch.nn.Parameter(x), x.flip(0).flip(0)):
        assert nondet_ext.fingerprints(same) == every
    assert nondet_ext.fingerprints(x.permute(2, 0, 1)) == [expected(y) for y in x.permute(2, 0, 1)]
    assert nondet_ext.fingerprints(x[::2, ::7]) == [expected(row) for row in x[::2, ::7]]
    assert nondet_ext.fingerprints(torch.ones(0, 3)) == []
    assert nondet_ext.fingerprints(torch.ones(2, 0)) == [expected(torch.ones(0))] * 2
    assert nondet_ext.fingerprints(torch.arange(3)) == [expected(torch.tensor(i)) for i in range(3)]
    assert nondet_ext.fingerprints(x[0, :1].expand(4, 3)) == [expected(x[0, 0])] * 4
    # The sum does not see the order, and sees all else.
    shuffled, other = x[[3, 1, 0, 5, 4, 2]], x.clone()
    other[2, 0, 0] += 1
    total = sum(every) % 2**64
    assert sum(nondet_ext.fingerprints(shuffled)) % 2**64 == total
    assert sum(nondet_ext.fingerprints(other)) % 2**64 != total


@with_every_isa
def test_modes_see_nothing():
    tensors = list(layouts().values())
    digests = nondet_ext.fingerprints(tensors)
    rows = [nondet_ext.fingerprints(x) for x in tensors]
    with Seen() as operations, SeenFunctions() as functions:
        assert nondet_ext.fingerprints(tensors) == digests
        assert [nondet_ext.fingerprints(x) for x in tensors] == rows
    assert operations.calls == functions.calls == []
    with torch.device("meta"), Seen():
        assert nondet_ext.fingerprints(tensors) == digests
        assert torch.ones(2).is_meta  # the modes are back
    assert operations.calls == []
    with torch._subclasses.FakeTensorMode():
        assert nondet_ext.fingerprints(tensors) == digests


@with_every_isa
def test_modes_are_back_after_an_error():
    with Seen() as operations, SeenFunctions() as functions:
        with pytest.raises(TypeError, match=r"tensors\[1\]"):
            nondet_ext.fingerprints([torch.ones(2), torch.ones(2, device="meta")])
        operations.calls.clear()
        functions.calls.clear()
        torch.ones(2)
    assert operations.calls
    assert functions.calls


class Subclass(torch.Tensor):
    pass


@with_every_isa
def test_other_tensors_take_the_longer_way():
    x = torch.linspace(0, 1, 12).reshape(3, 4)
    own = x.clone().as_subclass(Subclass)
    assert nondet_ext.fingerprints([x, own, x]) == [expected(x)] * 3
    assert nondet_ext.fingerprints(own) == nondet_ext.fingerprints(x)
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x, x)
        assert nondet_ext.fingerprints([dual, x]) == [expected(x)] * 2
    seen = []
    torch.func.grad(lambda y: (seen.extend(nondet_ext.fingerprints([x, y])), y.sum())[1])(x)
    assert seen == [expected(x)] * 2


@with_every_isa
def test_threads_share_a_list():
    tensors = [drawn(torch.float32, 20_000, seed=i) for i in range(8)]
    digests = nondet_ext.fingerprints(tensors)
    found = [[], [], []]

    def work(into):
        for _ in range(5):
            into.append(nondet_ext.fingerprints(tensors, threads=2))

    workers = [threading.Thread(target=work, args=(each,)) for each in found]
    for each in workers:
        each.start()
    for each in workers:
        each.join()
    assert found == [[digests] * 5] * 3


@with_every_isa
def test_memory_that_was_given_back_is_refused():
    x = torch.ones(5000)
    x.untyped_storage().resize_(0)
    with pytest.raises(ValueError, match="x has no memory"):
        nondet_ext.fingerprint(x)
    with pytest.raises(ValueError, match=r"tensors\[1\] has no memory"):
        nondet_ext.fingerprints([torch.ones(2), x])
    with pytest.raises(ValueError, match="tensors has no memory"):
        nondet_ext.fingerprints(x.reshape(50, 100))
    assert nondet_ext.fingerprints([x[:0]]) == [expected(torch.ones(0))]


REFUSED = {
    "a number": (lambda: 3, r"tensors must be an iterable of tensors, .* got int"),
    "None": (lambda: None, "tensors must be an iterable .* got NoneType"),
    "text": (lambda: "ab", r"tensors\[0\] must be a torch\.Tensor, got str"),
    "a list in a list": (lambda: [[torch.ones(1)]], r"tensors\[0\] must be .* got list"),
    "NumPy": (lambda: [np.ones(2)], r"tensors\[0\] must be a torch\.Tensor, got ndarray"),
    "a sparse tensor": (
        lambda: [torch.ones(2), torch.ones(2, 2).to_sparse()],
        r"tensors\[1\].*sparse_coo",
    ),
    "a quantized one": (
        lambda: [torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8)],
        r"tensors\[0\].*qint8",
    ),
    "a nested one": (
        lambda: [torch.nested.nested_tensor([torch.ones(2)])],
        r"tensors\[0\].*nested",
    ),
    "a meta tensor": (lambda: [torch.ones(2, device="meta")], r"tensors\[0\] .*meta device"),
    "meta rows": (lambda: torch.ones(2, device="meta"), "tensors .*meta device"),
    "sparse rows": (lambda: torch.ones(2, 2).to_sparse(), "tensors must .*sparse_coo"),
}


@pytest.mark.parametrize("name", REFUSED)
@with_every_isa
def test_refusals(name):
    make, message = REFUSED[name]
    given = make()
    with pytest.raises(TypeError, match=message):
        nondet_ext.fingerprints(given)


@with_every_isa
def test_scalars_have_no_rows():
    with pytest.raises(ValueError, match="tensors must have rows, got a 0-d tensor"):
        nondet_ext.fingerprints(torch.tensor(1.0))


@pytest.mark.parametrize("threads", [0, -1, 2**40])
@with_every_isa
def test_numbers_of_threads(threads):
    with pytest.raises(ValueError, match="threads must be in"):
        nondet_ext.fingerprints([torch.ones(1)], threads=threads)
    with pytest.raises(TypeError, match="threads must be an integer"):
        nondet_ext.fingerprints([torch.ones(1)], threads=True)
