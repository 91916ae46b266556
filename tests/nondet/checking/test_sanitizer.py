"""Test how compute-sanitizer is run, with programs of its name that stand in for it."""

import os
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from nondet.checking import sanitizer
from nondet.checking.sanitizer import Sanitized, main, sanitize

RUN_THE_REST = 'shift 2\nexec "$@"\n'


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """Return a function that puts a program named compute-sanitizer on PATH."""

    def write(script):
        path = tmp_path / "compute-sanitizer"
        path.write_text(f"#!/bin/sh\n{script}")
        path.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    return write


def test_without_the_tool_nothing_is_run(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert sanitize("cpu") == Sanitized("absent")


def test_the_small_check_runs_under_the_tool(tool, tmp_path):
    tool(f'echo "$@" > {tmp_path}/arguments\n{RUN_THE_REST}')
    found = sanitize("cpu", deadline=120)
    assert found.outcome == "passed", found.text
    assert found.text.endswith(" 0 wrong")
    words = (tmp_path / "arguments").read_text().split()
    assert words == [
        *("--error-exitcode", "99", sys.executable, "-m", "nondet.checking.sanitizer", "cpu")
    ]


def test_errors_of_the_tool_are_told(tool):
    tool("echo first\necho '========= Invalid __global__ read of size 4'\nexit 99\n")
    assert sanitize("cpu") == Sanitized(
        "errors", "first\n========= Invalid __global__ read of size 4"
    )


def test_a_check_that_fails_is_told(tool):
    tool("echo no device >&2\nexit 3\n")
    assert sanitize("cpu") == Sanitized("failed", "no device")


def test_a_tool_that_hangs_is_ended_with_its_children(tool, tmp_path):
    tool(f"sleep 1000 &\necho $! > {tmp_path}/child\nwait\n")
    assert sanitize("cpu", deadline=1) == Sanitized("stopped", "no end within 1 s")
    child = Path("/proc", (tmp_path / "child").read_text().strip(), "stat")
    with suppress(OSError):  # raised once the system has removed it
        while child.read_text().rpartition(")")[2].split()[0] != "Z":
            time.sleep(0.01)


def test_an_interrupt_ends_the_tool(tool, tmp_path, monkeypatch):
    tool(f"echo $$ > {tmp_path}/process\nsleep 1000\n")
    began = []

    def interrupted(self, *arguments, **named):
        if began:
            return original(self, *arguments, **named)
        began.append(self)
        raise KeyboardInterrupt

    original = sanitizer.subprocess.Popen.communicate
    monkeypatch.setattr(sanitizer.subprocess.Popen, "communicate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        sanitize("cpu")
    assert began[0].poll() is not None


def test_the_small_check_passes_on_the_cpu(capsys):
    assert main(["cpu"]) == 0
    assert " 0 wrong" in capsys.readouterr().out
