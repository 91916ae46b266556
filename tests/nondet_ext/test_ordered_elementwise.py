"""Test that elementwise operators inside of nondet_ext.ordered give an element bits that depend on
its value alone: over all operators that torch tags and those it forgot, by number of threads, size
and layout.
"""

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from nondet_ext._ordered.elementwise import UNTAGGED, is_elementwise, tensors_in
from nondet_ext.ordering import ordered

THREADS = (1, 2, 3, 5, 7)
DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.complex64)
# Zeros, subnormal numbers, and numbers at the ends of what functions are defined for.
SPECIAL = (0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 0.7, 3.0, -3.0, 1e-40, -1e-40, 90.0, -90.0, 1e30)
SPECIAL += (-1e30, math.inf, -math.inf, math.nan)


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def _overloads() -> dict[str, torch._ops.OpOverload]:
    found = {}
    for name in dir(torch.ops.aten):
        packet = getattr(torch.ops.aten, name)
        for overload in packet.overloads() if hasattr(packet, "overloads") else ():
            try:
                op = getattr(packet, overload)
            except RuntimeError:  # of numbers
                continue
            if torch.Tag.pointwise in op.tags or name in UNTAGGED or is_elementwise(op):
                found[f"{name}.{overload}"] = op
    return found


OVERLOADS = _overloads()


# Types of arguments that are given though they have a default.
GIVEN = ("Optional[Tensor]", "Optional[number]", "number", "str", "Optional[str]")


def _arguments(
    op: torch._ops.OpOverload, tensor: Callable[[], torch.Tensor]
) -> tuple[list[Any], dict[str, Any]] | None:
    """Return arguments made from the schema, None for those that cannot be made so."""
    values: dict[str, Callable[[], Any]] = {
        "Tensor": tensor,
        "Optional[Tensor]": tensor,
        "List[Tensor]": lambda: [tensor(), tensor()],
        "number": lambda: 0.7,
        "float": lambda: 0.7,
        "Optional[number]": lambda: 0.7,
        "Optional[float]": lambda: 0.7,
        "List[number]": lambda: [0.7, 0.7],
        "int": lambda: 1,
        "bool": lambda: False,
        "Optional[str]": lambda: "floor",
        "str": lambda: "tanh",
    }
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    for each in op._schema.arguments:
        kind = str(each.type)
        if each.has_default_value() and kind not in GIVEN:
            continue
        if kind not in values:
            return None
        value = values[kind]()
        if each.kwarg_only:
            kwargs[each.name] = value
        else:
            args.append(value)
    return args, kwargs


def _bytes(result: Any) -> list[torch.Tensor]:
    """Return the bytes of each element, all NaNs alike, as rows."""
    rows = []
    for each in tensors_in(result):
        plain = each.detach().resolve_conj().resolve_neg()
        plain = torch.view_as_real(plain) if plain.is_complex() else plain
        if plain.is_floating_point():
            plain = torch.where(plain.isnan(), torch.full_like(plain, torch.nan), plain)
        packed = plain.new_empty(plain.shape).copy_(plain)
        rows.append(packed.view(len(each), -1).view(torch.uint8))
    return rows


@functools.cache
def _values(size: int, dtype: torch.dtype) -> list[torch.Tensor]:
    """Return tensors of random numbers, every tenth of them special."""
    generator = torch.Generator().manual_seed(size)
    found = []
    for _ in range(12):
        values = torch.randn(size, generator=generator) * 2
        chosen = torch.randint(0, len(SPECIAL), (size,), generator=generator)
        where = torch.rand(size, generator=generator) < 0.1
        values = torch.where(where, torch.tensor(SPECIAL)[chosen], values)
        found.append((values * (1 + 0.5j) if dtype.is_complex else values).to(dtype))
    return found


