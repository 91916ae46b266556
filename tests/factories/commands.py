"""A runner of the command line in this process, and the arguments of a small study."""

from typer.testing import CliRunner

from nondet.cli import app

SMALL = [
    "run",
    "quick",
    "--model",
    "linear",
    "--epochs",
    "2",
    "--set",
    "warmup_epochs=1",
    "--runs",
    "2",
    "--executor",
    "serial",
]


def nondet(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])
