"""The command `nondet`: one module per command or family of commands."""

from nondet.cli import (
    comparing,
    diff,
    ending,
    inspect,
    planning,
    resume,
    run,
    selftest,
    studies,
    tracing,
)
from nondet.cli.app import app

__all__ = [
    "app",
    "comparing",
    "diff",
    "ending",
    "inspect",
    "main",
    "planning",
    "resume",
    "run",
    "selftest",
    "studies",
    "tracing",
]


def main() -> None:
    """Run the console script."""
    ending.run_to_end(app)
