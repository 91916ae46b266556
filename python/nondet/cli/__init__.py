"""The command `nondet`: one module per command or family of commands."""

from nondet.cli import inspect, resume, run, studies
from nondet.cli.app import app

__all__ = ["app", "inspect", "main", "resume", "run", "studies"]


def main() -> None:
    """Run the console script."""
    app()