def _call(
    op: torch._ops.OpOverload, size: int, dtype: torch.dtype, start: int, layout: str
) -> tuple[list[torch.Tensor], dict[str, int]] | None:
    """Return the bytes of the results for elements start.. of the same values, and the count."""
    given = iter(_values(size, dtype))

    def tensor() -> torch.Tensor:
        values = next(given)[start:]
        if layout == "gaps":
            return torch.stack((values, values), 1)[:, 0]
        return values.clone()

    made = _arguments(op, tensor)
    if made is None:
        return None
    args, kwargs = made
    try:
        with ordered("fixed") as scope:
            result = op(*args, **kwargs)
    except (RuntimeError, IndexError, NotImplementedError):  # not for this dtype
        return None
    return _bytes(result if result is not None else args), dict(scope.uncovered)


def _check(op: torch._ops.OpOverload, dtype: torch.dtype, size: int, numbers: Sequence[int]) -> int:
    """Compare by threads, layout and position. Return the number of comparisons."""
    torch.set_num_threads(1)
    first = _call(op, size, dtype, 0, "plain")
    if first is None or first[1]:  # refused, or counted
        return 0
    for threads in numbers:
        torch.set_num_threads(threads)
        layout = "gaps" if threads in (2, 3) else "plain"
        same = _call(op, size, dtype, 0, layout)
        assert same is not None
        assert not same[1]
        pairs = zip(first[0], same[0], strict=True)
        assert all(torch.equal(a, b) for a, b in pairs), (dtype, size, threads, layout)
    start = size // 2 + 1
    late = _call(op, size, dtype, start, "plain") if start < size else None
    if late is not None:
        tails = [each[start:] for each in first[0]]
        assert all(map(torch.equal, tails, late[0])), (dtype, size, "late")
    return len(numbers) + 1


def _is_of_positions(op: torch._ops.OpOverload) -> bool:
    packet = op.overloadpacket.__name__
    return "reduction" not in str(op._schema) and not packet.startswith(("glu", "_fused"))


OF_POSITIONS = [name for name, op in OVERLOADS.items() if _is_of_positions(op)]
# The overloads that write share the loops of those that do not.
COMPUTING = [name for name in OF_POSITIONS if not OVERLOADS[name]._schema.is_mutable]
WRITING = [name for name in OF_POSITIONS if OVERLOADS[name]._schema.is_mutable]


@pytest.mark.parametrize("name", COMPUTING)
def test_an_element_has_bits_of_its_own(name: str) -> None:
    op = OVERLOADS[name]
    _check(op, torch.float32, 63, [2])
    _check(op, torch.float32, 70_001, THREADS[1:])  # more than any function's least share
    for dtype in DTYPES[1:]:
        _check(op, dtype, 2303, [3])


@pytest.mark.parametrize("name", WRITING)
def test_a_written_element_has_bits_of_its_own(name: str) -> None:
    _check(OVERLOADS[name], torch.float32, 6501, [3])


@pytest.mark.slow
@pytest.mark.parametrize("name", OF_POSITIONS)
def test_an_element_has_bits_of_its_own_for_all_dtypes_and_sizes(name: str) -> None:
    for dtype in DTYPES:
        for size in (1, 63, 2047, 2049, 6501, 70_001, 131_073):
            _check(OVERLOADS[name], dtype, size, THREADS[1:])


def test_most_operators_are_compared() -> None:
    """An operator that refuses its arguments, or is counted, would pass unseen."""
    unseen = [n for n in COMPUTING if not any(_check(OVERLOADS[n], d, 5, [2]) for d in DTYPES)]
    assert len(unseen) < 40, unseen


def _of_two_tensors(name: str) -> bool:
    kinds = [str(each.type) for each in OVERLOADS[name]._schema.arguments]
    return kinds[:2] == ["Tensor", "Tensor"]


