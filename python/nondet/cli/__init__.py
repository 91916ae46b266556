"""The command `nondet`: one module per command or family of commands."""

from nondet.cli import diff, ending, inspect, resume, run, studies, tracing
from nondet.cli.app import app

__all__ = ["app", "diff", "ending", "inspect", "main", "resume", "run", "studies", "tracing"]


def main() -> None:
    """Run the console script."""
    ending.run_to_end(app)
