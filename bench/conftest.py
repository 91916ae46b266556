"""Options of a benchmark run, and the table at its end."""

import pytest
import torch

import nondet_ext
from harness import bench as bench
from nondet.environment import describe_environment
from report import rows_of, table


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--smoke", action="store_true", help="tiny sizes, one round: does every benchmark run?"
    )


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Run benchmarks in a single process, even if the tests run in several."""
    return 0


def pytest_sessionstart(session: pytest.Session) -> None:
    session = getattr(session.config, "_benchmarksession", None)
    if session is not None:
        session.quiet = True  # only the table below is printed


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    session = getattr(terminalreporter.config, "_benchmarksession", None)
    measured = [each for each in session.benchmarks if each] if session else []
    if not measured:
        return
    info = nondet_ext.build_info()
    terminalreporter.write_line("")
    terminalreporter.write_line(
        f"{describe_environment('cpu')['processor']}, {torch.get_num_threads()} threads, "
        f"{info['cpu_isa']} kernels, {info['compiler']}, torch {torch.__version__}"
    )
    if terminalreporter.config.getoption("--smoke"):
        terminalreporter.write_line("A smoke run: these numbers mean nothing.")
    terminalreporter.write_line(table(rows_of([each.as_dict() for each in measured])))
