"""Workers in processes. The functions they run lie in the standard library, so that spawn can
import them.
"""

import ctypes
import operator
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nondet.execute import InProcess, JobFailedError, LocalPool


@pytest.mark.parametrize("workers", [1, 2])
def test_every_item_comes_back_once_with_its_value(workers):
    items = list(range(50))
    with LocalPool(workers) as pool:
        assert sorted(pool.map(operator.neg, items)) == [(item, -item) for item in items]
        assert list(pool.map(operator.neg, [])) == []
        assert sorted(pool.map(operator.neg, [1, 2, 3])) == [(1, -1), (2, -2), (3, -3)]


def test_in_process_does_the_same():
    with InProcess() as executor:
        assert list(executor.map(operator.neg, [1, 2])) == [(1, -1), (2, -2)]


def test_workers_compute_with_one_thread_and_end_with_the_context():
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
def test_workers_keep_the_memory_that_they_free():
    """A block that would be mapped and given back is taken from the heap, which grows and stays."""
    script = (
        "import ctypes\n"
        "from nondet.execute import keep_memory\n"
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
        "assert libc.mallinfo2().hblks == before.hblks\n"
        "libc.free(block)\n"
        "assert libc.mallinfo2().arena >= before.arena + (1 << 26)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize("executor", [InProcess(), LocalPool(1)])
def test_error_of_a_job_is_reported(executor):
    with executor, pytest.raises(JobFailedError, match="ValueError: math domain error"):
        list(executor.map(eval, ["__import__('math').sqrt(-1)"]))


def test_dead_worker_is_reported():
    with (
        LocalPool(1) as pool,
        pytest.raises(JobFailedError, match=r"nondet-worker-0 died .* \(exit code 3\)"),
    ):
        list(pool.map(os._exit, [3]))


def test_no_workers_is_refused():
    with pytest.raises(ValueError, match="workers is 0; it must be at least 1"):
        LocalPool(0)


def test_busy_workers_die_with_a_killed_parent():
    script = (
        "import time\n"
        "from nondet.execute import LocalPool\n"
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
    for _ in range(500):
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
    try:
        with Path(f"/proc/{pid}/stat").open() as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True
