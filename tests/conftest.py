"""What all tests share: hypothesis profiles, and the backends that one parametrization sends a test
through.
"""

import os

import hypothesis
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
