"""Test how torch sees the ops: opcheck, torch.compile, autograd's version counter, errors at run
time.
"""

import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import nondet_ext
from factories.plain_calls import CALLS
from nondet_ext import _backend, _summation_ops

OPS = torch.ops.nondet_ext
REGISTERED = {
    name.removeprefix("nondet_ext::")
    for name in torch._C._dispatch_get_all_op_names()
    if name.startswith("nondet_ext::")
}


def op_calls() -> dict[str, tuple[object, tuple[object, ...]]]:
    x = torch.randn(4, 5)
    idx, directions = torch.tensor([1, 1, -1]), torch.tensor([1, -1, 1])
    counters = torch.tensor([[0, 1, 2], [3, 4, 5]])
    half = torch.randn(3).to(torch.bfloat16)
    wanted = torch.randn(4, 5, dtype=torch.float64, requires_grad=True)
    no_key = [0, 0, 0, 0]
    row, column = torch.tensor([3, 0, 0, 1]), torch.tensor([1, 0, 0, 1, 4])
    at = torch.randint(0, 4, (4, 5))
    return {
        "next_up": (OPS.next_up.default, (x,)),
        "next_down": (OPS.next_down.default, (x.t(),)),
        "spacing": (OPS.spacing.default, (half,)),
        "neighbor_out": (OPS.neighbor_out.default, (x, True, torch.empty_like(x))),
        "ulp_distance": (OPS.ulp_distance.default, (x, x + 1, True)),
        "ulp_distance_out": (
            OPS.ulp_distance_out.default,
            (x, x + 1, False, torch.empty(4, 5, dtype=torch.int64)),
        ),
        "flip_ulp": (OPS.flip_ulp.default, (x, idx, None, 1, 2)),
        "flip_ulp per index": (OPS.flip_ulp.default, (x.t(), idx, directions, 0, 1)),
        "flip_bit": (OPS.flip_bit.default, (half, torch.tensor([0]), None, 15)),
        "flip_bit per index": (OPS.flip_bit.default, (x, idx, torch.tensor([1, 2, 3]), 0)),
        "sum": (OPS.sum.default, (wanted, [0], False, "fixed", no_key)),
        "sum seeded": (OPS.sum.default, (x.t(), [0, 1], True, "seeded", [1, 2, 3, 4])),
        "mean": (OPS.mean.default, (wanted, [1], True, "exact", no_key)),
        "sum_out": (OPS.sum_out.default, (x, [1], True, "fixed", no_key, torch.empty(4))),
        "dot": (OPS.dot.default, (wanted[0], wanted[1], "exact", no_key)),
        "segment_sum": (
            OPS.segment_sum.default,
            (wanted, torch.tensor([0, 1, 1, 3]), "fixed", no_key),
        ),
        "index_add": (OPS.index_add.default, (wanted, 0, row, wanted * 2, "exact", no_key)),
        "index_add_": (OPS.index_add_.default, (x, 1, column, x + 1, "fixed", no_key)),
        "scatter_add": (OPS.scatter_add.default, (wanted, 0, at, wanted * 2, "fixed", no_key)),
        "scatter_add_": (OPS.scatter_add_.default, (x, 0, at, x + 1, "seeded", [1, 2, 3, 4])),
        "bins": (OPS.bins.default, (row, 2)),
        "fingerprint": (OPS.fingerprint.default, (x.t(),)),
        "square_root": (OPS.square_root.default, (x.square().t(),)),
        "pair_agreements": (OPS.pair_agreements.default, (at, torch.tensor([0, 2, 5]))),
        "pair_correct_": (
            OPS.pair_correct_.default,
            (torch.zeros(4, 4, dtype=torch.int64), x[:, :, None], column * 0, False),
        ),
        "pair_logs_": (
            OPS.pair_logs_.default,
            (torch.zeros(4, 4, dtype=torch.float64), x[:, :, None], column * 0, True),
        ),
        "class_count": (OPS.class_count.default, (column,)),
        "churn": (OPS.churn.default, (at, torch.arange(5), 5)),
        "error_overlap": (OPS.error_overlap.default, (at, column)),
        "refuse_bad_examples": (
            OPS.refuse_bad_examples.default,
            (torch.zeros(4, 4), x[:, :, None], column * 0),
        ),
        "linear_cka": (OPS.linear_cka.default, ([x, x * x], "a\nb", 2, False, 10**6)),
        "linear_cka of two sides": (OPS.linear_cka.default, ([x, x * x], "a\nb", 1, True, 10**6)),
        "spearman": (OPS.spearman.default, (x, None, "raise")),
        "pearson": (OPS.pearson.default, (x, x[:2] + 1, "omit")),
        "forget_mult": (OPS.forget_mult.default, (wanted, wanted * 2, wanted + 1, wanted[0])),
        "forget_mult without gate": (OPS.forget_mult.default, (x, x + 1, None, None)),
        "forget_mult_backward": (
            OPS.forget_mult_backward.default,
            (x, x[0], x, x + 1, x * 2, x[1]),
        ),
        "forget_mult_backward recorded": (
            OPS.forget_mult_backward.default,
            (wanted, wanted[0], wanted, wanted + 1, wanted * 2, wanted[1]),
        ),
        "forget_mult_backward without gate": (
            OPS.forget_mult_backward.default,
            (None, x[0], x, x + 1, None, None),
        ),
        "ranks": (OPS.ranks.default, (x.t(), False)),
        "ranks of integers": (OPS.ranks.default, (at, True, True)),
        "distinct_indices": (OPS.distinct_indices.default, (20, 7, 1, 5)),
        "undo_flip": (
            OPS.undo_flip.default,
            (x, column, torch.arange(5, dtype=torch.int32), x.view(torch.int32)[0, column]),
        ),
        "philox_bits": (OPS.philox_bits.default, (counters, 7, 1, 2, 3)),
        "philox_uniform": (OPS.philox_uniform.default, (counters, 7, 1, 2, 3, torch.float16)),
        "philox_normal": (OPS.philox_normal.default, (counters, 7, 1, 2, 3, torch.float64)),
        "philox_randint": (OPS.philox_randint.default, (counters, 7, 1, 2, 3, -5, 5)),
        "philox_order": (OPS.philox_order.default, (nondet_ext.philox_bits((2, 6), seed=1),)),
    }


