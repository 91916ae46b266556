"""Commands that look at the folder of a study."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nondet.cli.app import app, fail

if TYPE_CHECKING:
    from rich.console import Console

    from nondet.store import Store
    from nondet.study import Plan


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="Folder of a study, as `nondet run` wrote it.")],
) -> None:
    """Print the table of a study that was run, finished or not, and write its files again."""
    from nondet.report.terminal import make_console
    from nondet.store import Store, StoreError

    store = Store(folder)
    try:
        plan = store.plan()
    except StoreError as error:
        fail(str(error))
    show_report(plan, store, make_console())


def show_report(plan: "Plan", store: "Store", console: "Console") -> None:
    from nondet.report.files import write_report
    from nondet.report.summary import summarize
    from nondet.report.terminal import print_report
    from nondet.store import StoreError

    try:
        summary = summarize(plan, store)
        paths = write_report(summary, store.root)
    except StoreError as error:
        fail(str(error))
    except OSError as error:
        fail(f"cannot write the report to {store.root}: {error.strerror or error}")
    names = ", ".join(path.name for path in paths)
    folder = f"Files: {store.root}/ ({names}; one folder per run in runs/)"
    print_report(summary, console, folder)
