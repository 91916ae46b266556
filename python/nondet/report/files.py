"""Writing a report as files: HTML, Markdown, CSV, LaTeX and figures."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from nondet.files import write_atomically
from nondet.report.document import Document
from nondet.report.render.drawing import render
from nondet.report.render.latex import latex_table
from nondet.report.render.markdown import markdown
from nondet.report.render.page import page
from nondet.report.render.table_csv import runs_csv, table_csv
from nondet.store.report_files import (
    MANIFEST,
    digest_of,
    format_manifest,
    read_manifest,
    remove_report_file,
)

if TYPE_CHECKING:
    from nondet.analysis.summary import Summary


def write_report(document: Document, summary: "Summary", folder: Path) -> list[Path]:
    """Write the report of a study; see `write_document`."""
    return write_document(document, runs_csv(summary), folder)


def write_document(document: Document, runs: str, folder: Path) -> list[Path]:
    """Write report.html, report.md, runs.csv (`runs`, a line per run), every table as tables/*.csv
    and tables/*.tex, and every figure as figures/*.svg and figures/*.png; return their paths.

    Lists them with their SHA-256 in `MANIFEST`, and removes files of an earlier report that this
    one lacks. If the process is killed meanwhile, the list names every file that there may be.

    Raises ValueError if two tables or two figures have one name, or one that is no name of a file;
    OSError if the folder cannot be written.
    """
    contents = _contents(document, runs)
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}
    stale = _stale(folder, contents)
    write_atomically(folder / MANIFEST, format_manifest({**stale, **digests}))
    for name, data in contents.items():
        (folder / name).parent.mkdir(exist_ok=True)
        write_atomically(folder / name, data)
    for name in stale:
        remove_report_file(folder, name)
    write_atomically(folder / MANIFEST, format_manifest(digests))
    return [folder / name for name in contents]


def _stale(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Return the SHA-256, by path, of the files of an earlier report that are not among `names`.

    A list that is damaged names none.
    """
    try:
        earlier = read_manifest(folder)
    except (OSError, ValueError):
        return {}
    stale = {}
    for name in set(earlier) - set(names):
        try:
            stale[name] = earlier[name] or digest_of(folder / name)
        except OSError:
            continue  # removed, or nothing that a report wrote
    return stale


def _contents(document: Document, runs: str) -> dict[str, bytes]:
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
        "runs.csv": runs,
    }
    for table in tables:
        contents[f"tables/{table.name}.csv"] = table_csv(table)
        contents[f"tables/{table.name}.tex"] = latex_table(table, document.warning)
    for name, drawing in drawings.items():
        contents[f"figures/{name}.svg"] = drawing.svg
        contents[f"figures/{name}.png"] = drawing.png
    return {
        path: data.encode() if isinstance(data, str) else data for path, data in contents.items()
    }
