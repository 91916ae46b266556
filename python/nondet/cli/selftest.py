"""The command `nondet selftest`."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nondet.cli.app import MACHINE_GROUP, AsJson, app, fail
from nondet.cli.score_options import check_out
from nondet.names import check_device

if TYPE_CHECKING:
    from nondet.checking.running import Findings

FOLDER = Path("nondet-selftest")


@app.command(rich_help_panel=MACHINE_GROUP)
def selftest(
    quick: Annotated[
        bool, typer.Option("--quick", help="Check float32 at few sizes: seconds, not a minute.")
    ] = False,
    device: Annotated[
        str | None,
        typer.Option(help="cpu or cuda; by default cuda if there is one that this build serves."),
    ] = None,
    memory: Annotated[
        str, typer.Option(metavar="BYTES", help="The most that checks take on the device.")
    ] = "2GiB",
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder for report.html and selftest.json.")
    ] = FOLDER,
    as_json: AsJson = False,
) -> None:
    """Check that this machine computes the specified bits, and measure how fast.

    Compares every op with permanent digests on each instruction set and number of threads, and a
    GPU with the CPU; repeats deterministic orders beside other work. Exit status: 0 if all bits are
    equal, 1 on any difference.
    """
    from nondet_ext.memory import parse_bytes

    try:
        check_out(out)
        _check_folder(out)
        limit = parse_bytes("--memory", memory)
        kind = _find_device(device)
    except (ValueError, OSError) as error:
        fail(str(error))
    found = _check(kind, quick, limit)
    _show(found, kind, out, as_json)
    if found.differences:
        raise typer.Exit(1)


def _find_device(name: str | None) -> str:
    """Return the device to check. Raises ValueError for one that is not there."""
    from nondet.checking.devices import missing_device

    if name is None:
        return "cpu" if missing_device("cuda") else "cuda"
    check_device(name)
    missing = missing_device(name)
    if missing:
        raise ValueError(f"--device is {name!r}, but {missing}; known here: cpu")
    return name


def _check_folder(out: Path) -> None:
    """Raise ValueError if files could not be written to a folder, before anything is computed."""
    first = next(each for each in (out, *out.absolute().parents) if each.exists())
    if not first.is_dir() or not os.access(first, os.W_OK):
        raise ValueError(f"--out is {out}, but {first} cannot be written to")


def _check(kind: str, quick: bool, limit: int) -> "Findings":
    """Return what the checks of a device find."""
    from nondet.checking.devices import cuda_device
    from nondet.checking.running import processor_ways, run_checks

    with _progress() as say:
        device = cuda_device() if kind == "cuda" else None
        return run_checks(processor_ways(quick), quick=quick, memory=limit, say=say, device=device)


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """Yield a function that shows what is being done, on a terminal alone."""
    from nondet.report.render.terminal import make_console

    console = make_console(stderr=True)
    if not console.is_terminal:
        yield lambda text: None
        return
    with console.status("") as status:
        yield status.update


def _show(found: "Findings", kind: str, out: Path, as_json: bool) -> None:
    """Print the report and write its files."""
    from nondet.checking.machine import describe_machine
    from nondet.files import write_atomically
    from nondet.report.checking.document import selftest_document
    from nondet.report.checking.records import parts_csv, selftest_json
    from nondet.report.files import write_document
    from nondet.report.render.terminal import make_console, print_document

    machine = describe_machine(kind)
    document = selftest_document(found, machine)
    record = selftest_json(found, machine)
    if as_json:
        print(record)
    else:
        files = f"Files: {out}/ (report.html, selftest.json, report.md, runs.csv, tables)"
        print_document(document, make_console(), files)
    sys.stdout.flush()
    out.mkdir(parents=True, exist_ok=True)
    write_document(document, parts_csv(found), out)
    write_atomically(out / "selftest.json", record + "\n")
