"""Test the host side of the emulation, its independence of the surrounding process, and its
build.
"""

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from . import build, cache
from .reports import EmulationError, expect_no_reports
from .sample_kernels import (
    TREE_DEFECTS,
    atomic_sum,
    call,
    mixed_magnitudes,
    module,
    tree_sum,
    tree_sum_naive,
)

X = mixed_magnitudes(1003, np.float32)

pytestmark = pytest.mark.skipif(
    build.missing("plain") is not None, reason=str(build.missing("plain"))
)


@pytest.mark.slow
def test_variants_are_different_modules():
    modules = [module(v) for v in build.VARIANTS if build.missing(v) is None]
    abilities = [(m.emulation.ACCESSES_OBSERVED, m.emulation.TRANSLATED) for m in modules]
    assert abilities == [(False, False), (True, False), (False, True)][: len(modules)]


@pytest.mark.parametrize("blocks", [0, -1])
def test_a_launch_that_cuda_refuses_is_refused(blocks):
    emulated = module("plain")
    with pytest.raises(
        RuntimeError, match="atomic_sum: CUDA error: invalid configuration argument"
    ):
        atomic_sum(emulated, X, blocks=blocks)
    assert tree_sum(emulated, X).result == tree_sum_naive(X)


def test_an_aborted_launch_fails_and_the_next_one_works():
    emulated = module("plain")
    emulated.emulation.configure(0, event_budget=10)
    outcome = tree_sum(emulated, X)
    assert outcome.aborted
    assert [r.kind for r in outcome.reports] == ["no-progress"]
    emulated.emulation.configure(0)
    assert tree_sum(emulated, X).result == tree_sum_naive(X)


def test_reports_fail_a_test():
    emulated = module("race")
    emulated.emulation.configure(1)
    expect_no_reports(emulated)
    partial, done, out = (np.zeros(2, t) for t in (np.float32, np.uint32, np.float32))
    defect = TREE_DEFECTS.index("no fence")
    call(emulated, "tree_sum_float", defect, X, X.size, 2, partial, done, out)
    with pytest.raises(EmulationError, match=r"(?s)race: global: .* 2 .*tree_sum\.cu:\d+: partial"):
        expect_no_reports(emulated)
    expect_no_reports(emulated)


def test_the_flush_mode_of_the_host_does_not_reach_the_device():
    x = (X * np.float32(2.0**-135)).astype(np.float32)
    assert np.count_nonzero(np.abs(x) < np.finfo(np.float32).tiny) > 100
    expected = tree_sum_naive(x)
    try:
        torch.set_flush_denormal(True)
        result = tree_sum(module("plain"), x).result
        still_flushing = (torch.tensor([2.0**-130], dtype=torch.float32) + 0).item() == 0.0
    finally:
        torch.set_flush_denormal(False)
    assert result == expected
    assert still_flushing, "the launch must leave the host's mode as it was"


def test_a_launch_lets_other_threads_run():
    launchers = build.load("plain")
    launchers.emulation.configure(0)
    x = np.zeros(20_000, np.float32)
    out = np.empty_like(x)
    go, ran = threading.Event(), []
    other = threading.Thread(target=lambda: (go.wait(), ran.append(True)))
    before = sys.getswitchinterval()
    sys.setswitchinterval(1000)  # a thread gives way only where it releases the lock itself
    try:
        other.start()
        go.set()
        for _ in range(500):
            launchers.neighbor(
                dtype=1, x=x.ctypes.data, out=out.ctypes.data, n=x.size, up=True, stream=0
            )
            if ran:
                break
        waited_in_vain = not ran
    finally:
        sys.setswitchinterval(before)
        other.join()
    assert not waited_in_vain


