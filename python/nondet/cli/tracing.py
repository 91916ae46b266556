"""The command `nondet trace`."""

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from nondet.cli.app import TRACE_GROUP, app, fail, parse_choice


class LevelName(StrEnum):
    """What is recorded of a run."""

    ops = "ops"
    modules = "modules"


def parse_level(text: str) -> LevelName:
    """Return the level of that name. Raises typer.BadParameter."""
    return parse_choice(LevelName, text)


def parse_steps(text: str) -> tuple[int, int]:
    """Return the first and last step of "100:110". Raises ValueError."""
    found = re.fullmatch(r"(\d{1,18}):(\d{1,18})", text, re.ASCII)
    if found is None or int(found[1]) > int(found[2]):
        raise ValueError(f"--steps is {text!r}; it must be FIRST:LAST, such as 100:110")
    return int(found[1]), int(found[2])


@app.command(
    rich_help_panel=TRACE_GROUP,
    context_settings={"allow_interspersed_args": False},
)
def trace(
    command: Annotated[
        list[str],
        typer.Argument(
            metavar="COMMAND", help="What to run, as `python train.py --lr 0.1`, unedited."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the trace, a new one.")],
    level: Annotated[
        LevelName,
        typer.Option(
            parser=parse_level,
            metavar="|".join(LevelName),
            help="ops: every operation; modules: outputs of modules and their gradients.",
        ),
    ] = LevelName.ops,
    steps: Annotated[
        str | None,
        typer.Option(
            metavar="FIRST:LAST", help="Steps to record, both ends included; all by default."
        ),
    ] = None,
    every: Annotated[
        int, typer.Option(help="Record each step whose number is a multiple of this.")
    ] = 1,
    keep_values: Annotated[
        str,
        typer.Option(
            metavar="SELECTION",
            help="Tensors to keep whole: patterns of operations, modules, file.py:LINE, "
            "NAME@file.py:LINE or STEP#INDEX, separated by commas.",
        ),
    ] = "",
    verify_inputs: Annotated[
        bool,
        typer.Option(
            "--verify-inputs",
            help="Hash every tensor that is read: finds writes that no operation of torch made.",
        ),
    ] = False,
    eager: Annotated[
        bool,
        typer.Option(
            "--eager", help="Run compiled code uncompiled, to see inside; its bits may differ."
        ),
    ] = False,
) -> None:
    """Run a command and record what torch does in it, to compare with another run.

    Every Python process that the command starts and that imports torch is recorded: ranks, loader
    workers, spawned and forked ones. The bits that the command computes, its output and its exit
    code are those that it has without this. Put `--` in front of the command.
    """
    from nondet.tracing.launch.command import CommandError
    from nondet.tracing.launch.run import trace_command
    from nondet.tracing.options import Options

    try:
        if every < 1:
            raise ValueError(f"--every is {every}; it must be at least 1")
        options = Options(
            level=level.value,
            steps=None if steps is None else parse_steps(steps),
            every=every,
            keep_values=keep_values,
            verify_inputs=verify_inputs,
            eager=eager,
        )
        code = trace_command(command, out, options)
    except CommandError as error:
        typer.echo(f"error: {error}", err=True)
        code = error.exit_code
    except ValueError as error:
        fail(str(error))
    except OSError as error:
        fail(f"cannot write the trace to {out}: {error.strerror or error}")
    raise typer.Exit(code)
