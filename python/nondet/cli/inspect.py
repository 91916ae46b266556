"""Commands that read a study's folder: report, verify, ls."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nondet.cli.app import app, fail

if TYPE_CHECKING:
    from rich.console import Console

    from nondet.store import Store


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="Folder of a study, as `nondet run` wrote it.")],
) -> None:
    """Print the table of a study, finished or not, and write its files again."""
    from nondet.report.render.terminal import make_console
    from nondet.store import Store

    show_report(Store(folder), make_console())


def show_report(store: "Store", console: "Console") -> None:
    """Print the report of a study and write its files."""
    from nondet.analysis.summary import summarize
    from nondet.report.build import build
    from nondet.report.files import write_report
    from nondet.report.render.terminal import print_document
    from nondet.store import StoreError

    try:
        summary = summarize(store.plan(), store)
        document = build(summary)
        paths = write_report(document, summary, store.root)
    except StoreError as error:
        fail(str(error))
    except OSError as error:
        fail(f"cannot write the report to {store.root}: {error.strerror or error}")
    names = ", ".join(sorted({path.relative_to(store.root).parts[0] for path in paths}))
    folder = f"Files: {store.root}/ ({names}; one folder per run in runs/)"
    print_document(document, console, folder)


@app.command()
def verify(
    folder: Annotated[
        Path, typer.Argument(help="Folder of a study, or of several, such as nondet-results.")
    ],
) -> None:
    """Check every stored file of a study, that it lies where it belongs, and that all runs are of
    one environment and of the same data.

    Prints a line per problem; exit status 1 if there is any. The folder may have been copied or
    moved, and a running study may be writing to it. It is only read.
    """
    from nondet import store

    problems = 0
    try:
        for study in store.find_studies(folder):
            found = store.verify(study)
            for line in (*found.problems, *found.notes):
                print(line)
            print(found.summary())
            problems += len(found.problems)
    except (store.StoreError, OSError) as error:
        fail(str(error))
    if problems:
        raise typer.Exit(1)


@app.command("ls")
def list_command(
    folder: Annotated[
        Path, typer.Argument(help="Folder of a study, or of several, such as nondet-results.")
    ],
) -> None:
    """List the stored runs of a study, row by row, or every study in a folder, a line each.

    Does not read predictions; `nondet verify` checks everything.
    """
    import sys

    from nondet import store
    from nondet.cli.tables import rows_table, studies_table
    from nondet.report.render.terminal import make_console

    try:
        studies = store.find_studies(folder)
        listings = [store.list_runs(store.Store(study)) for study in studies]
    except (store.StoreError, OSError) as error:
        fail(str(error))
    single = studies == [folder]
    names = [study.name for study in studies]
    make_console().print(rows_table(listings[0]) if single else studies_table(names, listings))
    for listing in listings:
        for text in listing.damaged:
            print(text, file=sys.stderr)
