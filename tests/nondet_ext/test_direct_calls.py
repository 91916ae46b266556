"""Test that sums called straight with tensors equal those that go through the registered op, and
that whatever watches calls of torch sees them.
"""

import itertools
import threading

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import nondet_ext as ext
from nondet_ext import _direct
from nondet_ext._native import _C

DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


def call(x, dim=None, keepdim=False, order="fixed", seed=None, out=None, function=_direct.sum):
    return function(x, dim, keepdim, order, seed, out)


def layouts(dtype):
    x = torch.randn(6, 5, 4, 3, generator=torch.Generator().manual_seed(1)).to(dtype)
    return {
        "contiguous": x,
        "transposed": x.permute(3, 1, 0, 2),
        "channels last": x.contiguous(memory_format=torch.channels_last),
        "sliced": x[::2, 1:, :, ::2],
        "expanded": x[:, :1].expand(6, 7, 4, 3),
        "ones": x[:, None, :, :1],
        "scalar": x[0, 0, 0, 0],
        "offset": x.reshape(-1)[7:],
    }


def bits(x):
    return x.reshape(-1).view(torch.uint8)


class Watch(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))


def through_op(function, x, dim, keepdim, order):
    """Return the result of the registered op, which a dispatch mode makes the call take."""
    with Watch():
        return function(x, dim, keepdim, order=order)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("order", ["fixed", "exact"])
@pytest.mark.parametrize("name", layouts(torch.float32))
def test_results_equal_those_of_the_op(dtype, order, name):
    x = layouts(dtype)[name]
    dims = [None, (), *range(-x.ndim, x.ndim), *itertools.combinations(range(x.ndim), 2)]
    for dim, keepdim in itertools.product(dims, (False, True)):
        for direct, function in ((_direct.sum, ext.sum), (_direct.mean, ext.mean)):
            found = call(x, dim, keepdim, order, function=direct)
            expected = through_op(function, x, dim, keepdim, order)
            assert found is not None
            assert (found.shape, found.dtype, found.stride()) == (
                expected.shape,
                expected.dtype,
                expected.stride(),
            )
            assert torch.equal(bits(found), bits(expected))


@pytest.mark.parametrize("columns", [1, 3, 511, 512, 513, 1023, 1024, 1025, 32767, 32769])
def test_results_of_all_sizes_are_aligned_and_last(columns):
    x = torch.randn(3, columns, dtype=torch.float64)
    found = [call(x, 0) for _ in range(20)]
    assert all(each.data_ptr() % 64 == 0 for each in found)
    del x
    assert all(torch.equal(each, found[0]) for each in found)
    part = found[0][-1:]
    expected = part.item()
    found.clear()
    torch.full((3, columns), 7.0).sum(0)
    assert part.item() == expected


def test_results_can_be_freed_in_other_threads():
    results = [[call(torch.randn(4, 3), 0) for _ in range(500)] for _ in range(4)]
    threads = [threading.Thread(target=each.clear) for each in results]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not any(results)


def test_results_are_like_those_of_torch():
    x = torch.randn(3, 4)
    found = call(x, 0)
    assert found.is_leaf
    assert not found.requires_grad
    assert found._version == 0
    assert found._base is None
    assert found.is_contiguous()
    found.add_(1)
    assert found._version == 1
    found.requires_grad_().sum().backward()
    assert torch.equal(found.grad, torch.ones(4))
    with torch.inference_mode():
        assert call(torch.randn(3)).is_inference() == torch.randn(3).sum().is_inference()
    large = torch.randn(2, 100_000)
    call(large, 0).resize_(1)  # large results have torch's own memory


class Subclass(torch.Tensor):
    pass


X = torch.randn(3, 4)
# Whether a kernel may be called with them directly, and whether there is a direct sum of them.
STRANGE = {
    "subclass": lambda: X.as_subclass(Subclass),
    "meta": lambda: X.to("meta"),
    "negative": lambda: torch._neg_view(X),
    "imaginary": lambda: torch.randn(3, dtype=torch.complex64).conj().imag,
    "recorded": lambda: X.clone().requires_grad_(),
    "parameter": lambda: torch.nn.Parameter(X),
    "no tensor": lambda: [1.0],
}
REFUSED_BY_CHECKS = {
    "integers": lambda: X.to(torch.int64),
    "complex": lambda: X.to(torch.complex64),
    "float8": lambda: X.to(torch.float8_e4m3fn),
    "COO": lambda: X.to_sparse(),
    "CSR": lambda: X.to_sparse_csr(),
    "oneDNN": lambda: X.to_mkldnn(),
    "nested": lambda: torch.nested.nested_tensor([X, X[:1]]),
    "empty": lambda: X[:0],
    "none": lambda: None,
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [*STRANGE, *REFUSED_BY_CHECKS])
def test_no_direct_sum_takes_other_tensors(name):
    assert call({**STRANGE, **REFUSED_BY_CHECKS}[name]()) is None


@pytest.mark.parametrize("name", STRANGE)
def test_ops_are_not_called_directly_with_other_tensors(name):
    x = STRANGE[name]()
    assert not _direct.is_direct((x,), (0,), ())
    assert not _direct.is_direct((0, [X, x]), (), (1,))
    assert _direct.is_direct((X, x), (0,), ())


@pytest.mark.parametrize(
    "arguments",
    [
        {"dim": 2},
        {"dim": -3},
        {"dim": 2**70},
        {"dim": (0, 0)},
        {"dim": (0, -2)},
        {"dim": True},
        {"dim": [0]},
        {"dim": "0"},
        {"keepdim": 1},
        {"keepdim": None},
        {"order": "seeded", "seed": 1},
        {"order": "atomic"},
        {"order": "Fixed"},
        {"order": None},
        {"seed": 0},
        {"out": torch.zeros(())},
    ],
    ids=str,
)
def test_other_arguments_are_left_to_the_checks(arguments):
    assert call(torch.randn(3, 4), **arguments) is None


class WatchFunctions(torch.overrides.TorchFunctionMode):
    def __torch_function__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))


def test_modes_stop_direct_calls():
    x = torch.randn(3)
    with Watch() as watch:
        assert call(x) is None
        ext.sum(x)
    assert any("nondet_ext.sum" in name for name in watch.names)
    with WatchFunctions():
        assert call(x) is None
    with torch.device("cpu"):
        assert call(x) is not None
    with torch.autograd.forward_ad.dual_level():
        assert call(x) is None
    seen = []
    torch.func.vmap(lambda y: seen.append(call(x)) or y)(x)
    assert seen == [None]
    with torch.no_grad():
        assert call(x.clone().requires_grad_()) is not None
    assert call(x) is not None


@pytest.mark.filterwarnings("ignore:.*jit.trace:FutureWarning")
def test_tracers_stop_direct_calls():
    seen = []

    def traced(x):
        seen.append(torch._C._is_tracing() and call(x) is None)
        return x + 1

    torch.jit.trace(traced, torch.randn(3))
    assert seen[0]  # then the trace is checked by a plain call


def test_older_torch_goes_the_longer_way(monkeypatch):
    x = torch.randn(5, 3)
    expected = ext.sum(x, 0)
    _C.direct.pause(True)
    try:
        assert call(x) is None
        assert torch.equal(ext.sum(x, 0), expected)
        assert torch.equal(ext.accumulate(x), expected)
    finally:
        _C.direct.pause(False)


def test_direct_calls_check_their_number_of_arguments():
    with pytest.raises(TypeError, match="sum takes"):
        _direct.sum(torch.ones(1))
    with pytest.raises(TypeError, match="three tuples"):
        _direct.is_direct([], (), ())
