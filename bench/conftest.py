"""Options of a benchmark run, its result file, and the table at its end."""

import os
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from harness import Bench
from measured import Case, Results, write
from nondet.environment import describe_environment
from report import heading, table

CASES = pytest.StashKey[list[Case]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--smoke", action="store_true", help="tiny sizes, one round: does every benchmark run?"
    )
    parser.addoption("--out", metavar="FILE", type=Path, help="write the results as JSON")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Run benchmarks in a single process, even if the tests run in several."""
    return 0


@pytest.fixture
def bench(request: pytest.FixtureRequest) -> Bench:
    cases = request.config.stash.setdefault(CASES, [])
    return Bench(request.config.getoption("--smoke"), cases)


def environment(smoke: bool) -> dict[str, object]:
    """Return what a result file says of the machine, the versions and the time."""
    found = describe_environment("cpu")
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": found["processor"],
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "isa": found["nondet_ext"]["cpu_isa"],
        "compiler": found["nondet_ext"]["compiler"],
        "torch": found["packages"]["torch"],
        "numpy": found["packages"]["numpy"],
        "scipy": found["packages"]["scipy"],
        "python": found["python"],
        "platform": found["platform"],
        "threads": found["torch_threads"],
        "commit": (found["git"] or {}).get("commit"),
        "smoke": smoke,
        "processes": 1,
    }


def pytest_sessionstart(session: pytest.Session) -> None:
    session.config.stash[BEGIN] = time.perf_counter()


BEGIN = pytest.StashKey[float]()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    config = terminalreporter.config
    cases = config.stash.get(CASES, [])
    if not cases:
        return
    seconds = time.perf_counter() - config.stash[BEGIN]
    where = environment(config.getoption("--smoke")) | {"seconds": round(seconds)}
    results = Results(where, cases)
    out = config.getoption("--out")
    if out is not None:
        write(results, out)
    terminalreporter.write_line("")
    terminalreporter.write_line(heading(results))
    terminalreporter.write_line(table(results))
