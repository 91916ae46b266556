"""Kernels run in the threads of torch's OpenMP runtime: which, when, and what they leave behind."""

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

import nondet_ext
from factories.threads import own_threads, threads_of_torch
from nondet_ext import threads
from nondet_ext._native import _C

LARGE = 1 << 23  # elements that every kernel splits

needs_team = pytest.mark.skipif(threads.TEAM is None, reason="torch has no known OpenMP runtime")


@pytest.fixture(scope="module")
def values() -> torch.Tensor:
    return nondet_ext.philox_normal(LARGE, seed=1)


@needs_team
def test_the_runtime_is_that_of_torch():
    assert threads.TEAM is not None
    maps = Path("/proc/self/maps").read_text()
    loaded = {line.split()[-1] for line in maps.splitlines() if "omp" in line.rpartition("/")[2]}
    beside = {file for file in loaded if Path(torch.__file__).parent in Path(file).parents}
    assert not beside or str(Path(threads.TEAM).resolve()) in {
        str(Path(file).resolve()) for file in beside
    }


@pytest.mark.parametrize("library", ["libnone.so.7", "libc.so.6", "/"])
def test_another_library_changes_nothing(library, values):
    assert _C.cpu.use_team(library) is False
    with threads_of_torch(3):
        several = nondet_ext.sum(values)
    with threads_of_torch(1):
        assert torch.equal(several, nondet_ext.sum(values))


def test_threads_of_the_call_give_the_same_bits(values):
    with threads_of_torch(3):
        expected = nondet_ext.fingerprint(nondet_ext.sum(values))
        with own_threads():
            assert nondet_ext.fingerprint(nondet_ext.sum(values)) == expected


@needs_team
def test_no_thread_is_started_for_a_call(values):
    with threads_of_torch(3):
        torch.sum(values)  # starts those of the runtime
        nondet_ext.sum(values)
        before = set(os.listdir("/proc/self/task"))  # noqa: PTH208
        seen: set[str] = set()
        over = threading.Event()

        def watch() -> None:
            while not over.is_set():
                seen.update(os.listdir("/proc/self/task"))  # noqa: PTH208

        watcher = threading.Thread(target=watch)
        watcher.start()
        mine = str(watcher.native_id)
        for _ in range(30):
            nondet_ext.sum(values)
            nondet_ext.fingerprint(values)
        over.set()
        watcher.join()
    assert seen - before <= {mine}


FORKED = """
import os, sys
import torch
import nondet_ext

torch.set_num_threads(3)
values = nondet_ext.philox_normal(1 << 22, seed=1)
expected = nondet_ext.sum(values)
child = os.fork()
if child == 0:
    torch.set_num_threads(3)
    os._exit(0 if torch.equal(nondet_ext.sum(values), expected) else 3)
_, status = os.waitpid(child, 0)
assert torch.equal(nondet_ext.sum(values), expected)
sys.exit(os.waitstatus_to_exitcode(status))
"""


def test_a_forked_child_computes_with_threads_of_its_own():
    done = subprocess.run([sys.executable, "-c", FORKED], timeout=120, check=False)
    assert done.returncode == 0


def test_calls_from_many_threads_at_once(values):
    expected = nondet_ext.fingerprint(nondet_ext.sum(values.view(-1, 1024), 0))

    def call(count: int) -> int:
        return nondet_ext.fingerprint(nondet_ext.sum(values.view(-1, 1024), 0))

    with threads_of_torch(3), ThreadPoolExecutor(4) as pool:
        assert set(pool.map(call, range(24))) == {expected}


def test_modes_of_threads_are_put_back(values):
    """torch lets its threads flush subnormal numbers; sums do not, and leave them flushing."""
    tiny = torch.full((LARGE,), 2.0**-140)
    zeros = torch.zeros(LARGE)
    with threads_of_torch(3):
        assert torch.set_flush_denormal(True)
        try:
            flushed = [torch.add(tiny, zeros)]
            assert nondet_ext.sum(tiny).item() == LARGE * 2.0**-140
            flushed.append(torch.add(tiny, zeros))
        finally:
            torch.set_flush_denormal(False)
    assert torch.equal(*(each.view(torch.int32) for each in flushed))


def test_in_a_hook_of_the_backward_pass(values):
    x = torch.ones(3, requires_grad=True)
    found = []
    x.register_hook(lambda gradient: found.append(nondet_ext.sum(values)))
    with threads_of_torch(3):
        (x * 2).sum().backward()
    assert torch.equal(found[0], nondet_ext.sum(values))