@pytest.mark.parametrize("name", list(op_calls()))
# opcheck reads .grad of copies that are not leaves.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@pytest.mark.usefixtures("backend")
def test_opcheck(name):
    op, arguments = op_calls()[name]
    torch.library.opcheck(op, arguments)


def test_every_op_is_checked():
    checked = {op.name().removeprefix("nondet_ext::") for op, _ in op_calls().values()}
    assert checked == REGISTERED


@pytest.mark.usefixtures("backend")
def test_kernels_refuse_bad_indices_by_themselves():
    # Compiled code calls the kernels without the checks in Python.
    for arguments, error in [
        ((torch.tensor([0, 4]), None, 1, 1), IndexError),
        ((torch.tensor([0, -5]), None, 1, 1), IndexError),
        ((torch.tensor([0, 1]), torch.tensor([1, 3]), 0, 1), ValueError),
    ]:
        x = torch.arange(4.0)
        with pytest.raises(error):
            OPS.flip_ulp(x, *arguments)
        assert x.tolist() == [0.0, 1.0, 2.0, 3.0]
    x = torch.arange(4.0)
    with pytest.raises(ValueError, match="bit"):
        OPS.flip_bit(x, torch.tensor([0, 1]), torch.tensor([5, 32]), 0)
    assert x.tolist() == [0.0, 1.0, 2.0, 3.0]


def compiled(function):
    torch._dynamo.reset()
    return torch.compile(function, fullgraph=True, backend="aot_eager")


@pytest.mark.usefixtures("backend")
def test_compile_fullgraph():
    def step(weight, idx, directions, a, b):
        nondet_ext.flip_ulp(weight, idx, directions)
        nondet_ext.flip_bit(weight, [0], 0)
        noise = nondet_ext.philox_normal(weight.shape, seed=1, counter=(2, idx.abs()))
        ordering = nondet_ext.philox_permutation(5, seed=1)
        gap = nondet_ext.ulp_distance(a, nondet_ext.next_up(b), nan="propagate")
        return weight * 2, noise, ordering, gap, nondet_ext.spacing(a)

    idx, directions = torch.tensor([3, 3, -1]), torch.tensor([1, 1, -1])
    a = torch.randn(6)
    eager, traced = torch.linspace(0, 1, 5), torch.linspace(0, 1, 5)
    expected = step(eager, idx, directions, a, a)
    got = compiled(step)(traced, idx, directions, a, a)
    assert torch.equal(traced, eager)
    for left, right in zip(got, expected, strict=True):
        assert torch.equal(left, right)


