"""A report as one HTML page that needs nothing beside it: no request, no script."""

import re
from collections.abc import Iterable, Iterator, Mapping
from html import escape
from importlib.resources import files

from nondet.report.document import Column, Document, Figure, Line, Section, Table
from nondet.report.layout import groups, one_line
from nondet.report.render.drawing import Drawing, inline_svg

# The browser itself refuses whatever would leave the page.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def page(document: Document, drawings: Mapping[str, Drawing]) -> str:
    """The page. drawings: of every figure, by its name."""
    title = escape(document.title)
    style = files("nondet.report.render").joinpath("page.css").read_text()
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<main class="page">
{"".join(f"{part}{chr(10)}" for part in _body(document, drawings))}</main>
</body>
</html>
"""


def _body(document: Document, drawings: Mapping[str, Drawing]) -> Iterator[str]:
    yield f"<header>\n<h1>{escape(document.title)}</h1>"
    if document.subtitle:
        yield f'<p class="lead">{escape(document.subtitle)}</p>'
    if document.source:
        yield f'<p class="source">Source: {escape(document.source)}</p>'
    yield "</header>"
    sections = document.all_sections
    anchors = _anchors([section.title for section in sections])
    yield from _summary(document, anchors)
    for number, section in enumerate(sections):
        alone = len(sections) == 1
        yield from _section(section, anchors[number], number, drawings, findings_above=alone)
    yield from _made(document)


def _summary(document: Document, anchors: list[str]) -> Iterator[str]:
    """Where to read on, what was found, and what to know of it."""
    sections = document.all_sections
    several = len(sections) > 1
    if several:
        links = _items(
            _link(section, anchor) for section, anchor in zip(sections, anchors, strict=True)
        )
        yield f'<nav aria-label="Sections"><ul>{links}</ul></nav>'
    if any(section.findings for section in sections):
        yield '<section aria-labelledby="findings">\n<h2 id="findings">What was found</h2>'
        for section, anchor in zip(sections, anchors, strict=True):
            if section.findings:
                if several:
                    yield f'<p class="place">{_link(section, anchor)}</p>'
                yield _findings(section, "findings headline")
        yield "</section>"
    if document.notes:
        notes = _items(escape(note) for note in document.notes)
        yield f'<aside class="notes" aria-label="Notes"><ul>{notes}</ul></aside>'


def _link(section: Section, anchor: str) -> str:
    return f'<a href="#{anchor}">{escape(section.title)}</a>'


def _findings(section: Section, style: str = "findings") -> str:
    items = _items(escape(finding) for finding in section.findings)
    return f'<ul class="{style}">{items}</ul>'


def _section(
    section: Section,
    anchor: str,
    number: int,
    drawings: Mapping[str, Drawing],
    findings_above: bool,
) -> Iterator[str]:
    yield f'<section aria-labelledby="{anchor}">\n<h2 id="{anchor}">{escape(section.title)}</h2>'
    if section.findings and not findings_above:
        yield _findings(section)
    for text in section.text:
        yield f"<p>{escape(text)}</p>"
    for place, figure in enumerate(section.figures):
        yield _figure(figure, drawings[figure.name], f"figure{number}-{place}")
    for table in section.tables:
        yield from _table(table, titled=table.title != section.title)
    yield "</section>"


def _figure(figure: Figure, drawing: Drawing, name: str) -> str:
    return (
        f'<figure role="group" aria-labelledby="{name}">\n'
        f'<div class="drawing" tabindex="0" role="img" aria-label="{escape(figure.title)}" '
        f'aria-describedby="{name}">{inline_svg(drawing.svg, name)}</div>\n'
        f'<figcaption id="{name}"><b>{escape(figure.title)}</b> {escape(figure.caption)}'
        "</figcaption>\n</figure>"
    )


def _table(table: Table, titled: bool) -> Iterator[str]:
    """A table under its title; one of details opens on demand."""
    title = f"<h3>{escape(table.title)}</h3>"
    if table.detail:
        yield f'<details class="detail"><summary>{title}</summary>'
    elif titled:
        yield title
    heads = "".join(_head(column) for column in table.columns)
    label = escape(table.title)
    yield f'<div class="scroll" tabindex="0" role="region" aria-label="{label}">\n<table>'
    yield f"<thead><tr>{heads}</tr></thead>"
    for group, lines in groups(table):
        yield "<tbody>"
        if group:
            head = f'<th colspan="{len(table.columns)}" scope="rowgroup">{escape(group)}</th>'
            yield f'<tr class="group">{head}</tr>'
        for line in lines:
            yield _line(table, line)
        yield "</tbody>"
    yield "</table>\n</div>"
    if table.note:
        yield f'<p class="note">{escape(table.note)}</p>'
    if table.seeds:
        yield _seeds(table)
    if table.detail:
        yield "</details>"


def _head(column: Column) -> str:
    unit = f' <span class="unit">{escape(column.unit)}</span>' if column.unit else ""
    return f'<th scope="col"{_class(column)}>{escape(column.heading)}{unit}</th>'


def _line(table: Table, line: Line) -> str:
    cells = []
    for number, (column, cell) in enumerate(zip(table.columns, line.cells, strict=True)):
        text = escape(one_line(cell.text))
        title = f' title="{escape(str(cell.value))}"' if isinstance(cell.value, float) else ""
        if number == 0:
            title = f' title="seeds: {escape(line.seeds)}"' if line.seeds else ""
            cells.append(f'<th scope="row"{_class(column)}{title}>{text}</th>')
        elif column.bar and cell.value is not None:
            style = f' style="--part: {100 * table.share(line, number):.1f}%"'
            cells.append(f"<td{_class(column, 'bar')}{style}{title}>{text}</td>")
        else:
            cells.append(f"<td{_class(column)}{title}>{text}</td>")
    strong = ' class="strong"' if line.strong else ""
    return f"<tr{strong}>{''.join(cells)}</tr>"


def _class(column: Column, *names: str) -> str:
    every = (*names, "right") if column.align != "left" else names
    return f' class="{" ".join(every)}"' if every else ""


def _seeds(table: Table) -> str:
    """The seeds behind every line, shown on demand."""
    pairs = "".join(
        f"<dt>{escape(': '.join(filter(None, (line.group, one_line(line.cells[0].text)))))}</dt>"
        f"<dd>{escape(line.seeds)}</dd>"
        for line in table.lines
        if line.seeds
    )
    return f"<details><summary>Seeds behind every line</summary><dl>{pairs}</dl></details>"


def _made(document: Document) -> Iterator[str]:
    """Settings and environment."""
    if document.settings:
        items = _items(_setting(line) for line in document.settings)
        yield '<section aria-labelledby="settings">\n<h2 id="settings">Settings</h2>'
        yield f'<ul class="settings">{items}</ul>\n</section>'
    if document.environment:
        pairs = "".join(
            f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>"
            for name, value in document.environment
        )
        yield '<section aria-labelledby="environment">\n<h2 id="environment">Environment</h2>'
        yield f"<dl>{pairs}</dl>\n</section>"


def _setting(line: str) -> str:
    """Whose settings they are stands out."""
    owner, colon, values = line.partition(": ")
    return f"<b>{escape(owner)}</b>{colon}{escape(values)}" if colon else escape(line)


def _items(contents: Iterable[str]) -> str:
    return "".join(f"<li>{one}</li>" for one in contents)


def _anchors(titles: list[str]) -> list[str]:
    """An id for every section, readable and unlike any other of the page."""
    found = []
    for number, title in enumerate(titles, 1):
        words = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
        found.append(f"section-{number}-{words}".rstrip("-"))
    return found
