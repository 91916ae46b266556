"""Tests of the records of operations: what they read, where it came from, what they wrote."""

import ctypes
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import nondet_ext
from factories.recording import named, operations, record, records_of
from nondet.tracing.record.digests import LARGE
from nondet.tracing.records import TensorType


def test_an_operation_has_its_digests_types_and_source(tmp_path):
    x = torch.arange(6.0).reshape(2, 3)
    kept = {}

    def work():
        kept["sum"] = x + 1
        kept["double"] = kept["sum"] * 2

    add, double = operations(record(tmp_path / "a", work))
    assert (add.name, double.name) == ("aten.add.Tensor", "aten.mul.Tensor")
    assert (add.index, add.step, add.phase, add.module) == (0, 0, "forward", "")
    assert add.reads[0].type == TensorType("float32", (2, 3), "cpu")
    assert (add.reads[0].source.origin, add.reads[0].source.label) == ("new", "")
    assert add.reads[0].digest == nondet_ext.fingerprint(x)
    assert add.writes[0].digest == nondet_ext.fingerprint(kept["sum"])
    assert double.reads[0].source[:3] == ("output", 1, 0)
    assert double.reads[0].digest == add.writes[0].digest
    assert double.writes[0].digest == nondet_ext.fingerprint(kept["double"])
    assert double.numbers == (2,)


def test_numbers_and_other_arguments_are_told_apart(tmp_path):
    x = torch.ones(4, 4)

    def work():
        x.sum(dim=(0, 1), keepdim=True)
        torch.add(x, x, alpha=-2)
        x * -0.5
        x.to(torch.float64)

    total, add, half, copied = operations(record(tmp_path / "a", work))
    assert total.arguments == "dim=[0, 1], keepdim=True"
    assert add.numbers == (-2,)
    assert half.numbers == (-0.5,)
    assert "float64" in copied.arguments


def test_numbers_at_the_edges_are_numbers_or_arguments(tmp_path):
    """Whatever stands in the values has a letter in the entry, or the step could not be read."""
    x = torch.ones(3)
    smallest = torch.zeros((), dtype=torch.int64)

    def work():
        x.masked_fill(x > 0, -math.inf)
        x.clamp(max=math.inf)
        torch.full((1,), math.nan)
        x * 1e300
        smallest + -(2**63)
        smallest + (2**63 - 1)

    fill, clamp, full, product, low, high = (
        each for each in operations(record(tmp_path / "a", work)) if each.name != "aten.gt.Scalar"
    )
    assert fill.numbers == (-math.inf,)
    assert clamp.numbers == (math.inf,)
    assert math.isnan(*full.numbers)
    assert product.numbers == (1e300,)
    assert (low.numbers, high.numbers) == ((-(2**63),), (2**63 - 1,))


def test_a_second_read_names_the_first(tmp_path):
    x = torch.ones(3)

    def work():
        x + 1
        x + 2

    second = operations(record(tmp_path / "a", work))[1]
    assert second.reads[0].source[:3] == ("read", 1, 0)
    assert second.reads[0].digest == nondet_ext.fingerprint(x)


def test_an_in_place_write_is_seen_by_later_reads(tmp_path):
    x = torch.zeros(3)

    def work():
        x.add_(1)
        x * 1

    add, after = operations(record(tmp_path / "a", work))
    assert add.reads[0].digest == nondet_ext.fingerprint(torch.zeros(3))
    assert (add.writes[0].into, add.writes[0].digest) == (0, nondet_ext.fingerprint(torch.ones(3)))
    assert after.reads[0].source[:3] == ("output", 1, 0)


def test_a_digest_is_of_the_time_of_the_write(tmp_path):
    """A later write in place must not reach a digest that was still to be computed."""

    def work():
        x = torch.zeros(1000)
        for _ in range(5):
            x.add_(1)
        torch._foreach_add_([x], 1)
        torch.add(x, 1, out=x)

    writes = [each.writes[0].digest for each in operations(record(tmp_path / "a", work))]
    assert writes == [nondet_ext.fingerprint(torch.full((1000,), float(i))) for i in range(8)]


