"""Tests that the recorder stands whatever a script does with tensors, and changes none of it."""

import copy
import gc
import pickle
import weakref

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from factories.recording import named, operations, record, records_of


class Wrapped(torch.Tensor):
    """A subclass whose operations are those of the tensor in it."""

    @staticmethod
    def __new__(cls, inner):
        made = torch.Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype)
        made.inner = inner
        return made

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        plain = [each.inner if isinstance(each, Wrapped) else each for each in args]
        return function(*plain, **(kwargs or {}))


class Named(torch.Tensor):
    """A subclass that only sees calls of functions."""

    calls = 0

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        Named.calls += 1
        return super().__torch_function__(function, types, args, kwargs or {})


class Counting(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.append(str(function))
        return function(*args, **(kwargs or {}))


def sparse():
    x = torch.eye(3).to_sparse()
    return (x @ torch.ones(3, 3)).sum() + x.coalesce().values().sum() + (x + x).to_dense().sum()


def compressed():
    x = torch.eye(3).to_sparse_csr()
    return (x @ torch.ones(3, 1)).sum()


def nested():
    x = torch.nested.nested_tensor([torch.ones(2, 3), torch.ones(4, 3)])
    y = torch.nested.nested_tensor([torch.ones(2, 3), torch.ones(4, 3)], layout=torch.jagged)
    return (x * 2).to_padded_tensor(0.0).sum() + (y * 2).values().sum()


def meta():
    x = torch.ones(3, 3, device="meta")
    return torch.tensor(float((x @ x).add_(1).numel()))


def fake():
    with torch._subclasses.FakeTensorMode():
        x = torch.ones(3, 3)
        return (x @ x).shape


def quantized():
    x = torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.quint8)
    return x.dequantize().sum()


def complex_views():
    x = torch.view_as_complex(torch.arange(6.0).reshape(3, 2))
    return (x.conj() * 2).imag.sum() + x.conj().imag.sum()


def without_memory():
    x = torch.empty(0)
    return torch.cat([x, torch.ones(2)]).sum() + x.sum() + torch.zeros(0, 3).sum()


def overlapping():
    return torch.ones(1).expand(5).sum() + torch.arange(4.0).as_strided((3, 2), (1, 1)).sum()


def resized():
    x = torch.ones(2)
    x.resize_(4).fill_(2)
    y = torch.zeros(3)
    y.set_(x)
    x.data = torch.full((5,), 3.0)
    return x.sum() + y.sum()


def inference():
    with torch.inference_mode():
        x = torch.ones(3) * 2
        x.add_(1)
        y = x * x
    return y + 0


def no_gradient():
    w = torch.ones(3, requires_grad=True)
    with torch.no_grad():
        w.mul_(2)
        w += 1
    (w * w).sum().backward()
    return w.grad


def transforms():
    def loss(w, x):
        return (w * x).sin().sum()

    w, x = torch.arange(3.0), torch.ones(4, 3)
    batched = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(w, x)
    tangent = torch.func.jvp(torch.sin, (w,), (torch.ones(3),))[1]
    hessian = torch.func.hessian(lambda w: loss(w, x[0]))(w)
    drawn = torch.func.vmap(lambda x: x + torch.rand(3), randomness="different")(x)
    return batched.sum() + tangent.sum() + hessian.sum() + drawn.sum()


def forward_mode():
    with torch.autograd.forward_ad.dual_level():
        x = torch.autograd.forward_ad.make_dual(torch.ones(3), torch.ones(3))
        return torch.autograd.forward_ad.unpack_dual(x.exp()).tangent


def conditional():
    return torch.cond(torch.tensor(True), lambda x: x + 1, lambda x: x - 1, (torch.ones(2),))


def wrapped():
    return Wrapped(torch.ones(3)) * 2


def float8():
    return torch.ones(4).to(torch.float8_e4m3fn).to(torch.float32) + 1


CASES = [sparse, compressed, nested, meta, fake, quantized, complex_views, without_memory]
CASES += [overlapping, resized, inference, no_gradient, transforms, forward_mode, conditional]
CASES += [wrapped, float8]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("level", ["ops", "modules"])
@pytest.mark.parametrize("case", CASES)
def test_results_are_those_without_a_trace(case, level, tmp_path):
    torch.manual_seed(0)
    plain = case()
    torch.manual_seed(0)
    found = []
    record(tmp_path / "a", lambda: found.append(case()), level=level)
    if isinstance(plain, torch.Tensor):
        assert type(found[0]) is type(plain)
        assert torch.equal(found[0], plain)
    else:
        assert found[0] == plain


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", CASES)
def test_verification_stands_the_same(case, tmp_path):
    record(tmp_path / "a", case, verify_inputs=True)


