"""Tests of threads and forks."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from factories.recording import assert_equal, operations, record, records_of
from nondet.tracing.format import read_trace, write_command
from nondet.tracing.options import Options
from nondet.tracing.record import session

X = torch.ones(3)


class Own(threading.Thread):
    def run(self):
        X * 2


def test_threads_have_streams_of_their_own(tmp_path):
    def work():
        X + 1
        for thread in (threading.Thread(target=lambda: X - 1, name="plain"), Own(name="own")):
            thread.start()
            thread.join()
        with ThreadPoolExecutor(1, thread_name_prefix="pool") as pool:
            pool.submit(lambda: X / 2).result()
        threading.Thread(target=lambda: None, name="idle").start()

    trace = record(tmp_path / "a", work)
    found = {each.info.role: operations(trace, each.info.role) for each in trace.streams}
    assert {role: [each.name for each in some] for role, some in found.items()} == {
        "main": ["aten.add.Tensor"],
        "main/thread plain": ["aten.sub.Tensor"],
        "main/thread own": ["aten.mul.Tensor"],
        "main/thread pool_0": ["aten.div.Tensor"],
    }


def test_a_read_of_what_another_thread_wrote_names_it(tmp_path):
    made = []

    def work():
        thread = threading.Thread(target=lambda: made.append(X * 2), name="maker")
        thread.start()
        thread.join()
        made[0] + 1

    (add,) = operations(record(tmp_path / "a", work))
    assert add.reads[0].source == ("new", 0, 0, "main/thread maker")
    assert add.reads[0].digest is not None


def test_a_write_of_another_thread_does_not_reach_an_earlier_digest(tmp_path):
    def work():
        y = X * 1

        def write():
            y.add_(1)

        thread = threading.Thread(target=write, name="writer")
        thread.start()
        thread.join()

    a, b = (record(tmp_path / name, work) for name in "ab")
    assert_equal(a, b)
    mul = operations(a)[0]
    (add,) = operations(a, "main/thread writer")
    assert add.reads[0].digest == mul.writes[0].digest != add.writes[0].digest


def test_many_threads_at_once_leave_equal_traces(tmp_path):
    def work():
        def train(number):
            y = torch.full((50,), float(number))
            for _ in range(200):
                y = y * 1.5 + 1
                y.add_(1)

        threads = [threading.Thread(target=train, args=(i,), name=f"t{i}") for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    a, b = (record(tmp_path / name, work) for name in "ab")
    assert len(a.streams) == 5
    assert_equal(a, b)


def test_a_thread_that_outlives_the_trace_is_no_harm(tmp_path):
    go, done = threading.Event(), threading.Event()

    def target():
        X + 1
        done.set()
        go.wait()
        X + 2

    thread = threading.Thread(target=target, name="late")

    def work():
        thread.start()
        done.wait()

    trace = record(tmp_path / "a", work)
    go.set()
    thread.join()
    assert len(operations(trace, "main/thread late")) == 1


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_fork_goes_on_as_another_stream(tmp_path):
    folder = tmp_path / "a"
    write_command(folder, {"argv": ["x"]})
    recording = session.start(folder, Options(), "main")
    y = X + 1
    child = os.fork()
    if child == 0:
        status = 1
        try:
            recording.after_fork("main/process child")
            y * 2
            recording.stop()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    y - 3
    recording.stop()
    trace = read_trace(folder)
    assert [each.name for each in operations(trace)] == ["aten.add.Tensor", "aten.sub.Tensor"]
    (mul,) = operations(trace, "main/process child")
    assert mul.reads[0].source.origin == "new"
    assert all(each.complete for each in trace.streams)


def test_stopping_twice_is_no_harm(tmp_path):
    write_command(tmp_path / "a", {"argv": ["x"]})
    recording = session.start(tmp_path / "a", Options(), "rank 1")
    X + 1
    recording.stop()
    recording.stop()
    assert len(records_of(read_trace(tmp_path / "a"), "rank 1")) == 1
