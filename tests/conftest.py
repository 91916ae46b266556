"""What all tests share: hypothesis profiles, and the backends that one parametrization sends a test
through.
"""

import os

import hypothesis

hypothesis.settings.register_profile(
    "default",
    deadline=None,
    derandomize=bool(os.environ.get("CI")),
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)
hypothesis.settings.load_profile("default")
