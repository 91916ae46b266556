"""Tests of the short way of operations, in C++: it makes the records of the long way, in Python."""

import gc
import sys
import threading

import pytest
import torch
from torch import nn

import nondet
from factories.recording import assert_equal, named, operations, record
from nondet.tracing.format import read_trace
from nondet.tracing.record.digests import Digests
from nondet.tracing.record.dispatch import Dispatch
from nondet.tracing.record.recorder import Recorder
from nondet.tracing.record.storages import Table
from nondet.tracing.record.stream import Stream
from nondet.tracing.record.tensors import Tensors
from nondet_ext import recording


def train(make, steps=4):
    """Return what trains a small network with an optimizer."""

    def work():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(inplace=True), nn.Linear(8, 3))
        optimizer = make(model.parameters())
        x, y = torch.randn(6, 5), torch.arange(6) % 3
        for _ in range(steps):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        return [each.detach().clone() for each in model.parameters()]

    return work


def convolutions():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten())
    x = torch.randn(2, 3, 6, 6, requires_grad=True)
    for _ in range(3):
        model(x).square().mean().backward()
        nondet.step()


def views():
    x = torch.arange(24.0).reshape(4, 6)
    for _ in range(3):
        y = x[1:, ::2]
        y.add_(1, alpha=3)
        x.t()[2].mul_(0.5)
        z = torch.cat([x, x + 1]).split(3)
        torch.stack([z[0], z[1]]).sum((0, 2), keepdim=True)
        x[torch.tensor([0, 2])] = x.narrow(0, 0, 2) + 1
        torch.where(x > 3, x, 0.5).to(torch.float64).to("cpu", torch.int8)
        nondet.step()


def dtypes():
    for dtype in (torch.uint8, torch.int8, torch.bool, torch.bfloat16, torch.complex64):
        x = torch.ones(3, dtype=dtype)
        (x.clone() + x).reshape(3, 1).contiguous()
        x.logical_or_(x)
        y = torch.zeros(0, 3, dtype=dtype)
        torch.cat([y, y]).sum()
    x = torch.ones(3, dtype=torch.complex64).conj()
    (x * 2j).imag.neg().exp()
    torch.ones(3).to(torch.float8_e4m3fn).view(torch.uint8).clone().view(torch.float8_e5m2)


def arguments():
    x = torch.ones(4, 4)
    for scale in (1, 2.5, True, float("nan")):
        x.mul(scale)
        torch.add(x, x, alpha=2)
    x.clamp(min=None, max=3).clamp_(max=0.5)
    nn.functional.interpolate(x[None, None], scale_factor=2.0).sum(dim=[0, 1], dtype=torch.float64)
    torch.full((2,), 3.0).fill_(7).zero_().copy_(x[0, :2])
    torch.empty(3).fill_(1)
    torch.empty_like(x).copy_(x).t_()
    torch.nn.functional.pad(x, [1, 2, 0, 1], value=0.25)
    torch.add(x, x, out=torch.empty(4, 4))


def lists():
    parameters = [torch.ones(3, 2), torch.ones(4)]
    gradients = [each * 0.5 for each in parameters]
    for _ in range(3):
        torch._foreach_add_(parameters, gradients, alpha=-0.1)
        torch._foreach_mul_(parameters, 0.9)
        torch._foreach_addcdiv_(parameters, gradients, parameters, [0.5, 0.25])
        torch._foreach_zero_(torch._foreach_add(parameters, 1.0))
        nondet.step()


def large():
    x = torch.ones(300_000)
    for _ in range(3):
        x.add_(1)
        x = x * 0.5
        (x[:20_000] + 1).mul_(2)
        nondet.step()


def threads():
    shared = torch.ones(8)

    def work():
        for _ in range(3):
            (shared * 2).add_(1)

    for i in range(2):
        each = threading.Thread(target=work, name=f"worker {i}")
        each.start()
        each.join()
    shared.add_(1)


def modes():
    x = torch.ones(3)
    with torch.inference_mode():
        y = x * 2
        for _ in range(2):
            y.add_(1)
            y[1:].exp()
    with torch.autocast("cpu", torch.bfloat16):
        torch.ones(4, 4) @ torch.ones(4, 4)
    torch.utils.checkpoint.checkpoint(torch.sin, x.requires_grad_(), use_reentrant=False).sum()
    torch.func.vmap(torch.sin)(torch.ones(3, 2))


OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, foreach=False),
    "foreach": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.1, foreach=True),
    "fused": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, fused=True),
    "adam": lambda p: torch.optim.Adam(p, 0.1, foreach=False),
    "adam foreach": lambda p: torch.optim.Adam(p, 0.1, foreach=True),
    "adam fused": lambda p: torch.optim.Adam(p, 0.1, fused=True),
}
CASES = {
    **{name: train(make) for name, make in OPTIMIZERS.items()},
    **{each.__name__: each for each in (convolutions, views, dtypes, arguments, lists, large)},
    **{each.__name__: each for each in (threads, modes)},
}


def go_long(monkeypatch):
    """Send all operations the long way."""

    def connect(self, links, short_way, part):
        recording.Watch.connect(self, links, False, part)

    monkeypatch.setattr(Dispatch, "connect", connect, raising=False)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CASES)
