"""Whole traces: processes that belong together, and traces that cannot be compared."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nondet
from factories.traces import COMMAND, StreamMaker, write_trace
from nondet.tracing.compare.evidence import Distance, Verdict
from nondet.tracing.compare.traces import compare_traces


def stream(role: str = "main", steps: int = 3, noise: int | None = None, **how) -> StreamMaker:
    """Return a stream of steps; what one operation writes differs in step `noise`."""
    maker = StreamMaker(role, **how)
    w = maker.parameter("fc.weight")
    for step in range(steps):
        x = maker.batch(bits=step)
        y = maker.op("aten.mm.default", x, w, line=5, noise=int(step == noise))
        w = maker.op("aten.add_.Tensor", w, y, into=0, line=6)
        maker.step()
    return maker


def compare(tmp_path: Path, a: list[StreamMaker], b: list[StreamMaker]) -> Verdict:
    """Return what is found for traces of these streams."""
    paths = [write_trace(tmp_path / f"{n}.trace", *each) for n, each in enumerate((a, b))]
    return compare_traces(*paths)


def firsts(verdict: Verdict) -> dict[str, str | None]:
    """Return the kind of the first difference of each stream, by role."""
    return {
        each.role: None if each.evidence.first is None else each.evidence.first.kind
        for each in verdict.streams
    }


def test_equal_traces(tmp_path):
    verdict = compare(tmp_path, [stream()], [stream(pid=7, started=9.0)])
    assert (verdict.outcome, verdict.exit_code) == ("equal", 0)
    assert (verdict.streams[0].steps, verdict.streams[0].records) == (3, 10)
    assert verdict.streams[0].explanations == ()


def test_the_public_function_is_this_one():
    assert nondet.compare_traces is compare_traces


def test_the_evidence_of_a_difference(tmp_path):
    verdict = compare(tmp_path, [stream(steps=6)], [stream(steps=6, noise=3)])
    assert (verdict.outcome, verdict.exit_code) == ("different", 1)
    [found] = verdict.streams
    evidence = found.evidence
    assert (found.steps, found.differing_steps, found.remaining_steps) == (3, 3, 3)
    for side, first in zip(evidence.sides, (evidence.first.a, evidence.first.b), strict=True):
        assert side.after[0] == first
        assert [record.name for record in side.before[-2:]] == ["aten.add_.Tensor", "DataLoader"]
        assert len(side.before) + len(side.after) == len(list(side.everything()))
        assert side.writers(first.writes[0].digest) == [("main", first)]
        source = side.source(first, first.reads[1])
        assert (source.step, source.name) == (2, "aten.add_.Tensor")
    assert evidence.same_batches
    assert not evidence.same_operations
    assert evidence.same_names
    assert not evidence.states_differ_from_start


def test_kept_values_tell_how_far_two_runs_are_apart(tmp_path):
    def make(other: bool) -> StreamMaker:
        maker = StreamMaker()
        y = maker.op("aten.mm.default", noise=int(other))
        values = np.array([1, 1, 1, 1], np.float32)
        values[2] += other * 2.0**-22
        maker.keep(y, values)
        return maker

    verdict = compare(tmp_path, [make(False)], [make(True)])
    distance = verdict.streams[0].evidence.first.distance
    assert distance == Distance(1, 4, 2, (2,), (1.0, 1 + 2.0**-22))


def test_streams_are_paired_by_role_and_others_are_named(tmp_path):
    a = [stream(), stream("rank 1"), stream("main/command 1")]
    b = [stream("rank 1", noise=1), stream(), stream("main/process SpawnProcess-1")]
    verdict = compare(tmp_path, a, b)
    assert firsts(verdict) == {"main": None, "rank 1": "wrote"}
    assert (verdict.missing, verdict.extra) == (
        ("main/command 1",),
        ("main/process SpawnProcess-1",),
    )
    assert verdict.outcome == "different"


def test_a_stream_that_only_one_run_has_is_a_difference(tmp_path):
    verdict = compare(tmp_path, [stream(), stream("main/command 1")], [stream()])
    assert (verdict.outcome, verdict.missing) == ("different", ("main/command 1",))


def test_threads_that_began_in_another_order_are_paired_by_what_they_do(tmp_path):
    def thread(number: int, name: str, noise: int = 0) -> StreamMaker:
        maker = StreamMaker(f"main/thread Thread-{number} (work)")
        maker.op(name, line=5)
        maker.op(name, line=6, noise=noise)
        return maker

    a = [stream(), thread(1, "aten.sin"), thread(2, "aten.cos")]
    b = [stream(), thread(1, "aten.cos"), thread(2, "aten.sin", noise=1)]
    found = {each.role: each.evidence for each in compare(tmp_path, a, b).streams}
    first = found["main/thread Thread-1 (work)"].first
    assert (first.kind, first.record.name) == ("wrote", "aten.sin")
    assert found["main/thread Thread-1 (work)"].b.role == "main/thread Thread-2 (work)"
    assert found["main/thread Thread-2 (work)"].first is None


def test_ranks_are_never_exchanged(tmp_path):
    def rank(number: int, name: str) -> StreamMaker:
        maker = StreamMaker(f"rank {number}")
        maker.op(name, line=5)
        return maker

    a, b = [rank(0, "aten.sin"), rank(1, "aten.cos")], [rank(0, "aten.cos"), rank(1, "aten.sin")]
    assert set(firsts(compare(tmp_path, a, b)).values()) == {"replaced"}


def test_a_result_of_a_collective_is_explained_by_the_rank_that_gave_other_numbers(tmp_path):
    def rank(number: int, noise: int) -> StreamMaker:
        maker = StreamMaker(f"rank {number}")
        x = maker.op("aten.mm.default", noise=noise if number == 1 else 0)
        y = maker.op("c10d.allreduce_.default", x, salt=noise)
        maker.op("aten.relu.default", y)
        return maker

    order = (0, 2, 1)  # ranks 0 and 2 only receive what differs
    verdict = compare(tmp_path, [rank(n, 0) for n in order], [rank(n, 1) for n in order])
    sources = {each.role: each.source for each in verdict.streams}
    assert sources["rank 0"].role == sources["rank 2"].role == "rank 1"
    assert sources["rank 0"].first.record.name == "aten.mm.default"
    assert sources["rank 1"] is None


def test_a_batch_is_explained_by_the_worker_that_made_it(tmp_path):
    def run(noise: int) -> list[StreamMaker]:
        worker = StreamMaker("main/loader 1 worker 1")
        worker.draw("aten.rand.default", state=1 + noise)
        main = StreamMaker()
        main.batch(bits=noise, facts={"worker": 1, "workers": 2})
        return [main, worker]

    verdict = compare(tmp_path, run(0), run(1))
    [main, worker] = verdict.streams
    assert main.source.role == "main/loader 1 worker 1"
    assert worker.source is None


def test_a_tensor_of_another_thread_is_explained_by_it(tmp_path):
    def run(noise: int) -> list[StreamMaker]:
        other = StreamMaker("main/thread Thread-1 (work)")
        written = other.op("aten.mm.default", noise=noise)
        main = StreamMaker()
        main.op("aten.relu.default", main.tensor(written.bits, label="Thread-1 (work)"))
        return [main, other]

    verdict = compare(tmp_path, run(0), run(1))
    assert firsts(verdict) == {"main": "read", "main/thread Thread-1 (work)": "wrote"}
    assert verdict.streams[0].source.role == "main/thread Thread-1 (work)"


def test_a_run_that_was_killed_is_equal_only_as_far_as_it_goes(tmp_path):
    verdict = compare(tmp_path, [stream(steps=9)], [stream(steps=4, complete=False)])
    assert (verdict.outcome, verdict.exit_code) == ("not compared", 2)
    assert verdict.streams[0].evidence.first is None
    assert verdict.streams[0].steps == 4
    [reason] = verdict.reasons
    assert "1.trace" in reason
    assert "read up to step 3" in reason


def test_a_run_that_was_killed_can_differ_before(tmp_path):
    verdict = compare(tmp_path, [stream(steps=9)], [stream(steps=4, noise=2, complete=False)])
    assert verdict.outcome == "different"
    assert verdict.streams[0].evidence.first.record.step == 2
    assert verdict.reasons != ()


@pytest.mark.parametrize("complete", [True, False])
def test_a_worker_that_was_ended_while_it_worked_ahead_is_no_difference(tmp_path, complete):
    role = "main/loader 1 worker 0"
    a, b = (stream(role, steps=steps, complete=complete) for steps in (5, 3))
    verdict = compare(tmp_path, [stream(), a], [stream(), b])
    assert (verdict.outcome, verdict.reasons) == ("equal", ())


def test_a_longer_run_differs_where_the_other_ends(tmp_path):
    verdict = compare(tmp_path, [stream(steps=3)], [stream(steps=5)])
    first = verdict.streams[0].evidence.first
    assert (first.kind, first.ended, first.b.step) == ("inserted", "a", 3)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"level": "modules"}, "level is ops in"),
        ({"steps": [1, 2]}, "1:2"),
        ({"every": 10}, "every"),
        ({"eager": True}, "eager"),
    ],
)
def test_traces_of_other_options_are_not_compared(tmp_path, options, said):
    a = write_trace(tmp_path / "a.trace", stream())
    b = write_trace(tmp_path / "b.trace", stream(), command={**COMMAND, "options": options})
    verdict = compare_traces(a, b)
    assert (verdict.exit_code, verdict.streams) == (2, ())
    assert said in verdict.reasons[0]


def test_options_that_change_no_record_are_compared(tmp_path):
    options = {"keep_values": "*", "verify_inputs": True, "steps": None}
    a = write_trace(tmp_path / "a.trace", stream())
    b = write_trace(tmp_path / "b.trace", stream(), command={**COMMAND, "options": options})
    assert compare_traces(a, b).outcome == "equal"


def test_traces_without_records_are_not_compared(tmp_path):
    verdict = compare(tmp_path, [stream()], [StreamMaker()])
    assert verdict.exit_code == 2
    assert "nothing was recorded" in verdict.reasons[0]


def test_what_is_no_trace_is_not_compared(tmp_path):
    good = write_trace(tmp_path / "a.trace", stream())
    newer = tmp_path / "newer.trace"
    shutil.copytree(good, newer)
    command = json.loads((newer / "trace.json").read_text())
    (newer / "trace.json").write_text(json.dumps({**command, "version": 99}))
    for bad in (tmp_path / "none", tmp_path, newer):
        verdict = compare_traces(good, bad)
        assert (verdict.outcome, verdict.streams) == ("not compared", ())
        assert str(bad) in verdict.reasons[0]


@settings(max_examples=150)
@given(st.data())
def test_no_flipped_bit_changes_a_verdict_unnoticed(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp() / "flips"
    a, b, c = (folder / f"{name}.trace" for name in "abc")
    if not folder.exists():
        write_trace(a, stream(), stream("rank 1"))
        write_trace(b, stream(), stream("rank 1"))
        write_trace(c, stream(), stream("rank 1", noise=1))
    assert compare_traces(a, b).outcome == "equal"
    file = data.draw(st.sampled_from(sorted(each.name for each in b.iterdir())))
    whole = (b / file).read_bytes()
    bit = data.draw(st.integers(0, 8 * len(whole) - 1))
    damaged = bytearray(whole)
    damaged[bit // 8] ^= 1 << bit % 8
    (b / file).write_bytes(damaged)
    try:
        verdict = compare_traces(a, b)
        assert verdict.outcome == "not compared"
        assert verdict.reasons
        assert compare_traces(b, c).outcome in ("not compared", "different")
    finally:
        (b / file).write_bytes(whole)


@given(st.integers(0, 4000))
def test_a_trace_that_was_cut_anywhere_is_no_error(tmp_path_factory, length):
    folder = tmp_path_factory.getbasetemp() / "cuts"
    a, b = folder / "a.trace", folder / "b.trace"
    if not folder.exists():
        write_trace(a, stream())
        write_trace(b, stream())
    file = b / "0.stream"
    whole = file.read_bytes()
    file.write_bytes(whole[: min(length, len(whole) - 1)])
    try:
        verdict = compare_traces(a, b)
        assert verdict.outcome == "not compared"
        assert verdict.reasons
    finally:
        file.write_bytes(whole)
