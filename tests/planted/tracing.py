"""Runs planted scripts under `nondet trace` and compares the traces."""

import os
import subprocess
import sys
from pathlib import Path

from nondet.tracing.compare.evidence import Verdict
from nondet.tracing.compare.traces import compare_traces
from planted.plan import Planted, Run

REPEATS = 20
"""Runs after which a script whose runs differ by themselves has failed, on any machine."""

_SECONDS = 600
_CLEAN = (
    *("ATEN_CPU_CAPABILITY", "MKL_ENABLE_INSTRUCTIONS", "OMP_NUM_THREADS", "PYTHONHASHSEED"),
    "MKL_NUM_THREADS",
)
"""Variables of the tests' own environment that would change what the scripts show."""


def trace(planted: Planted, run: Run, out: Path) -> str:
    """Record a run and return what the script printed."""
    command = [sys.executable, "-m", "nondet.cli", "trace", "--out", str(out), *planted.options]
    environment = {name: value for name, value in os.environ.items() if name not in _CLEAN}
    done = subprocess.run(
        [*command, "--", sys.executable, str(planted.path), *run.arguments],
        env=environment | dict(run.environment),
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "lacks a record" not in done.stderr, done.stderr
    return done.stdout


def compare(planted: Planted, folder: Path) -> tuple[Verdict, Verdict | None]:
    """Run a planted script and compare its runs: a with b, and a with a once more.

    A script whose runs differ by themselves runs until they do. For it, the second is None.
    """
    trace(planted, planted.a, folder / "a.trace")
    if not planted.repeats:
        trace(planted, planted.b, folder / "b.trace")
        trace(planted, planted.a, folder / "again.trace")
        again = compare_traces(folder / "a.trace", folder / "again.trace")
        return compare_traces(folder / "a.trace", folder / "b.trace"), again
    for number in range(REPEATS):
        trace(planted, planted.b, folder / f"b{number}.trace")
        verdict = compare_traces(folder / "a.trace", folder / f"b{number}.trace")
        if verdict.outcome != "equal":
            break
    return verdict, None


def lines_of(planted: Planted, verdict: Verdict) -> list[int]:
    """Return the numbers of the lines of the first differences, in the streams that count."""
    firsts = [
        each.evidence.first
        for each in verdict.streams
        if (each.explanations if planted.role == "" else planted.role == each.role)
    ]
    lines = [first.record.line for first in firsts if first is not None]
    return sorted({line.number for line in lines if line is not None})


def causes(verdict: Verdict) -> list[str]:
    """Return the ids of the causes that are named, in all streams, each once."""
    found = [each.cause for stream in verdict.streams for each in stream.explanations]
    return list(dict.fromkeys(found))
