"""What all tests share: hypothesis profiles, and the backends that one parametrization sends a test
through.
"""

import os
from collections import Counter

import hypothesis
import pytest
import torch

hypothesis.settings.register_profile(
    "default",
    deadline=None,
    derandomize=bool(os.environ.get("CI")),
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)
hypothesis.settings.load_profile("default")

# Test processes side by side share the cores: torch's threads would wait for each other.
if "PYTEST_XDIST_WORKER" in os.environ:
    processes = int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    torch.set_num_threads(max((os.cpu_count() or 1) // processes, 1))

# A file runs in one process, and the first to need the emulated kernels builds them, with all
# processors; meanwhile the others run what needs none and waits a lot.
FIRST = ("test_quick.py", "test_philox.py", "test_ray.py", "test_sass.py", "test_defects.py")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take long come first, the others by their number of tests, so that no process is
    left alone with a long one in the end.
    """
    if "PYTEST_XDIST_WORKER" in os.environ:
        tests = Counter(item.path for item in items)
        places = {name: place for place, name in enumerate(FIRST)}
        items.sort(
            key=lambda item: (
                places.get(item.path.name, len(FIRST)),
                -tests[item.path],
                str(item.path),
            )
        )
