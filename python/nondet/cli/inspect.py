"""Commands that read a study's folder: report, verify, ls."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nondet.characters import printable
from nondet.cli.app import STUDY_GROUP, AsJson, app, fail
from nondet.names import VIEWS, check_view

if TYPE_CHECKING:
    from rich.console import Console

    from nondet.store import Store, Verification

Folder = Annotated[
    Path, typer.Argument(help="Folder of a study, or of several, such as nondet-results.")
]


@app.command(rich_help_panel=STUDY_GROUP)
def report(
    folder: Annotated[Path, typer.Argument(help="Folder of a study, as `nondet run` wrote it.")],
    view: Annotated[
        list[str] | None,
        typer.Option(
            help=f"Part of the report, in place of the study's own; repeatable: {', '.join(VIEWS)}."
        ),
    ] = None,
) -> None:
    """Print the table of a study, finished or not, and write its files again.

    Exit status 2 if the folder cannot be read, or, after the table, if the files cannot be written.
    """
    from nondet.report.render.terminal import make_console
    from nondet.store import Store

    views = tuple(dict.fromkeys(view or ()))
    for name in views:
        try:
            check_view(name)
        except ValueError as error:
            fail(f"--view: {error}")
    show_report(Store(folder), make_console(), views)


def show_report(store: "Store", console: "Console", views: tuple[str, ...] = ()) -> None:
    """Print the report of a study and write its files; print it also if they cannot be written.

    views: the parts of the report, those of the study if empty.
    """
    from nondet.analysis.summary import summarize
    from nondet.report.build import build
    from nondet.report.files import write_report
    from nondet.report.render.terminal import print_document
    from nondet.store import StoreError

    try:
        plan = store.plan()
        summary = summarize(replace(plan, views=views or plan.views), store)
    except StoreError as error:
        fail(str(error))
    document = build(summary)
    try:
        paths = write_report(document, summary, store.root)
    except OSError as error:
        print_document(document, console)
        reason = error.strerror or error
        fail(f"the report is printed, but its files cannot be written to {store.root}: {reason}")
    names = ", ".join(sorted({path.relative_to(store.root).parts[0] for path in paths}))
    folder = f"Files: {store.root}/ ({names}; one folder per run in runs/)"
    print_document(document, console, folder)


@app.command(rich_help_panel=STUDY_GROUP)
def verify(folder: Folder, as_json: AsJson = False) -> None:
    """Check every stored file of a study, that it lies where it belongs, and that all runs are of
    one environment and of the same data.

    Prints a line per problem; exit status 1 if there is any. The folder may have been copied or
    moved, and a running study may be writing to it. It is only read.
    """
    from nondet import store
    from nondet.cli.documents import verification_document

    found: list[Verification] = []
    for study in _studies(folder):
        try:
            found.append(store.verify(study))
        except (store.StoreError, OSError) as error:
            fail(str(error))
        if not as_json:
            lines = (*found[-1].problems, *found[-1].notes, found[-1].summary())
            print("\n".join(map(printable, lines)), flush=True)
    if as_json:
        print(verification_document(found))
    if any(each.problems for each in found):
        raise typer.Exit(1)


@app.command("ls", rich_help_panel=STUDY_GROUP)
def list_command(folder: Folder, as_json: AsJson = False) -> None:
    """List the stored runs of a study, row by row, or every study in a folder, a line each.

    Does not read predictions; `nondet verify` checks everything.
    """
    import sys

    from nondet import store
    from nondet.cli.documents import listing_document
    from nondet.cli.tables import print_rows, print_shards, print_studies
    from nondet.report.render.terminal import make_console

    studies = _studies(folder)
    try:
        listings = [store.list_runs(store.Store(study)) for study in studies]
    except (store.StoreError, OSError) as error:
        fail(str(error))
    if as_json:
        print(listing_document(studies, listings))
    elif studies == [folder]:
        print_rows(listings[0], make_console())
        print_shards("", listings[0], make_console())
    else:
        print_studies([study.name for study in studies], listings, make_console())
        for study, listing in zip(studies, listings, strict=True):
            print_shards(f"{study.name}, ", listing, make_console())
    for listing in listings:
        for text in listing.damaged:
            print(printable(text), file=sys.stderr)


def _studies(folder: Path) -> list[Path]:
    """Return the folders of the studies in a folder; end with an error if there are none."""
    from nondet import store

    try:
        return store.find_studies(folder)
    except (store.StoreError, OSError) as error:
        fail(str(error))
