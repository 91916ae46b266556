"""Test that a signal handler that raises, as Python's own for Ctrl-C does, ends every CPU kernel
within 0.2 s.

What is bounded is the processor time that a call takes after the signal, which busy neighbours do
not change; the signal comes after some processor time, too.
"""

import ctypes
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import nondet_ext
from factories.threads import own_threads
from nondet_ext._native import _C
from nondet_ext.memory import resident_bytes
from references.long_calls import kernels, long_calls

pytestmark = pytest.mark.skipif(
    not hasattr(signal, "setitimer"), reason="signals after some processor time are POSIX's"
)

ANSWER = 0.2
"""Seconds from a signal to the exception, and of processor time for each thread."""

TASKS = Path("/proc/self/task")

CALLS = dict(long_calls())
SMALL = dict(long_calls(0.05))


class InterruptError(Exception):
    pass


_inside = False
"""True while an exception of the handler is caught: a signal may come as a call ends."""


def _raise(*_: object) -> None:
    if _inside:
        raise InterruptError


@pytest.fixture(autouse=True)
def _handler() -> Iterator[None]:
    before = signal.signal(signal.SIGPROF, _raise)
    yield
    signal.setitimer(signal.ITIMER_PROF, 0)
    signal.signal(signal.SIGPROF, before)


def answer_time(call: Callable[[], object], after: float) -> float | None:
    """Return the processor time from the signal to the exception, or None if the call was over
    before. The signal comes after that much processor time.
    """
    global _inside
    begin = time.process_time()
    try:
        _inside = True
        signal.setitimer(signal.ITIMER_PROF, after)
        call()
        _inside = False
    except InterruptError:
        return time.process_time() - begin - after
    finally:
        _inside = False
        signal.setitimer(signal.ITIMER_PROF, 0)
    return None


def check_answer(call, threads):
    """Check that a signal ends a call in time. It may be late once: the system may take long to
    find pages for large buffers.
    """
    seconds = answer_time(lambda: call(threads), after=0.01)
    assert seconds is not None
    if seconds >= ANSWER * threads:
        again = answer_time(lambda: call(threads), after=0.01)
        assert again is not None
        assert again < ANSWER * threads


def test_every_kernel_has_a_case():
    assert {name.split("/")[0] for name in CALLS} == kernels()


@pytest.mark.parametrize("name", CALLS)
def test_a_signal_ends_the_call(name):
    threads = 1 + list(CALLS).index(name) % 2
    call = CALLS[name]()
    check_answer(call, threads)


@pytest.mark.slow
@pytest.mark.parametrize("name", CALLS)
def test_a_signal_ends_the_call_with_more_threads_than_processors(name):
    call = CALLS[name]()
    check_answer(call, 5)


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_a_signal_ends_every_phase_of_a_call(name):
    """Signals come at several times of calls that would take up to a second or two."""
    call = SMALL[name]()
    begin = time.process_time()
    call(1)
    whole = time.process_time() - begin
    for share in (0.1, 0.3, 0.5, 0.7, 0.9):
        seconds = answer_time(lambda: call(1), after=max(share * whole, 0.001))
        assert seconds is None or seconds < ANSWER


def long_sum(seconds: float = 60, threads: int = 1) -> float:
    """Sum ones, many times over; it takes about that long at four per nanosecond."""
    x = torch.ones(1000)
    out = torch.zeros(1)
    _C.cpu.sum(
        dtype=_C.DType.float32, x=x.data_ptr(), kept_sizes=[], kept_strides=[],
        reduced_sizes=[int(seconds * 4e6), 1000], reduced_strides=[0, 1], out=out.data_ptr(),
        divisor=0, order=_C.Order.fixed, key=[0, 0, 0, 0], threads=threads,
    )  # fmt: skip
    return float(out)


def tasks() -> int:
    return len(list(TASKS.iterdir()))


@pytest.mark.skipif(not TASKS.is_dir(), reason="counts threads as Linux does")
@pytest.mark.parametrize("threads", [2, 7])
def test_threads_of_a_call_have_ended(threads):
    with own_threads():
        before = tasks()
        assert answer_time(lambda: long_sum(threads=threads), after=0.01) is not None
        assert tasks() == before


@pytest.mark.skipif(not TASKS.is_dir(), reason="counts threads as Linux does")
def test_threads_of_torch_are_not_lost():
    counts = []
    for _ in range(3):
        assert answer_time(lambda: long_sum(threads=3), after=0.01) is not None
        counts.append(tasks())
    assert len(set(counts)) == 1


def test_no_memory_is_lost():
    """Each of these calls holds more than 16 MiB when it ends."""
    x = torch.rand(4_000_000)

    def call() -> None:
        while True:
            nondet_ext.ranks.rankdata(x)

    for _ in range(6):
        assert answer_time(call, after=0.05) is not None
    before = resident_bytes()
    for _ in range(24):
        assert answer_time(call, after=0.05) is not None
    assert resident_bytes() < before + (192 << 20)  # what an allocator keeps varies


