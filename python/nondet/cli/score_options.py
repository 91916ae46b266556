"""Options of commands that read scores."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from nondet.analysis.score_files.options import ReadOptions
    from nondet.report.document import Document

Score = Annotated[
    str | None,
    typer.Option(help="Column, metric or scorer to compare; by default the only one."),
]
Tasks = Annotated[
    list[str] | None,
    typer.Option("--task", help="Task to compare; may be repeated. All by default."),
]
Columns = Annotated[
    list[str] | None,
    typer.Option(
        "--column",
        metavar="ROLE=NAME",
        help="Name of the column of seed, run, task, example, cluster or label, if it is another "
        "one; may be repeated.",
    ),
]
PairBy = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN",
        help="Pair runs by this column, by position, or none; by default by seed, if every run has "
        "one of its own.",
    ),
]
By = Annotated[
    str | None,
    typer.Option(metavar="COLUMN", help="Column of --from that tells methods apart."),
]
Direction = Annotated[
    bool | None,
    typer.Option(
        "--lower-is-better/--higher-is-better", help="By default the name of the score decides."
    ),
]
Percent = Annotated[
    bool | None,
    typer.Option(
        "--percent/--no-percent",
        help="Scores are shares: show percent and points. By default name and values decide.",
    ),
]
Confidence = Annotated[float, typer.Option(help="Confidence of intervals and the verdict.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON (docs/comparing-results.md).")]
Out = Annotated[
    Path | None,
    typer.Option(help="Folder for report.html, report.md, tables and figures; not a study's."),
]


def read_options(
    score: str | None,
    tasks: list[str] | None,
    columns: list[str] | None,
    pair_by: str | None,
    lower_is_better: bool | None,
    percent: bool | None,
) -> "ReadOptions":
    """Return the options of readers. Raises ValueError for columns that are none."""
    from nondet.analysis.score_files.options import ReadOptions

    named = {}
    for text in columns or []:
        role, mark, column = text.partition("=")
        if not mark or not role or not column:
            raise ValueError(f"--column is {text!r}; it must be ROLE=NAME, such as seed=trial")
        named[role] = column
    return ReadOptions(
        score=score,
        tasks=tuple(tasks or ()),
        columns=named,
        pair_by=pair_by,
        higher_is_better=None if lower_is_better is None else not lower_is_better,
        percent=percent,
    )


def check_out(out: Path | None) -> None:
    """Raise ValueError if a file is in the way, or the report of a study would be overwritten."""
    if out is None:
        return
    for place in (out, *out.parents):
        if place.exists() and not place.is_dir():
            raise ValueError(f"--out is {out}, but {place} is a file; it must be a folder")
    if (out / "study.json").exists():
        raise ValueError(f"--out is {out}, the folder of a study, which has a report of its own")


def write_files(document: "Document", runs: str, out: Path | None) -> None:
    """Write the files of a report if there is a folder for them. Raises OSError if that fails."""
    if out is not None:
        from nondet.report.files import write_document

        out.mkdir(parents=True, exist_ok=True)
        write_document(document, runs, out)


def show_document(document: "Document", out: Path | None, as_json: str | None) -> None:
    """Print a report, or its JSON."""
    if as_json is not None:
        print(as_json)
        return
    from nondet.report.render.terminal import make_console, print_document

    files = f"Files: {out}/ (report.html, report.md, tables, figures)" if out is not None else ""
    print_document(document, make_console(), files or "--out DIR writes a page with a figure.")
