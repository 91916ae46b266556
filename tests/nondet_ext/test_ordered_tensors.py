"""Test nondet_ext.ordered with tensors that are not plain arrays, and that no operator it takes for
harmless adds numbers inside.
"""

import os
import warnings
from collections.abc import Callable

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.masked import masked_tensor
from torch.profiler import ProfilerActivity, profile

from factories.ordered_inputs import mixed
from nondet_ext import summation
from nondet_ext._ordered.harmless import is_harmless
from nondet_ext.ordering import ordered

pytestmark = [
    pytest.mark.filterwarnings("ignore:The PyTorch API of MaskedTensors:UserWarning"),
    pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning"),
    pytest.mark.filterwarnings("ignore:Sparse:UserWarning"),
    pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning"),
]

F = torch.nn.functional
SQUARE = mixed(64, 64)


def _fake() -> torch.Tensor:
    with FakeTensorMode():
        return torch.empty(64, 64)


def _nested(layout: torch.layout) -> torch.Tensor:
    return torch.nested.nested_tensor([SQUARE, SQUARE[:7]], layout=layout)


def _csr(name: str) -> torch.Tensor:
    return getattr(torch.eye(64), f"to_sparse_{name}")()


class Wrapper(torch.Tensor):
    """A tensor that holds another, to which all operators are passed."""

    @staticmethod
    def __new__(cls, inner):
        return torch.Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype)

    def __init__(self, inner):
        self.inner = inner

    def __repr__(self):  # torch's own repr of a wrapper breaks later torch.func transforms
        return f"Wrapper({self.inner})"

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        def unwrap(x):
            return x.inner if isinstance(x, Wrapper) else x

        args, kwargs = torch.utils._pytree.tree_map(unwrap, (args, kwargs or {}))
        result = func(*args, **kwargs)
        return cls(result) if isinstance(result, torch.Tensor) else result


class Plain(torch.Tensor):
    """A subclass without behaviour of its own."""


TENSORS: dict[str, Callable[[], torch.Tensor]] = {
    "nested, jagged": lambda: _nested(torch.jagged),
    "nested, strided": lambda: _nested(torch.strided),
    "masked": lambda: masked_tensor(SQUARE, SQUARE > 0),
    "fake": _fake,
    "meta": lambda: torch.empty(64, 64, device="meta"),
    "coo": lambda: torch.eye(64).to_sparse(),
    "csr": lambda: _csr("csr"),
    "csc": lambda: _csr("csc"),
    "quantized": lambda: torch.quantize_per_tensor(SQUARE, 0.1, 0, torch.qint8),
    "mkldnn": lambda: SQUARE.to_mkldnn(),
    "wrapper": lambda: Wrapper(SQUARE),
    "subclass": lambda: SQUARE.as_subclass(Plain),
    "parameter": lambda: torch.nn.Parameter(SQUARE),
    "conjugate": lambda: torch.complex(SQUARE, SQUARE).conj(),
    "negative": lambda: torch.complex(SQUARE, SQUARE).conj().imag,
    "expanded": lambda: SQUARE[:1].expand(64, 64),
}

