"""Tests of steps, of which are recorded, and of traces in traces."""

import pytest
import torch

import nondet
from factories.recording import main_stream, operations, record, records_of
from nondet.tracing.format import read_trace
from nondet.tracing.record.recorder import Recorder

X = torch.ones(2)


def loop(count=6):
    for _ in range(count):
        X + 1
        nondet.step()


def steps_of(trace):
    return [each.number for each in main_stream(trace).steps if len(each.entries)]


def test_steps_end_where_the_script_says(tmp_path):
    trace = record(tmp_path / "a", loop)
    assert steps_of(trace) == list(range(6))
    assert all(each.whole for each in main_stream(trace).steps)


def test_steps_end_with_those_of_optimizers(tmp_path):
    p = torch.nn.Parameter(torch.ones(2))
    opt = torch.optim.SGD([p], lr=0.1)

    def work():
        for _ in range(3):
            p.sum().backward()
            opt.step()

    assert steps_of(record(tmp_path / "a", work)) == [0, 1, 2]


def test_steps_of_optimizers_do_not_count_beside_those_of_the_script(tmp_path):
    p = torch.nn.Parameter(torch.ones(2))
    opt = torch.optim.SGD([p], lr=0.1)

    def work():
        nondet.step()
        for _ in range(2):
            for _ in range(3):
                p.sum().backward()
                opt.step()
            nondet.step()

    trace = record(tmp_path / "a", work)
    sums = [each.step for each in operations(trace) if each.name == "aten.sum.default"]
    assert sums == [1] * 3 + [2] * 3


def test_only_chosen_steps_are_recorded(tmp_path):
    assert steps_of(record(tmp_path / "a", loop, steps=(2, 3))) == [2, 3]
    assert steps_of(record(tmp_path / "b", loop, every=2)) == [0, 2, 4]
    assert steps_of(record(tmp_path / "c", loop, steps=(1, 5), every=3)) == [3]


def test_nothing_is_seen_between_chosen_steps(tmp_path):
    depths = []

    def work():
        for _ in range(4):
            depths.append(torch._C._len_torch_dispatch_stack())
            nondet.step()

    record(tmp_path / "a", work, steps=(1, 2))
    assert depths == [0, 1, 1, 0]


def test_reads_after_a_gap_are_new(tmp_path):
    y = torch.zeros(2)

    def work():
        for _ in range(4):
            y.add_(1)
            nondet.step()

    trace = record(tmp_path / "a", work, every=2)
    assert [each.reads[0].source.origin for each in operations(trace)] == ["new", "new"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"level": "op"}, r"level is 'op'; did you mean ops\? known: modules, ops"),
        ({"every": 0}, "every must be at least 1, got 0"),
        ({"steps": (3, 2)}, "steps must be the first and the last step"),
        ({"steps": (-1, 2)}, "steps must be the first and the last step"),
    ],
)
def test_bad_options_are_refused(options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        nondet.trace(tmp_path / "a", **options)


def test_a_path_that_exists_is_refused(tmp_path):
    with pytest.raises(FileExistsError), nondet.trace(tmp_path):
        pass


def test_a_decorated_function_makes_a_trace_for_each_call(tmp_path):
    @nondet.trace(tmp_path / "a.trace")
    def work(n):
        """Return a sum."""
        return (X + n).sum().item()

    assert (work(1), work(2)) == (4, 6)
    assert work.__doc__ == "Return a sum."
    for name in ("a.trace", "a-2.trace"):
        assert len(operations(read_trace(tmp_path / name))) == 3


def test_a_trace_in_a_trace_takes_its_place(tmp_path):
    def work():
        X + 1
        with nondet.trace(tmp_path / "inner"):
            X * 2
        X - 3

    outer = record(tmp_path / "outer", work)
    inner = read_trace(tmp_path / "inner")
    assert [each.name for each in operations(outer)] == ["aten.add.Tensor", "aten.sub.Tensor"]
    assert [each.name for each in operations(inner)] == ["aten.mul.Tensor"]
    assert [each.kind for each in main_stream(outer).unseen] == ["trace"]


def test_an_error_of_the_script_passes_and_ends_the_trace(tmp_path):
    @nondet.trace(tmp_path / "a")
    def work():
        X + 1
        torch.mm(torch.ones(2, 3), torch.ones(2, 3))

    with pytest.raises(RuntimeError, match="shapes"):
        work()
    found = operations(read_trace(tmp_path / "a"))
    assert found[0].name == "aten.add.Tensor"
    assert "aten.mm.default" not in [each.name for each in found]


def test_a_caught_error_leaves_no_record(tmp_path):
    def work():
        y = torch.zeros(3)
        for _ in range(2):
            with pytest.raises(RuntimeError):
                y.add_(torch.ones(4))
            y.add_(1)

    added = [each for each in operations(record(tmp_path / "a", work)) if "add_" in each.name]
    assert len(added) == 2
    assert added[0].writes[0].digest != added[1].writes[0].digest


def test_an_error_of_the_recorder_is_said_and_changes_nothing(tmp_path, monkeypatch, capsys):
    describe, planted = Recorder.describe, False

    def fail(*arguments):
        if planted:
            raise ZeroDivisionError("planted")
        return describe(*arguments)

    monkeypatch.setattr(Recorder, "describe", fail)
    with nondet.trace(tmp_path / "a"):
        y = X + 1
        planted = True
        assert (y * 2).tolist() == [4, 4]
        assert (y * 3).tolist() == [6, 6]
        planted = False
        y + 5
    trace = read_trace(tmp_path / "a")
    assert [each.name for each in operations(trace)] == ["aten.add.Tensor", "aten.add.Tensor"]
    assert [each.kind for each in main_stream(trace).unseen] == ["recorder"]
    assert "planted" in main_stream(trace).unseen[0].what
    assert capsys.readouterr().err.count("planted") == 1
    assert main_stream(trace).complete


def test_records_of_all_kinds_can_be_read(tmp_path):
    assert [each.index for each in records_of(record(tmp_path / "a", loop))] == [0] * 6