@pytest.mark.parametrize("size", [1, 1000, LARGE // 4 - 1, LARGE // 4, 1 << 20])
def test_a_digest_is_of_the_time_of_the_write_at_every_size(size, tmp_path):
    """Small and large tensors are hashed at once, those between later."""
    x = torch.zeros(size)

    def work():
        y = x + 0
        for _ in range(4):
            y.add_(1)
        y * 2

    found = operations(record(tmp_path / "a", work))
    expected = [nondet_ext.fingerprint(torch.full_like(x, float(i))) for i in (0, 1, 2, 3, 4, 8)]
    assert [each.writes[0].digest for each in found] == expected


def test_a_write_through_a_view_reaches_the_base(tmp_path):
    x = torch.zeros(4)

    def work():
        x + 0
        x[1:3].fill_(7)
        x + 0

    _, view, fill, after = operations(record(tmp_path / "a", work))
    assert view.writes[0].view_of == 0
    assert view.writes[0].digest is None
    assert fill.writes[0].digest == nondet_ext.fingerprint(torch.full((2,), 7.0))
    assert after.reads[0].source.origin == "new"
    assert after.reads[0].digest == nondet_ext.fingerprint(torch.tensor([0.0, 7, 7, 0]))


def test_a_view_of_all_reads_as_its_base_and_one_of_a_part_is_hashed(tmp_path):
    x = torch.randn(4, 3)

    def work():
        y = x * 2
        y.t() + 0
        y[0] + 0

    mul, _, whole, _, part = operations(record(tmp_path / "a", work))
    assert whole.reads[0].source[:3] == ("output", 2, 0)
    assert whole.reads[0].digest == mul.writes[0].digest
    assert part.reads[0].source.origin == "new"
    assert part.reads[0].digest == nondet_ext.fingerprint(x[0] * 2)


def test_a_write_through_data_is_seen(tmp_path):
    x = torch.zeros(3)

    def work():
        x + 0
        x.data.add_(1)
        x + 0

    after = operations(record(tmp_path / "a", work))[-1]
    assert after.reads[0].digest == nondet_ext.fingerprint(torch.ones(3))


def test_out_is_written_and_not_read(tmp_path):
    x, out = torch.ones(2, 2), torch.empty(2, 2)

    def work():
        torch.mm(x, x, out=out)

    (mm,) = operations(record(tmp_path / "a", work))
    assert mm.reads[2].digest is None
    assert mm.writes[0].into == 2
    assert mm.writes[0].digest == nondet_ext.fingerprint(out)


def test_lists_of_tensors_are_read_and_written(tmp_path):
    xs = [torch.full((2,), float(i)) for i in range(3)]

    def work():
        torch._foreach_mul_(xs, 2.0)
        torch.stack(xs)

    mul, stack = operations(record(tmp_path / "a", work))
    assert [each.into for each in mul.writes] == [0, 1, 2]
    assert [each.source[:3] for each in stack.reads] == [("output", 1, i) for i in range(3)]


def test_a_fused_optimizer_is_one_record(tmp_path):
    p = torch.nn.Parameter(torch.ones(3))
    p.grad = torch.ones(3)
    opt = torch.optim.Adam([p], fused=True)
    trace = record(tmp_path / "a", opt.step)
    (fused,) = named(trace, "aten._fused_adam_")
    written = [fused.reads[each.into].type.shape for each in fused.writes]
    assert written.count((3,)) == 4  # it may scale the gradient
    assert fused.writes[0].digest == nondet_ext.fingerprint(p.detach())


def test_memory_that_nothing_wrote_is_hashed_only_when_it_is_read(tmp_path):
    def work():
        x = torch.empty(8)
        x.view(2, 4)
        x + 1
        y = torch.empty(8)
        y.fill_(3)
        y + 1

    empty, _, read, _, _, filled = operations(record(tmp_path / "a", work))
    assert empty.writes[0].digest is None
    assert read.facts["uninitialized"] == (0,)
    assert read.reads[0].digest is not None
    assert "uninitialized" not in filled.facts


def test_statistics_of_batch_norm_are_written(tmp_path):
    norm = torch.nn.BatchNorm1d(3)
    x = torch.randn(8, 3)

    def work():
        norm(x)
        norm.running_mean + 0
        norm.eval()(x)

    trace = record(tmp_path / "a", work)
    train, evaluate = named(trace, "aten.native_batch_norm")
    assert [train.reads[each.into].type.shape for each in train.writes[:2]] == [(3,), (3,)]
    assert train.writes[0].digest == nondet_ext.fingerprint(norm.running_mean)
    assert all(each.into is None for each in evaluate.writes)
    mean = next(each for each in named(trace, "aten.add.Tensor"))
    assert mean.reads[0].source[:3] == ("output", 1, 0)
    assert train.facts["training"] is True
    assert evaluate.facts["training"] is False


def test_results_of_earlier_steps_are_named(tmp_path):
    p = torch.nn.Parameter(torch.ones(3))
    constant = torch.full((3,), 2.0)
    opt = torch.optim.SGD([p], lr=0.5)

    def work():
        for _ in range(3):
            opt.zero_grad()
            (p * constant).sum().backward()
            opt.step()

    muls = [
        each for each in named(record(tmp_path / "a", work), "aten.mul") if each.phase == "forward"
    ]
    assert [each.reads[0].source.origin for each in muls] == ["new", "earlier", "earlier"]
    assert [each.reads[1].source.label for each in muls] == ["", "older", "older"]
    assert len({each.reads[1].digest for each in muls}) == 1
    assert muls[1].reads[0].digest == nondet_ext.fingerprint(torch.zeros(3))


def test_unseen_writes_are_found_by_verification(tmp_path):
    x = torch.zeros(3)

    def work():
        x + 0
        ctypes.memset(x.data_ptr(), 1, 4)
        x + 0

    blind = operations(record(tmp_path / "a", work))[1]
    assert "written_meanwhile" not in blind.facts
    x.zero_()
    seen = operations(record(tmp_path / "b", work, verify_inputs=True))[1]
    assert seen.facts["written_meanwhile"] == (0,)
    assert seen.reads[0].digest == nondet_ext.fingerprint(x)


def write_to_array_of_own(x):
    array = x.numpy()
    return lambda: array.fill(1)


def write_by_dlpack(x):
    array = np.from_dlpack(x)
    return lambda: ctypes.memset(array.ctypes.data, 1, 4)


@pytest.mark.parametrize(
    ("expose", "early"),
    [(write_to_array_of_own, True), (write_to_array_of_own, False), (write_by_dlpack, False)],
)
def test_writes_to_memory_that_others_share_are_always_found(expose, early, tmp_path):
    x = torch.zeros(3)
    writes = [expose(x)] if early else []

    def work():
        y = x if early else x * 1
        write = writes[0] if early else expose(y)
        y + 0
        write()
        y + 0

    found = operations(record(tmp_path / "a", work))
    assert found[-1].facts["written_meanwhile"] == (0,)
    assert found[-1].reads[0].digest != found[-2].reads[0].digest


def test_memory_of_numpy_is_always_verified(tmp_path):
    array = np.zeros(3, np.float32)
    x = torch.from_numpy(array)

    def work():
        x + 0
        array[:] = 1
        x + 0

    assert operations(record(tmp_path / "a", work))[1].facts["written_meanwhile"] == (0,)


def test_repeated_indices_are_noted_and_repeated_with_threads(tmp_path):
    w, ones = torch.zeros(5), torch.ones(3)
    repeated, different = torch.tensor([1, 1, 2]), torch.tensor([0, 1, 2])

    def work():
        w.index_put((repeated,), ones, accumulate=True)
        w.index_put((different,), ones, accumulate=True)
        w.put_(repeated, ones, accumulate=True)

    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        first, second, third = operations(record(tmp_path / "a", work))
        torch.set_num_threads(1)
        single = operations(record(tmp_path / "b", work))[0]
    finally:
        torch.set_num_threads(threads)
    assert first.facts == {"repeated_indices": True, "repeats_differ": False}
    assert second.facts == {}
    assert third.facts["repeated_indices"] is True
    assert single.facts == {"repeated_indices": True}
    assert w.tolist() == [0, 4, 2, 0, 0]


def test_settings_are_facts(tmp_path):
    x = torch.ones(4, 4)

    def work():
        x + 0
        with torch.autocast("cpu", torch.bfloat16):
            x @ x
        torch.set_flush_denormal(True)
        torch.nn.Identity()(x)
        x + 1
        torch.set_flush_denormal(False)

    try:
        found = operations(record(tmp_path / "a", work))
    finally:
        torch.set_flush_denormal(False)
    assert "autocast" not in found[0].facts
    assert next(each for each in found if each.name == "aten.mm.default").facts == {
        "autocast": "bfloat16"
    }
    assert found[-1].facts["flush_denormal"] is True


def test_values_are_kept_where_a_pattern_selects_them(tmp_path):
    x = torch.arange(4.0)

    def work():
        x * 2
        x + 1
        F.relu(x)

    def kept(selection):
        trace = record(tmp_path / f"{len(list(tmp_path.iterdir()))}", work, keep_values=selection)
        return [(each.step, each.index, each.slot, each.data) for each in trace.streams[0].kept]

    double = (x * 2).numpy().tobytes()
    assert kept("mul") == [(0, 0, 0, double)]
    assert kept("aten.mul.*") == [(0, 0, 0, double)]
    assert [each[1] for each in kept("0#1, relu")] == [1, 2]
    assert kept("sin") == []
    place = f"test_operations.py:{work.__code__.co_firstlineno + 2}"
    assert [each[1] for each in kept(place)] == [1]
    assert [each[1] for each in kept(f"aten.add.*@{place}")] == [1]
    assert [each[1] for each in kept(f"add@{__file__}:{place.partition(':')[2]}")] == [1]
    assert kept(f"mul@{place}") == []


def test_long_steps_are_written_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr("nondet.tracing.record.stream.PART", 7)
    x = torch.zeros(2)

    def work():
        y = x
        for _ in range(30):
            y = y + 1

    found = records_of(record(tmp_path / "a", work))
    assert [each.index for each in found] == list(range(30))
    assert all(each.reads[0].source[:3] == ("output", 1, 0) for each in found[1:])
    assert found[29].reads[0].digest == found[28].writes[0].digest