@pytest.mark.parametrize("name", [name for name in COMPUTING if _of_two_tensors(name)])
@pytest.mark.parametrize("other", [torch.float32, torch.bfloat16])
def test_broadcast_and_promoted_elements_have_bits_of_their_own(
    name: str, other: torch.dtype
) -> None:
    """Compare with one row after the other, by its own call, each of another size."""
    op = OVERLOADS[name]
    made = _arguments(op, lambda: torch.ones(()))
    assert made is not None
    rest = [made[0][2:], made[1]]
    if any(isinstance(each, torch.Tensor) for each in rest[0]):
        pytest.skip("of more tensors")
    x = _values(63 * 601, torch.float32)[0].view(601, 63).mT  # 63 rows
    row = _values(601, other)[1]
    results = []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        try:
            with ordered("fixed") as scope:
                results.append(_bytes(op(x, row, *rest[0], **rest[1])))
                rows = [op(each, row, *rest[0], **rest[1]) for each in x[::20]]
        except (RuntimeError, NotImplementedError):
            pytest.skip("refuses them")
        if scope.uncovered:
            pytest.skip("counted")
    assert all(map(torch.equal, results[0], results[1]))
    for i, each in enumerate(rows):
        parts = [whole.view(63, 601, -1)[20 * i] for whole in results[0]]
        for part, found in zip(parts, _bytes(each), strict=True):
            assert torch.equal(part, found.view(601, -1))


@pytest.mark.parametrize("x", [0.3, torch.tensor(0.3), torch.tensor(0.3, dtype=torch.float16)])
def test_numbers_promote_as_in_torch(x: Any) -> None:
    """Numbers, and tensors without dimensions, beside tensors with and without."""
    others = [torch.tensor(2.5), torch.tensor(2.5, dtype=torch.float16), torch.rand(3).half()]
    for other in [*others, torch.rand(3), torch.tensor(3), torch.arange(1, 4)]:
        for function in (torch.pow, torch.remainder, torch.floor_divide, torch.xlogy):
            expected = function(other, x)
            with ordered("fixed") as scope:
                found = function(other, x)
            assert not scope.uncovered
            assert found.dtype == expected.dtype
            torch.testing.assert_close(found, expected)


def test_other_devices_are_left_to_torch() -> None:
    """On them every element takes the same instructions."""
    x = torch.empty(5, 3, device="meta")
    with ordered("fixed") as scope:
        results = [x.exp(), x ** torch.tensor(2.5), x.sigmoid_(), *torch._foreach_exp([x, x])]
    assert all(each.device.type == "meta" for each in results)
    assert not scope.uncovered


def test_what_is_not_computed_so_is_counted() -> None:
    """What writes no argument of its lists, and complex lerp, go to torch."""
    x = torch.rand(70_001)
    with ordered("fixed") as scope:
        torch.ops.aten._fused_adam(
            [x],
            [x],
            [x],
            [x],
            [],
            [torch.ones(())],
            lr=0.1,
            beta1=0.9,
            beta2=0.99,
            weight_decay=0.1,
            eps=1e-8,
            amsgrad=False,
            maximize=False,
        )
        torch.lerp(*[x + 1j] * 3)
    assert scope.uncovered == {"aten::_fused_adam": 1, "aten::lerp": 1}


def _gradient(function: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    leaf = x.clone().requires_grad_()
    function(leaf).sum().backward()
    assert leaf.grad is not None
    return leaf.grad


WIDE = torch.randn(333_000, 3, generator=torch.Generator().manual_seed(1))
TABLE = torch.randn(999, 1002, generator=torch.Generator().manual_seed(2))
SHARES = torch.rand(999, 1002, generator=torch.Generator().manual_seed(3))
COMPOSITES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "bce with logits": lambda x: F.binary_cross_entropy_with_logits(x, SHARES),
    "bce": lambda x: F.binary_cross_entropy(x.sigmoid(), SHARES),
    "smooth l1": lambda x: F.smooth_l1_loss(x, SHARES),
    "huber": lambda x: F.huber_loss(x, SHARES, delta=0.7),
    "mse": lambda x: F.mse_loss(x, SHARES),
    "soft margin": lambda x: F.soft_margin_loss(x, SHARES),
    "kl": lambda x: F.kl_div(x.log_softmax(1), SHARES, reduction="sum"),
    "softmax": lambda x: x.softmax(1),
    "logsumexp": lambda x: x.logsumexp(1),
    "glu": lambda x: F.glu(x, 1),
    "norm": lambda x: torch.linalg.vector_norm(x, 2.5, dim=1),
    "gelu": lambda x: F.gelu(x.mT),
    "tanh gelu": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
    "mish": F.mish,
    "softplus": F.softplus,
    "elu": F.elu,
    "selu": F.selu,
    "logsigmoid": F.logsigmoid,
    "atan2": lambda x: torch.atan2(x, SHARES),
    "logaddexp": lambda x: torch.logaddexp(x, SHARES[0]),
    "pow": lambda x: x.abs() ** SHARES,
    "layer norm": lambda x: F.layer_norm(x, (1002,)),
}