@pytest.mark.parametrize(
    ("driver", "wanted"),
    [
        (0, "is missing. Install a driver for CUDA 13 (R580 or later)"),
        (12_080, "knows CUDA 12.8 at most. Install a driver for CUDA 13 (R580 or later)"),
        (13_000, None),
        (14_010, None),
    ],
)
def test_a_driver_too_old_is_told_before_the_first_launch(driver, wanted):
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import numpy as np\n"
        "from emulation import build\n"
        "launchers = build.load('plain')\n"
        "launchers.emulation.set_driver(int(sys.argv[2]))\n"
        "x = np.zeros(40, np.float32)\n"
        "work = np.full(40_000, 7, np.uint8)\n"
        "at = dict(out=x.ctypes.data, stream=0)\n"
        "try:\n"
        "    launchers.neighbor(dtype=1, x=x.ctypes.data, n=40, up=True, **at)\n"
        "except RuntimeError as error:\n"
        "    print(error)\n"
        "try:\n"
        "    launchers.dot(dtype=1, a=x.ctypes.data, b=x.ctypes.data, n=1, order=1,\n"
        "                  key=[0, 0, 0, 0], workspace=work.ctypes.data, **at)\n"
        "except RuntimeError as error:\n"
        "    print(error)\n"
        "print(x.any() or (work != 7).any(), launchers.emulation.take_counters()['launches'] > 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(build.HERE.parent), str(driver)],
        capture_output=True,
        text=True,
        check=True,
    )
    *errors, ran = done.stdout.splitlines()
    assert ran == ("True True" if wanted is None else "False False")
    assert len(errors) == (0 if wanted is None else 2)
    assert all(
        each.startswith(f"nondet_ext was built with CUDA 13.0, and the NVIDIA driver here {wanted}")
        for each in errors
    )


def test_what_ran_is_counted():
    emulated = module("race")
    emulated.emulation.configure(0)
    emulated.emulation.take_counters()
    tree_sum(emulated, X, blocks=4)
    counts = emulated.emulation.take_counters()
    levels = 7  # of a tree of 128
    one_tree = 1 + levels
    assert counts["launches"] == 1
    assert counts["threads"] == 4 * 128
    assert counts["barriers"] == 4 * (one_tree + 1) + 1 + one_tree
    assert counts["atomics"] == 4
    assert counts["collectives"] == 0
    assert counts["accesses"] > X.size


def test_the_portable_context_switch_runs_the_same_schedules():
    emulated = module("portable")
    for seed in range(20):
        outcomes = []
        for each in (emulated, module("plain")):
            each.emulation.configure(seed)
            each.emulation.take_counters()
            outcomes.append(
                (tree_sum(each, X, defect="no barrier in tree"), each.emulation.take_counters())
            )
        assert outcomes[0] == outcomes[1]


def test_two_processes_build_at_once(tmp_path):
    source = tmp_path / "unit.cpp"
    source.write_text("int answer() { return 42; }\n")
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path\n"
        "from emulation import build\n"
        "print(build.compile_unit(build.Unit(Path(sys.argv[2]))))\n"
    )
    command = [sys.executable, "-c", code, str(build.HERE.parent), str(source)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    printed = {process.communicate()[0].strip() for process in running}
    assert [process.returncode for process in running] == [0, 0]
    assert len(printed) == 1
    assert Path(printed.pop()).is_file()


def test_a_header_that_changes_causes_a_new_build(tmp_path):
    (tmp_path / "value.h").write_text("#define VALUE 1\n")
    source = tmp_path / "unit.cpp"
    source.write_text('#include "value.h"\nint value() { return VALUE; }\n')
    unit = build.Unit(source)
    first = build.compile_unit(unit)
    assert build.compile_unit(unit) == first
    (tmp_path / "value.h").write_text("#define VALUE 2\n")
    second = build.compile_unit(unit)
    assert second != first
    assert second.read_bytes() != first.read_bytes()
    (tmp_path / "value.h").write_text("#define VALUE 1\n")
    assert build.compile_unit(unit) == first
    source.write_text("an error\n")
    with pytest.raises(cache.BuildError, match="an error"):
        build.compile_unit(unit)


def test_an_unknown_variant_is_refused():
    with pytest.raises(
        ValueError, match="variant: got 'fast', expected one of plain, race, ptx, portable"
    ):
        build.load("fast")