def test_compile_with_inductor():
    def step(weight, idx):
        nondet_ext.flip_ulp(weight, idx)
        return nondet_ext.next_up(weight * 2)

    weight = torch.linspace(0, 1, 5)
    expected = step(weight.clone(), torch.tensor([0, 0]))
    torch._dynamo.reset()
    got = torch.compile(step, fullgraph=True)(weight, torch.tensor([0, 0]))
    assert torch.equal(got, expected)
    assert nondet_ext.ulp_distance(weight[:1], torch.zeros(1)).item() == 2


def test_compiled_code_still_refuses_bad_indices():
    x = torch.arange(4.0)
    with pytest.raises(IndexError, match=r"idx\[0\] = 4 is out of range"):
        compiled(nondet_ext.flip_ulp)(x, torch.tensor([4]))
    assert x.tolist() == [0.0, 1.0, 2.0, 3.0]


def test_leaf_parameters_and_the_version_counter():
    layer = torch.nn.Linear(3, 2)
    version = layer.weight._version
    nondet_ext.flip_ulp(layer.weight, [0, 5])
    assert layer.weight._version == version + 1
    assert layer.weight.requires_grad
    assert layer.weight.is_leaf
    layer(torch.ones(1, 3)).sum().backward()  # autograd still works
    assert layer.weight.grad is not None

    # Flipping a weight that is saved for backward raises the error of torch's in-place ops.
    for flip in (
        lambda weight: nondet_ext.flip_ulp(weight, 0),
        lambda weight: nondet_ext.flip_bit(weight, 0, 1),
        lambda weight: nondet_ext.random_flip(weight, 1),
        lambda weight: nondet_ext.random_flip(weight, 1).undo(),
    ):
        weight = torch.ones(2, requires_grad=True)
        result = (weight * weight).sum()
        flip(weight)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            result.backward()


def test_views_share_the_version_counter():
    base = torch.zeros(4)
    nondet_ext.flip_ulp(base[1:], 0)
    assert base._version == 1
    assert base.view(torch.int32).tolist() == [0, 1, 0, 0]


def test_unsupported_devices_are_named():
    with pytest.raises(NotImplementedError, match="meta"):
        _backend.backend_for(torch.zeros(1, device="meta"))
    assert nondet_ext.next_up(torch.zeros(3, device="meta")).shape == (3,)


def test_a_build_without_cuda_says_how_to_get_it(monkeypatch):
    class CpuOnly:
        cpu = _backend._C.cpu

    class OnCuda:
        device = torch.device("cuda", 0)
        is_cpu = False

    monkeypatch.setattr(_backend, "_C", CpuOnly)
    with pytest.raises(RuntimeError, match=r"on cuda:0, .*NONDET_CUDA=on pip install"):
        _backend.backend_for(OnCuda())


def test_launches_make_the_device_of_the_tensor_current(monkeypatch):
    current = ["cuda:0"]

    @contextmanager
    def device_guard(device):
        current.append(str(device))
        yield
        current.pop()

    class Launchers:
        @staticmethod
        def neighbor(**arguments):
            return current[-1], arguments

    monkeypatch.setattr(torch.cuda, "device", device_guard)
    backend = _backend.Backend(Launchers, True, {"stream": 7}, torch.device("cuda", 1))
    assert backend.run("neighbor", n=3) == ("cuda:1", {"n": 3, "stream": 7})
    assert current == ["cuda:0"]