@pytest.mark.parametrize("name", COMPOSITES)
def test_values_and_gradients_do_not_depend_on_threads(name: str) -> None:
    function = COMPOSITES[name]
    results = []
    for threads in THREADS:
        torch.set_num_threads(threads)
        with ordered("fixed") as scope:
            results.append([function(TABLE), _gradient(function, TABLE)])
        assert not scope.uncovered
    for other in results[1:]:
        assert all(map(torch.equal, results[0], other))


def test_norms_of_many_rows_do_not_depend_on_threads() -> None:
    results = []
    for threads in THREADS:
        torch.set_num_threads(threads)
        with ordered("fixed") as scope:
            results.append(_gradient(lambda x: torch.linalg.vector_norm(x, 2.5, dim=1), WIDE))
        assert not scope.uncovered
    assert all(torch.equal(results[0], other) for other in results[1:])


@pytest.mark.parametrize("name", ["Adam", "AdamW", "SGD", "Adagrad"])
def test_fused_optimizers_treat_every_element_alike(name: str) -> None:
    grads = [torch.randn(70_001) for _ in range(3)]
    start = torch.randn(70_001)

    def train(part: slice, threads: int) -> torch.Tensor:
        torch.set_num_threads(threads)
        parameter = torch.nn.Parameter(start[part].clone())
        optimizer = getattr(torch.optim, name)([parameter], 0.01, weight_decay=0.1, fused=True)
        for grad in grads:
            parameter.grad = grad[part].clone()
            with ordered("fixed") as scope:
                optimizer.step()
            assert not scope.uncovered
        return parameter.detach()

    whole = train(slice(None), 1)
    assert all(torch.equal(whole, train(slice(None), threads)) for threads in THREADS)
    assert torch.equal(whole[60_001:], train(slice(60_001, None), 2))


@pytest.mark.parametrize("dtype", DTYPES[:4])
def test_ranges_do_not_depend_on_threads(dtype: torch.dtype) -> None:
    results = []
    for threads in THREADS:
        torch.set_num_threads(threads)
        with ordered("fixed"):
            results.append(torch.arange(0.1, 7000, 0.1, dtype=dtype))
    assert all(torch.equal(results[0], other) for other in results[1:])


def test_results_keep_shape_strides_and_aliases() -> None:
    images = torch.randn(2, 3, 5, 7).contiguous(memory_format=torch.channels_last)
    whole = torch.randn(10, 9)
    part = whole[::2, 1:6]
    expected = part.exp()
    with ordered("fixed"):
        assert (
            images.exp().stride()
            == images.exp().contiguous(memory_format=torch.channels_last).stride()
        )
        assert part.exp_() is part
        out = torch.empty(0)
        assert torch.exp(whole, out=out) is out
        assert out.shape == whole.shape
        assert images.tanh().untyped_storage().nbytes() == 4 * images.numel()
        assert torch.tensor(0.5).exp().shape == ()
        assert (torch.tensor(2.0, dtype=torch.float64) ** part).dtype == torch.float32
        assert torch.empty(0, 3).exp().shape == (0, 3)
        with pytest.raises(RuntimeError, match="size"):
            torch.atan2(torch.rand(3), torch.rand(4))
    torch.testing.assert_close(part, expected)
