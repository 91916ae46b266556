"""A report as one HTML page that needs no other file, no request and no script."""

import re
from collections.abc import Mapping, Sequence
from functools import cache, partial

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from nondet.characters import printable
from nondet.report.document import Document, Figure, Table
from nondet.report.layout import groups, one_line
from nondet.report.render.drawing import Drawing, inline_svg

_PAGE = 520.0
"""The width of a printed page between its margins, in points: A4 without twice 12 mm, and a few."""

_BREAKABLE = re.compile(r"[0-9e]-[0-9]")
"""A hyphen after which a browser would break a line."""

_LARGEST = 8.0  # points, of the letters of a printed table
_LETTER, _PADDING = 0.62, 0.75
"""The widths of a letter and of a cell's padding, as multiples of the size of letters. Of common
sans-serif fonts DejaVu Sans has the widest digits: 0.636.
"""


def page(document: Document, drawings: Mapping[str, Drawing]) -> str:
    """Return the page. drawings: the drawing of every figure, by the figure's name."""

    def svg(figure: Figure, prefix: str) -> str:
        return inline_svg(drawings[figure.name].svg, prefix)

    titles = [section.title for section in document.all_sections]
    anchors = _anchors(titles)
    sections = list(zip(document.all_sections, anchors, strict=True))
    contents = list(zip(titles, anchors, strict=True))
    if any(section.findings for section in document.all_sections):
        contents.insert(0, ("What was found", "findings"))
    parts = ("settings", "commands", "environment")
    contents += [(name.capitalize(), name) for name in parts if getattr(document, name)]
    contents.append(("Files", "files"))
    return _template().render(document=document, sections=sections, contents=contents, svg=svg)


def print_size(table: Table) -> float:
    """Return the size of letters in points with which a table fits the width of an A4 page."""
    em = sum(_LETTER * _longest_word(table, number) for number in range(len(table.columns)))
    return min(_LARGEST, _PAGE / (em + _PADDING * len(table.columns)))


def whole_words(text: str) -> str | Markup:
    """Return a text in which no line ends within a range ("0.21-0.41)") or a number ("1e-05")."""
    if not _BREAKABLE.search(text):
        return text
    whole = Markup('<span class="whole">{}</span>')
    return Markup(" ").join(
        whole.format(word) if _BREAKABLE.search(word) else word for word in text.split(" ")
    )


def _longest_word(table: Table, number: int) -> int:
    column = table.columns[number]
    texts = [column.heading, column.unit, *(line.cells[number].text for line in table.lines)]
    return max((len(word) for text in texts for word in text.split()), default=0)


@cache
def _template() -> Template:
    """Return the page's template, compiled once."""
    environment = Environment(
        finalize=_finalized,
        loader=PackageLoader("nondet.report", "render"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"one_line": one_line, "whole_words": whole_words}
    environment.globals |= {
        "groups": groups,
        "pairs": partial(zip, strict=True),
        "print_size": print_size,
    }
    return environment.get_template("page.html")


def _finalized(value: object) -> object:
    """Return what is written for a value of the template: of a text, its printable characters."""
    return type(value)(printable(value, lines=True)) if isinstance(value, str) else value


def _anchors(titles: Sequence[str]) -> list[str]:
    """Return an id for each title: readable, and different from any other id of the page."""
    anchors = []
    for number, title in enumerate(titles, 1):
        words = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
        anchors.append(f"section-{number}-{words}".rstrip("-"))
    return anchors
