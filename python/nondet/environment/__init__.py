"""The environment in which a run is computed: its description, and what of it decides the bits of a
result.
"""

from nondet.environment.comparison import (
    decisive,
    differences,
    mixture,
    short_digest,
    with_current_names,
)
from nondet.environment.describe import PACKAGES, describe_environment
from nondet.environment.git import describe_git

__all__ = [
    "PACKAGES",
    "decisive",
    "describe_environment",
    "describe_git",
    "differences",
    "mixture",
    "short_digest",
    "with_current_names",
]
