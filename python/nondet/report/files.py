"""Writing a report as files: HTML, Markdown, CSV, LaTeX and figures."""

from pathlib import Path

from nondet.analysis.summary import Summary
from nondet.files import write_atomically
from nondet.report.document import Document
from nondet.report.render.drawing import render
from nondet.report.render.latex import latex_table
from nondet.report.render.markdown import markdown
from nondet.report.render.page import page
from nondet.report.render.table_csv import runs_csv, table_csv

MANIFEST = ".report"
"""The file that lists a report's files, so that the next report can remove stale ones."""


def write_report(document: Document, summary: Summary, folder: Path) -> list[Path]:
    """Write report.html, report.md, runs.csv (a line per run), every table as tables/*.csv and
    tables/*.tex, and every figure as figures/*.svg and figures/*.png; return their paths.

    Removes files of an earlier report that this one lacks. Raises ValueError if two tables or two
    figures have one name, and OSError if the folder cannot be written.
    """
    contents = _contents(document, summary)
    earlier = _read_manifest(folder)
    everything = sorted({*earlier, *contents})
    write_atomically(folder / MANIFEST, "".join(f"{name}\n" for name in everything))
    for name, data in contents.items():
        (folder / name).parent.mkdir(exist_ok=True)
        write_atomically(folder / name, data)
    for name in earlier:
        if name not in contents:
            (folder / name).unlink(missing_ok=True)
    write_atomically(folder / MANIFEST, "".join(f"{name}\n" for name in sorted(contents)))
    return [folder / name for name in contents]


def _contents(document: Document, summary: Summary) -> dict[str, str | bytes]:
    """Return the contents of all files by their paths inside the folder."""
    sections = document.all_sections
    tables = [table for section in sections for table in section.tables]
    figures = [figure for section in sections for figure in section.figures]
    for kind, names in (
        ("tables", [table.name for table in tables]),
        ("figures", [figure.name for figure in figures]),
    ):
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"two {kind} of the report are named {twice!r}")
    drawings = {figure.name: render(figure) for figure in figures}
    contents: dict[str, str | bytes] = {
        "report.html": page(document, drawings),
        "report.md": markdown(document),
        "runs.csv": runs_csv(summary),
    }
    for table in tables:
        contents[f"tables/{table.name}.csv"] = table_csv(table)
        contents[f"tables/{table.name}.tex"] = latex_table(table)
    for name, drawing in drawings.items():
        contents[f"figures/{name}.svg"] = drawing.svg
        contents[f"figures/{name}.png"] = drawing.png
    return contents


def _read_manifest(folder: Path) -> list[str]:
    """Return the files that the folder's manifest lists; none without a manifest."""
    try:
        names = (folder / MANIFEST).read_text().splitlines()
    except FileNotFoundError:
        return []
    own = {"report.html", "report.md", "runs.csv"}
    return [
        name
        for name in names
        if name in own or (Path(name).parent.as_posix() in ("tables", "figures"))
    ]