def test_both_ways_make_the_same_trace(name, tmp_path, monkeypatch):
    short = record(tmp_path / "short", CASES[name])
    go_long(monkeypatch)
    assert_equal(short, record(tmp_path / "long", CASES[name]))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_loop_that_trains_goes_the_short_way(name, tmp_path, monkeypatch):
    seen = []
    dispatch = Dispatch.dispatch

    def count(self, function, types, args, kwargs):
        seen.append((self._recorder.stream.number, str(function)))
        return dispatch(self, function, types, args, kwargs)

    monkeypatch.setattr(Dispatch, "dispatch", count)
    trace = record(tmp_path / "a", train(OPTIMIZERS[name]))
    # Such a tensor is made from a Python number, and its memory is not torch's.
    assert {name for number, name in seen if number in (2, 3)} <= {"aten.lift_fresh.default"}
    assert len(operations(trace)) > 2 * len(seen)


def test_a_training_run_keeps_its_bits(tmp_path):
    work, found = train(OPTIMIZERS["adam"]), []
    record(tmp_path / "a", lambda: found.extend(work()))
    assert all(map(torch.equal, found, work()))


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (Recorder, "describe"),
        (Recorder, "_name_parameter"),
        (Table, "add_layout"),
        (Tensors, "source"),
        (Tensors, "hash"),
        (Tensors, "result"),
        (Tensors, "write"),
        (Stream, "line"),
        (Stream, "end_part"),
        (Digests, "flush"),
    ],
)
def test_a_failure_leaves_the_run_as_it_is(owner, name, tmp_path, monkeypatch, capsys):
    """Let each call of the recorder's Python fail, the first few times one by one."""
    work = train(OPTIMIZERS["adam fused"], steps=2)
    plain, original = work(), getattr(owner, name)
    monkeypatch.setattr("nondet.tracing.record.dispatch.PART", 20)
    for number in range(4):
        calls = iter(range(10**9))

        def fail(*args, number=number, calls=calls, **kwargs):
            if next(calls) == number:
                raise ValueError("planted")
            return original(*args, **kwargs)

        monkeypatch.setattr(owner, name, fail)
        found = []
        path = tmp_path / str(number)
        with nondet.trace(path):
            found.extend(work())
        monkeypatch.setattr(owner, name, original)
        assert all(map(torch.equal, found, plain))
        trace = read_trace(path)
        assert [each.info.role for each in trace.streams] == ["main"]
        written = capsys.readouterr().err
        assert not written or "planted" in written


def test_what_must_not_be_caught_reaches_the_script(tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    x = torch.ones(3)
    with nondet.trace(tmp_path / "a"):
        y = x * 2
        monkeypatch.setattr(Recorder, "settings", property(interrupt), raising=False)
        with pytest.raises(KeyboardInterrupt):
            y * 2
        monkeypatch.undo()
        y * 3


def test_errors_of_operations_reach_the_script(tmp_path):
    x = torch.ones(3)

    def work():
        y = x * 2
        for _ in range(3):
            with pytest.raises(RuntimeError, match="size of tensor"):
                y + y.repeat(2)[:4]
        y * 3

    assert len(named(record(tmp_path / "a", work), "aten.mul")) == 2


def test_a_long_loop_keeps_no_references(tmp_path):
    """Count references to what operations get and objects that live, after equal stretches."""
    model = nn.Sequential(nn.Linear(4, 4), nn.Tanh())
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    x, dtype, shape = torch.randn(3, 4), torch.float64, [3, 4]
    counts = []

    def stretch():
        for _ in range(50):
            optimizer.zero_grad()
            y = model(x)
            y.to(dtype).view(shape)[1:].add_(1, alpha=2)
            with pytest.raises(RuntimeError):
                y + y[:, :3]
            y.square().sum().backward()
            optimizer.step()
        gc.collect()
        some = [None, dtype, True, torch.strided, x, model[0].weight, (), "mul", 0.9]
        counts.append(([sys.getrefcount(each) for each in some], len(gc.get_objects())))

    def work():
        for _ in range(4):
            stretch()

    with nondet.trace(tmp_path / "a"):
        work()
    (_, _, (references, objects), (last, more)) = counts
    assert max(b - a for a, b in zip(references, last, strict=True)) < 25
    assert more - objects < 25


def test_a_recorder_is_freed_with_its_trace(tmp_path):
    def living():
        gc.collect()
        return sum(type(each) in (Recorder, Dispatch, Stream) for each in gc.get_objects())

    with nondet.trace(tmp_path / "a"):
        torch.ones(3).mul(2)
    before = living()
    for i in range(3):
        with nondet.trace(tmp_path / str(i)):
            (torch.ones(3) * 2).add_(1)
    assert living() <= before


def test_bad_calls_are_errors_and_no_crashes():
    for call in (
        lambda: recording.Watch().connect({}, True, 1),
        lambda: recording.Watch().connect(1, True, 1),
        lambda: recording.Watch().__torch_dispatch__(),
        lambda: recording.Watch().__torch_dispatch__(abs, (), [], {}),
        lambda: recording.Places(1, 2, 3, 4, 5, 6),
        lambda: recording.Places([], len, len, len, lambda: 1, {}).find(1, None),
        lambda: recording.Places([], len, len, len, lambda: "x", {}).find(None, None),
        lambda: recording.Places([], len, len, len, lambda: 1, []).find(None, None),
        lambda: recording.Places([1], len, len, len, lambda: 1, {}).find(None, None),
        lambda: recording.Places([], len, len, len, lambda: 1, {}).forget(-1, 2),
        lambda: recording.Value(1),
        lambda: recording.Value(0, None, 1, 2, 3).seen_at("x"),
        lambda: recording.Position().recent(1),
        lambda: recording.mark(1, 2),
    ):
        with pytest.raises((TypeError, KeyError, OverflowError, AttributeError)):
            call()