CALLS: dict[str, Callable[[torch.Tensor], object]] = {
    "sum": lambda x: x.sum(),
    "sum dim": lambda x: x.sum(-1),
    "sum keepdim": lambda x: x.sum(1, keepdim=True),
    "mean": lambda x: x.mean(-1, keepdim=True),
    "var": lambda x: x.var(),
    "norm": lambda x: torch.linalg.vector_norm(x),
    "softmax": lambda x: x.softmax(-1),
    "logsumexp": lambda x: x.logsumexp(-1),
    "layer_norm": lambda x: F.layer_norm(x, (64,)),
    "nansum": lambda x: x.nansum(),
    "index_add": lambda x: x.index_add(0, torch.arange(64), x),
    "index_add into a plain tensor": lambda x: torch.zeros(64, 64).index_add(
        0, torch.arange(64), x
    ),
    "scatter_add": lambda x: x.scatter_add(0, torch.zeros(64, 64, dtype=torch.int64), x),
    "scatter_reduce": lambda x: x.scatter_reduce(
        0, torch.zeros(64, 64, dtype=torch.int64), x, "sum", include_self=False
    ),
    "index_put": lambda x: x.index_put((torch.arange(64),), x, accumulate=True),
    "indexing": lambda x: x[torch.tensor([0, 0])],
    "mse_loss": lambda x: F.mse_loss(x, x),
    "multigammaln": lambda x: torch.special.multigammaln(x * x + 9, 3),
    "add": lambda x: x + x,
    "clone": lambda x: x.clone(),
    "repr": repr,
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("name", TENSORS)
def test_what_torch_computes_is_computed_inside_too(name, call):
    """...and what torch refuses is refused, without an error of another kind."""
    x = TENSORS[name]()
    try:
        wanted: object = CALLS[call](x)
    except Exception as error:
        wanted = error
    if isinstance(wanted, Exception):
        with ordered(), pytest.raises(Exception) as refused:  # noqa: PT011
            CALLS[call](x)
        assert "nternal" not in str(refused.value) or "nternal" in str(wanted)
        return
    with ordered():
        got = CALLS[call](x)
    if isinstance(wanted, torch.Tensor):
        assert type(got) is type(wanted)
        assert isinstance(got, torch.Tensor)
        assert got.layout == wanted.layout
        assert got.dtype == wanted.dtype


@pytest.mark.parametrize("name", ["nested, strided", "coo", "csr", "quantized", "mkldnn"])
def test_sums_of_other_layouts_are_counted(name):
    calls = {"nested, strided": "softmax", "quantized": "mean", "mkldnn": "softmax"}
    x = TENSORS[name]()
    with ordered() as scope:
        CALLS[calls.get(name, "sum")](x)
    assert len(scope.uncovered) == 1


def test_a_subclass_is_covered_inside():
    with ordered("exact") as scope:
        total = Wrapper(SQUARE).sum(0)
        Wrapper(SQUARE) @ Wrapper(SQUARE)
        masked = masked_tensor(SQUARE, torch.ones(64, 64, dtype=torch.bool)).sum(0)
        jagged = _nested(torch.jagged).sum(-1)
    wanted = summation.sum(SQUARE, 0, order="exact")
    assert isinstance(total, Wrapper)
    assert torch.equal(total.inner, wanted)
    assert torch.equal(masked.get_data(), wanted)
    rows = summation.sum(SQUARE, 1, order="exact")
    assert torch.equal(jagged.values(), torch.cat([rows, rows[:7]]))
    assert scope.uncovered == {"aten::mm": 1}


@pytest.fixture
def mesh():
    distributed = pytest.importorskip("torch.distributed")
    if not distributed.is_available():
        pytest.skip("torch was built without distributed")
    from torch.distributed.device_mesh import init_device_mesh

    store = distributed.HashStore()
    distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield init_device_mesh("cpu", (1,))
    distributed.destroy_process_group()


@pytest.mark.skipif(os.name != "posix", reason="gloo")
def test_dtensors_are_covered_inside(mesh):
    from torch.distributed.tensor import Shard, distribute_tensor

    x = distribute_tensor(SQUARE, mesh, [Shard(0)])
    names = ("sum", "sum dim", "mean", "var", "norm", "softmax", "layer_norm", "add")
    for order in ("fixed", "exact"):
        with ordered(order) as scope:
            for name in names:
                assert torch.equal(CALLS[name](x).full_tensor(), CALLS[name](SQUARE)), name
        assert scope.uncovered == {}
    with ordered() as scope:
        x @ x
    assert scope.uncovered == {"aten::mm": 1}


def test_asking_for_shapes_takes_no_number_of_a_seeded_scope(mesh):
    from torch.distributed.tensor import Replicate, distribute_tensor

    x = distribute_tensor(SQUARE[:, :63].contiguous(), mesh, [Replicate()])
    wanted = summation.sum(SQUARE[:, :63], 0, order="seeded", seed=(7, 0))
    for _ in range(2):  # DTensor computes shapes at the first call
        with ordered("seeded", seed=7):
            assert torch.equal(x.sum(0).full_tensor(), wanted)


# Torch's operators that add. Some harmless operators count with sums of integers.
ADDING = {
    f"aten::{name}"
    for name in (
        *("sum", "mean", "nansum", "prod", "cumsum", "cumprod", "norm", "linalg_vector_norm"),
        *("logsumexp", "std", "var", "var_mean", "trace", "dot", "vdot", "mm", "bmm", "addmm"),
        *("mv", "addmv", "index_add_", "scatter_add_", "_softmax", "_log_softmax", "einsum"),
    )
}
COUNTING = {"aten::count_nonzero", "aten::masked_select", "aten::repeat_interleave"}


def _arguments(schema: torch._C.FunctionSchema) -> list[object]:
    values = {
        "Tensor": lambda: torch.rand(3, 4) + 3,
        "Optional[Tensor]": lambda: None,
        "List[Tensor]": lambda: [torch.rand(3, 4) + 3],
        "number": lambda: 2,
        "int": lambda: 1,
        "float": lambda: 0.5,
        "bool": lambda: False,
        "List[int]": lambda: [1],
        "List[number]": lambda: [2],
        "List[float]": lambda: [0.5],
    }
    given = [each for each in schema.arguments if not each.has_default_value()]
    if any(each.kwarg_only for each in given):
        raise NotImplementedError
    return [values[str(each.type)]() for each in given]


def _all_operators() -> list[torch._ops.OpOverload]:
    operators = []
    for name in dir(torch.ops.aten):
        packet = getattr(torch.ops.aten, name)
        for overload in packet.overloads() if hasattr(packet, "overloads") else ():
            try:
                operators.append(getattr(packet, overload))
            except RuntimeError:  # TorchScript's own
                continue
    return operators


def test_no_harmless_operator_adds_inside():
    # Some operators of torch list themselves lazily.
    names = {each for each in torch._C._dispatch_get_all_op_names() if each.startswith("aten::")}
    for each in names:
        getattr(torch.ops.aten, each.removeprefix("aten::").split(".")[0], None)
    operators, called = set(_all_operators()), 0
    harmless = set()
    with profile(activities=[ProfilerActivity.CPU]) as profiler, ordered():
        for operator in operators:
            try:
                arguments = _arguments(operator._schema)
                if not is_harmless(operator, tuple(arguments), {}):
                    continue
                operator(*arguments)
            except Exception:
                continue
            harmless.add(operator._schema.name)
            called += 1
    assert called > 300
    found = set()
    for event in profiler.events():
        parent = event.cpu_parent if event.name in ADDING else None
        while parent is not None:
            if parent.name in harmless - COUNTING:
                found.add((parent.name, event.name))
            parent = parent.cpu_parent
    assert found == set()
