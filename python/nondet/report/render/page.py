"""A report as one HTML page that needs no other file, no request and no script."""

import re
from collections.abc import Mapping, Sequence
from functools import cache, partial

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from nondet.characters import printable
from nondet.report.document import Document, Figure
from nondet.report.layout import groups, one_line
from nondet.report.render.drawing import Drawing, inline_svg


def page(document: Document, drawings: Mapping[str, Drawing]) -> str:
    """Return the page. drawings: the drawing of every figure, by the figure's name."""

    def svg(figure: Figure, prefix: str) -> str:
        return inline_svg(drawings[figure.name].svg, prefix)

    sections = document.all_sections
    anchors = _anchors([section.title for section in sections])
    return _template().render(
        document=document, sections=list(zip(sections, anchors, strict=True)), svg=svg
    )


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
    environment.filters["one_line"] = one_line
    environment.globals |= {"groups": groups, "pairs": partial(zip, strict=True)}
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