def test_operations_of_a_subclass_are_those_of_its_tensors(tmp_path):
    x = Wrapped(torch.ones(3))
    (mul,) = named(record(tmp_path / "a", lambda: x * 2), "aten.mul")
    assert mul.reads[0].digest is not None


def test_a_subclass_sees_as_many_calls_as_without(tmp_path):
    def work():
        x = torch.ones(3).as_subclass(Named)
        Named.calls = 0
        (x * 2).sum()
        return Named.calls

    plain, found = work(), []
    record(tmp_path / "a", lambda: found.append(work()))
    assert found == [plain]


def test_a_mode_of_functions_sees_as_many_calls_as_without(tmp_path):
    class Calls(torch.overrides.TorchFunctionMode):
        count = 0

        def __torch_function__(self, function, types, args=(), kwargs=None):
            self.count += 1
            return function(*args, **(kwargs or {}))

    def work():
        with Calls() as mode:
            x = torch.ones(3)
            (x * torch.rand(3)).add_(1).sum()
        return mode.count

    plain, found = work(), []
    record(tmp_path / "a", lambda: found.append(work()))
    assert found == [plain]


def test_modes_of_the_script_see_what_they_saw(tmp_path):
    x = torch.ones(2, 2)

    def work():
        with Counting() as mode:
            x @ x
            x + 1
        return mode.names

    plain, found = work(), []
    trace = record(tmp_path / "a", lambda: found.append(work()))
    assert found == [plain]
    assert [each.name for each in operations(trace)] == plain


def test_a_trace_inside_a_mode_ends_cleanly(tmp_path):
    with Counting() as mode:
        trace = record(tmp_path / "a", lambda: torch.ones(2).abs())
        assert torch.utils._python_dispatch._get_current_dispatch_mode() is mode
    assert [each.name for each in operations(trace)] == ["aten.ones.default", "aten.abs.default"]


def test_a_default_device_is_no_harm(tmp_path):
    def work():
        with torch.device("cpu"):
            torch.nn.Linear(2, 2)(torch.ones(1, 2)).sum().backward()

    assert len(named(record(tmp_path / "a", work), "aten.addmm")) == 1


def test_models_can_be_copied_and_pickled_while_they_are_traced(tmp_path):
    model = torch.nn.Sequential(torch.nn.Linear(2, 2))
    x = torch.ones(1, 2)

    def work():
        first = model(x)
        for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
            assert torch.equal(other(x), first)
            assert set(vars(other)) == set(vars(model))

    found = named(record(tmp_path / "a", work), "aten.addmm")
    assert [each.module for each in found] == ["Sequential.0", "Sequential 2.0", "Sequential 3.0"]


def test_tensors_are_freed_as_without_a_trace(tmp_path):
    alive = []

    def work():
        x = torch.ones(10)
        y = x * 2
        alive.append(weakref.ref(y))
        del y
        import nondet

        nondet.step()
        gc.collect()
        alive.append(alive[0]() is not None)

    record(tmp_path / "a", work)
    assert alive[1] is False


def test_an_address_that_is_used_again_is_another_tensor(tmp_path):
    def work():
        for i in range(50):
            x = torch.full((7,), float(i))
            x + 1
            del x

    adds = named(record(tmp_path / "a", work), "aten.add")
    assert all(each.reads[0].source.origin == "output" for each in adds)
    assert len({each.reads[0].digest for each in adds}) == 50


def test_gradients_are_accumulated_as_without(tmp_path):
    def work():
        w = torch.ones(3, requires_grad=True)
        y = w * 2
        (y + y * 3 + y.exp()).sum().backward()
        (w * 5).sum().backward()
        return w.grad

    plain, found = work(), []
    record(tmp_path / "a", lambda: found.append(work()))
    assert torch.equal(found[0], plain)


def test_one_reads_from_many_records(tmp_path):
    assert records_of(record(tmp_path / "a", lambda: None)) == []
