"""The root of the command, and its errors."""

import sys
from typing import NoReturn

import typer

app = typer.Typer(
    help="Measure how far each source of nondeterminism spreads the results of training.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def _root() -> None:
    pass


def fail(message: str) -> NoReturn:
    """Print an error and end the command with exit status 2."""
    print(f"error: {message}", file=sys.stderr)
    raise typer.Exit(2)
