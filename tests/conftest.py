"""Settings of all tests: hypothesis profiles, and the order in which files start."""

import os
from collections import Counter

import hypothesis
import pytest
import torch

hypothesis.settings.register_profile(
    "default",
    deadline=None,
    derandomize=bool(os.environ.get("CI")),
    suppress_health_check=[
        hypothesis.HealthCheck.function_scoped_fixture,
        hypothesis.HealthCheck.too_slow,  # by the clock, which other processes delay
    ],
)
hypothesis.settings.load_profile("default")

# Commands are as wide as they say, whoever runs the tests; xdist sets it for its processes.
os.environ.pop("COLUMNS", None)

# Test processes side by side share the cores: torch's threads would wait for each other.
if "PYTEST_XDIST_WORKER" in os.environ:
    processes = int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    torch.set_num_threads(max((os.cpu_count() or 1) // processes, 1))


# Checks of the emulation that build kernels anew and run them ten times as long as `emulated`.
SLOW_BACKENDS = {"race", "ptx"}


@pytest.hookimpl(trylast=True)
def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark the tests on `SLOW_BACKENDS` as slow."""
    parameters = getattr(item, "callspec", None)
    if parameters is not None and parameters.params.get("backend") in SLOW_BACKENDS:
        item.add_marker("slow")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start the files marked `early` first, then those with most tests.

    A file runs in one process; a long one that starts last would leave the other processes idle.
    """
    if "PYTEST_XDIST_WORKER" in os.environ:
        tests = Counter(item.path for item in items)
        early = {item.path for item in items if item.get_closest_marker("early")}
        items.sort(key=lambda item: (item.path not in early, -tests[item.path], str(item.path)))
