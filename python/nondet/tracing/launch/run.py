"""Trace a command: make the folder, run the command, say what was recorded."""

import os
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import nondet
from nondet.tracing.format import write_command
from nondet.tracing.launch.command import CommandError, find_program, run_command
from nondet.tracing.launch.environment import traced_environment
from nondet.tracing.launch.inputs import describe_files
from nondet.tracing.launch.processes import MARKS, find_unseen, read_processes
from nondet.tracing.launch.summary import scan, summarize
from nondet.tracing.options import Options
from nondet.tracing.variables import describe_variables


def trace_command(arguments: Sequence[str], folder: Path, options: Options) -> int:
    """Run a command with the recorder in its Python processes; return its exit code.

    arguments: the command, with the name of the program first. folder: of the trace; it must not
    exist, or be empty. Prints a line about the trace to stderr at the end. Before anything runs,
    raises CommandError for a program that cannot be executed, ValueError for a folder that is in
    use, and OSError if it cannot be made.
    """
    program = find_program(arguments[0], os.environ)
    environment = traced_environment(os.environ, folder, options)
    made = not folder.exists()
    check_free(folder)
    command: dict[str, Any] = {
        "arguments": list(arguments),
        "cwd": os.getcwd(),  # noqa: PTH109
        "options": asdict(options),
        "environment": describe_variables(),
        "files": describe_files(arguments[1:], Path.cwd()),
        "nondet": nondet.__version__,
        "started": time.time(),
    }
    write_command(folder, command)
    (folder / MARKS).mkdir()
    began = time.monotonic()
    try:
        code = run_command(program, arguments, environment)
    except CommandError:
        shutil.rmtree(folder)
        if not made:
            folder.mkdir()
        raise
    command["seconds"] = round(time.monotonic() - began, 3)
    command["exit_code"] = code
    try:
        _finish(folder, command)
    except OSError as error:  # the command has done its work: its exit code counts
        reason = error.strerror or str(error)
        print(f"trace: the end of {folder} cannot be written: {reason}", file=sys.stderr)
    return code


def check_free(folder: Path) -> None:
    """Raise ValueError unless a trace can be made there: nothing is, or an empty folder."""
    if folder.is_dir():
        if any(folder.iterdir()):
            raise ValueError(f"--out is {folder}, which is not empty; a trace needs a new folder")
    elif folder.exists() or folder.is_symlink():
        raise ValueError(f"--out is {folder}, which is a file; a trace is a folder")


def _finish(folder: Path, command: dict[str, Any]) -> None:
    """Complete trace.json with what the processes said of themselves, and print a line."""
    processes = read_processes(folder)
    short = Path(command["arguments"][0]).name
    unseen = find_unseen(processes, short)
    command["processes"] = [{"role": each.role, "torch": each.torch} for each in processes]
    command["unseen"] = [each.__dict__ for each in unseen]
    write_command(folder, command)
    print(summarize(folder, scan(folder), unseen), file=sys.stderr)
