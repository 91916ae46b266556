"""Executors process every item once, and retry those that fail."""

import ctypes
import multiprocessing
import operator
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from factories.jobs import process_item, processes
from nondet.execute.executors import JobFailedError, LocalPool, Serial


@pytest.mark.parametrize("workers", [1, 2])
def test_every_item_comes_back_once_with_its_value(workers):
    items = list(range(50))
    with LocalPool(workers) as pool:
        assert sorted(pool.map(operator.neg, items)) == [(item, -item) for item in items]
        assert list(pool.map(operator.neg, [])) == []
        assert sorted(pool.map(operator.neg, [1, 2, 3])) == [(1, -1), (2, -2), (3, -3)]


def test_serial_yields_every_item_in_order():
    with Serial() as executor:
        assert list(executor.map(operator.neg, [1, 2])) == [(1, -1), (2, -2)]


def test_workers_use_one_thread_and_end_with_the_context():
    with LocalPool(2) as pool:
        values = dict(pool.map(os.getenv, ["OMP_NUM_THREADS", "MKL_NUM_THREADS"]))
        assert set(values.values()) == {"1"}
        pids = {pid for _, pid in pool.map(eval, ["__import__('os').getpid()"] * 20)}
    assert os.getpid() not in pids
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="the C library is not glibc 2.33 or newer"
)
def test_workers_keep_freed_memory():
    """A large block comes from the heap, which does not shrink when it is freed."""
    script = (
        "import ctypes\n"
        "from nondet.execute.executors import keep_memory\n"
        "class Info(ctypes.Structure):\n"
        "    _fields_ = [(n, ctypes.c_size_t) for n in ('arena', 'ordblks', 'smblks', 'hblks',"
        " 'hblkhd', 'usmblks', 'fsmblks', 'uordblks', 'fordblks', 'keepcost')]\n"
        "libc = ctypes.CDLL(None)\n"
        "libc.mallinfo2.restype = Info\n"
        "libc.malloc.restype = ctypes.c_void_p\n"
        "libc.free.argtypes = [ctypes.c_void_p]\n"
        "keep_memory()\n"
        "before = libc.mallinfo2()\n"
        "block = libc.malloc(1 << 26)\n"
        "taken = libc.mallinfo2()\n"
        "assert taken.hblks == before.hblks\n"
        "assert taken.arena >= 1 << 26\n"
        "libc.free(block)\n"
        "assert libc.mallinfo2().arena == taken.arena\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize("executor", [Serial(), LocalPool(1)])
def test_error_of_a_job_is_reported(executor):
    with executor, pytest.raises(JobFailedError, match="ValueError: math domain error"):
        list(executor.map(eval, ["__import__('math').sqrt(-1)"]))


def test_dead_worker_is_reported():
    with (
        LocalPool(1) as pool,
        pytest.raises(JobFailedError, match=r"died .*exit code 3") as hit,
    ):
        list(pool.map(os._exit, [3]))
    assert hit.value.kind == "died"


@pytest.mark.parametrize("executor", [Serial(), LocalPool(1), LocalPool(2)])
def test_an_item_that_raises_is_retried_and_affects_no_other(executor, tmp_path):
    with executor:
        items = ["raise 1", "b", "raise 9", "d", "e"]
        values = dict(executor.attempt(partial(process_item, tmp_path), items))
    failure = values.pop("raise 9")
    assert values == {"raise 1": "RAISE 1", "b": "B", "d": "D", "e": "E"}
    assert isinstance(failure, JobFailedError)
    assert (failure.kind, str(failure)) == ("IndexError", "IndexError: not now")
    assert "in process_item" in failure.__notes__[0]
    assert [len(processes(tmp_path / item)) for item in ("raise 1", "b", "raise 9")] == [2, 1, 2]


def test_an_item_whose_process_is_killed_is_retried_in_a_new_process(tmp_path):
    with LocalPool(2) as pool:
        items = ["kill 1", "b", "kill 9", "d"]
        values = dict(pool.attempt(partial(process_item, tmp_path), items, tries=3))
        failure = values.pop("kill 9")
        assert values == {"kill 1": "KILL 1", "b": "B", "d": "D"}
        assert failure.kind == "died"
        assert "SIGKILL" in str(failure)
        assert len(set(processes(tmp_path / "kill 1"))) == 2
        assert len(set(processes(tmp_path / "kill 9"))) == 3
        # The pool still works.
        assert sorted(pool.map(operator.neg, range(10))) == [(i, -i) for i in range(10)]


def test_a_worker_killed_while_idle_costs_nothing():
    with LocalPool(1) as pool:
        [(_, process)] = pool.map(eval, ["__import__('os').getpid()"])
        os.kill(process, signal.SIGKILL)
        while not is_zombie(process):
            time.sleep(0.01)
        assert list(pool.attempt(operator.neg, [1], tries=1)) == [(1, -1)]


def test_abandoned_items_do_not_affect_the_next_use(tmp_path):
    with LocalPool(2) as pool:
        results = pool.attempt(eval, ["1", "__import__('time').sleep(600)", "2"])
        assert next(results) == ("1", 1)
        results.close()
        assert len(multiprocessing.active_children()) < 2
        assert sorted(pool.map(operator.neg, [1, 2, 3])) == [(1, -1), (2, -2), (3, -3)]


def test_a_value_that_cannot_be_sent_is_a_failure_of_its_item():
    with LocalPool(1) as pool:
        values = dict(pool.attempt(eval, ["lambda: 0", "5"]))
    assert values["5"] == 5
    assert "pickle" in str(values["lambda: 0"])


def test_no_more_processes_than_items():
    with LocalPool(50) as pool:
        assert sorted(pool.map(operator.neg, [1, 2])) == [(1, -1), (2, -2)]
        assert len(multiprocessing.active_children()) == 2


def test_no_workers_is_refused():
    with pytest.raises(ValueError, match="workers is 0"):
        LocalPool(0)


def test_busy_workers_die_with_a_killed_parent():
    script = (
        "import time\n"
        "from nondet.execute.executors import LocalPool\n"
        "if __name__ == '__main__':\n"
        "    with LocalPool(1) as pool:\n"
        "        [(_, pid)] = pool.map(eval, ['__import__(\"os\").getpid()'])\n"
        "        print(pid, flush=True)\n"
        "        list(pool.map(time.sleep, [600]))\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    with parent:
        worker = int(parent.stdout.readline())
        parent.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            os.kill(worker, 0)
        except ProcessLookupError:
            return
        if is_zombie(worker):
            return
        time.sleep(0.01)
    os.kill(worker, signal.SIGKILL)
    pytest.fail("the worker outlived its parent")


def is_zombie(pid):
    """Return True if a killed process has no thread left that could keep its pipe open."""
    try:
        if len(list(Path(f"/proc/{pid}/task").iterdir())) > 1:
            return False
        with Path(f"/proc/{pid}/stat").open() as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


PROCESS = "__import__('os').getpid()"


@pytest.mark.parametrize("workers", [1, 2])
def test_a_fresh_item_has_a_process_that_nothing_else_had(workers):
    def ids(**named):
        return [process for _, process in pool.map(eval, [PROCESS] * 4, **named)]

    with LocalPool(workers) as pool:
        used, fresh = ids(), ids(fresh=True)
        assert pool._single == set()
        after = ids()
    assert len(set(fresh)) == 4
    assert not set(fresh) & {*used, *after, os.getpid()}
    assert len(set(used)) <= workers
    assert len(set(after)) <= workers
    for process in {*used, *fresh, *after}:
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)


def test_no_more_processes_live_than_there_are_workers():
    with LocalPool(2) as pool:
        assert len(list(pool.map(eval, [PROCESS] * 3))) == 3
        for _ in pool.attempt_fresh(eval, [PROCESS] * 3):
            assert len(pool._processes) <= 2
        assert len(pool._processes) == 0


def test_a_fresh_item_that_fails_is_tried_in_another_fresh_process(tmp_path):
    log, told = tmp_path / "log", []
    written = f"open({str(log)!r}, 'a').write(str({PROCESS}) + ' ')"
    item = (
        f"({written}, __import__('pathlib').Path({str(log)!r}).read_text().count(' ') > 1 or 1/0)"
    )
    with LocalPool(1) as pool:
        [(_, value)] = pool.attempt_fresh(eval, [item], 2, lambda item, error: told.append(error))
    assert value[1] is True
    assert [error.kind for error in told] == ["ZeroDivisionError"]
    assert len(set(processes(log))) == 2