@pytest.mark.parametrize("threads", [1, 2])
def test_a_handler_that_returns_changes_nothing(threads):
    """The handler computes sums of its own, and in another floating-point mode, in between."""
    seen = []

    def handle(*_: object) -> None:
        seen.append(float(nondet_ext.sum(torch.full((1000,), 3.0))))
        torch.set_flush_denormal(True)

    tiny = torch.full((1000,), 1e-40)
    out = torch.zeros(1)

    def call() -> None:
        _C.cpu.sum(
            dtype=_C.DType.float32, x=tiny.data_ptr(), kept_sizes=[], kept_strides=[],
            reduced_sizes=[1_000_000, 1000], reduced_strides=[0, 1], out=out.data_ptr(), divisor=0,
            order=_C.Order.exact, key=[0, 0, 0, 0], threads=threads,
        )  # fmt: skip

    call()
    expected = out.clone()
    signal.signal(signal.SIGPROF, handle)
    try:
        signal.setitimer(signal.ITIMER_PROF, 0.005, 0.03)
        call()
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        torch.set_flush_denormal(False)
    assert seen
    assert set(seen) == {3000.0}
    assert torch.equal(out, expected)


def test_an_output_may_hold_a_part():
    """The call ends before it has written everything, and the next one is right."""
    n = 400_000_000
    x, out = np.zeros(n, np.float16), np.zeros(n, np.float16)

    def call(count: int) -> None:
        _C.cpu.spacing(
            dtype=_C.DType.float16, x=x.ctypes.data, out=out.ctypes.data, n=count, threads=1
        )

    assert answer_time(lambda: call(n), after=0.001) is not None
    assert out[0] != 0
    assert out[-1] == 0
    out[:1000] = 0
    call(1000)
    assert (out[:1000] == 2.0**-24).all()


def test_other_threads_are_not_asked():
    """A kernel in another thread goes on; the main thread handles the signal."""
    results = []
    other = threading.Thread(target=lambda: results.append(long_sum(seconds=0.5)))
    seen = []
    signal.signal(signal.SIGPROF, lambda *_: seen.append(threading.current_thread()))
    other.start()
    signal.raise_signal(signal.SIGPROF)
    other.join()
    assert seen == [threading.main_thread()]
    assert results == [long_sum(seconds=0.5)]


def test_a_thread_that_keeps_the_lock():
    """Another thread holds Python's lock for long, several times; the call waits for it no longer
    than that.
    """
    usleep = ctypes.PyDLL(None).usleep
    over = threading.Event()

    def hold() -> None:
        while not over.is_set():
            usleep(100_000)
            time.sleep(0.01)

    other = threading.Thread(target=hold)
    expected = long_sum(seconds=0.3)
    other.start()
    try:
        assert long_sum(seconds=0.3) == expected
        assert answer_time(long_sum, after=0.01) is not None
    finally:
        over.set()
        other.join()


SCRIPT = """
import os, signal, sys, threading, time
import torch
import nondet_ext
signal.signal(signal.SIGINT, signal.default_int_handler)  # shells start some processes without it
x = torch.zeros(1).expand(20_000_000_000)
{prepare}
def interrupt():
    time.sleep(0.3)
    os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=interrupt, daemon=True).start()
try:
    nondet_ext.sum(x)
except KeyboardInterrupt:
    print("interrupted", flush=True)
    {end}
"""
FORKED = "if os.fork():\n    os.wait(); sys.exit()"


@pytest.mark.parametrize("where", ["alone", pytest.param("forked", marks=pytest.mark.slow)])
def test_ctrl_c(where):
    """In a process with Python's own handlers, and in its child. The sum takes ten seconds or more;
    the time to load torch is unknown, so no time is asserted.
    """
    prepare, end = (FORKED, "os._exit(0)") if where == "forked" else ("", "")
    script = SCRIPT.format(prepare=prepare, end=end)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.stdout == "interrupted\n", done.stderr
    assert done.returncode == 0


def test_a_child_forked_by_another_thread_is_interrupted():
    """There the thread that forked is the main thread."""
    script = """
import os, signal, threading, time
import torch
import nondet_ext
signal.signal(signal.SIGINT, signal.default_int_handler)  # shells start some processes without it
x = torch.zeros(1).expand(20_000_000_000)
def fork():
    if os.fork():
        os.wait()
        return
    signal.setitimer(signal.ITIMER_PROF, 0.05)
    try:
        nondet_ext.sum(x)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    os._exit(0)
signal.signal(signal.SIGPROF, signal.default_int_handler)
torch.set_num_threads(1)
thread = threading.Thread(target=fork)
thread.start()
thread.join()
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.stdout == "interrupted\n", done.stderr