@pytest.mark.cuda
def test_cuda_equals_cpu_bit_for_bit():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    bits = np.random.default_rng(1).integers(-(2**31), 2**31, 10_000)
    x = torch.from_numpy(bits.astype(np.int32)).view(torch.float32)
    y = x.cuda()
    for op in (nondet_ext.next_up, nondet_ext.next_down, nondet_ext.spacing):
        assert torch.equal(op(y).cpu().view(torch.int32), op(x).view(torch.int32))
    draw = {"seed": 3, "stream": 4, "counter": (torch.arange(50), 7)}
    on_device = draw | {"counter": (torch.arange(50, device="cuda"), 7)}
    for dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16):
        for make in (nondet_ext.philox_uniform, nondet_ext.philox_normal):
            assert torch.equal(
                make(33, **on_device, dtype=dtype).cpu(), make(33, **draw, dtype=dtype)
            )
    for edit in (nondet_ext.random_flip,):
        edit(x, seed=5, count=100)
        edit(y, seed=5, count=100)
    assert torch.equal(y.cpu().view(torch.int32), x.view(torch.int32))


@pytest.mark.cuda
def test_comparisons_on_cuda_equal_the_cpu_bit_for_bit():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    logits = torch.round(8 * nondet_ext.philox_normal((5, 3000, 7), seed=1)) / 8
    labels = nondet_ext.philox_randint(0, 7, (3000,), seed=2)
    on_device = logits.cuda(), labels.cuda()
    for compare in (
        lambda x, y: nondet_ext.rankdata(x),
        lambda x, y: nondet_ext.spearman(x),
        lambda x, y: nondet_ext.pearson(x),
        lambda x, y: nondet_ext.disagreement(x.argmax(2)),
        lambda x, y: nondet_ext.churn(x.argmax(2), y),
        lambda x, y: nondet_ext.ensemble_delta(x, y),
        lambda x, y: nondet_ext.ensemble_delta(x, y, "cross_entropy"),
        lambda x, y: nondet_ext.ensemble_delta(x, y, "cross_entropy", "probabilities"),
    ):
        assert torch.equal(compare(*on_device).cpu(), compare(logits, labels))


def name_of(func):
    return func._schema.name.removeprefix("nondet_ext::") if hasattr(func, "_schema") else ""


class DispatchWatcher(TorchDispatchMode):
    """A dispatch mode that records the names of the ops that are called."""

    def __init__(self):
        super().__init__()
        self.seen = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.seen.add(name_of(func))
        return func(*args, **(kwargs or {}))


class FunctionWatcher(TorchFunctionMode):
    """A function mode that records the names of the ops that are called."""

    def __init__(self):
        super().__init__()
        self.seen = set()

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.seen.add(name_of(func))
        return func(*args, **(kwargs or {}))


def test_there_is_a_plain_call_of_every_op():
    # The backward op runs only under autograd, so never in a plain call.
    assert REGISTERED - CALLS.keys() == {"forget_mult_backward"}


@pytest.mark.parametrize("watcher", [DispatchWatcher, FunctionWatcher])
@pytest.mark.parametrize("name", CALLS)
def test_who_watches_sees_the_op_and_the_same_bits(name, watcher):
    plain = CALLS[name]()
    with watcher() as watching:
        watched = CALLS[name]()
    assert name in watching.seen
    assert watched.numpy().tobytes() == plain.numpy().tobytes()


PLAIN_CALLS = """
import sys
sys.path.insert(0, {folder!r})
import torch
import nondet_ext
from factories.plain_calls import CALLS

def imported():
    return "torch._dynamo" in sys.modules

assert not imported()
for name, call in CALLS.items():
    call()
    assert not imported(), name
    with torch.device("cpu"):
        call()
    assert not imported(), f"{{name}} with a default device"
weight = torch.nn.Linear(3, 2).weight
nondet_ext.flip_ulp(weight, 0)
assert not imported(), "a parameter"
nondet_ext.next_up(weight)
print(imported())
"""


def test_plain_calls_do_not_wait_for_the_compiler_to_be_imported():
    code = PLAIN_CALLS.format(folder=str(Path(__file__).resolve().parents[1]))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr


def test_an_op_refuses_named_arguments():
    """They would not reach the kernel."""
    with pytest.raises(TypeError, match=r"positional arguments only, got .*order"):
        _summation_ops.sum(torch.ones(3), (0,), False, "fixed", (0, 0, 0, 0), order="exact")
