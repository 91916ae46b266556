"""A report as Markdown, with its figures as files beside it."""

import re
from collections.abc import Iterable, Iterator

from nondet.report.document import Document, Section, Table
from nondet.report.layout import one_line

_SPECIAL = re.compile(r"([\\`*<>\[\]|#~]|\b_|_\b)")


def markdown(document: Document) -> str:
    """Return the report as Markdown: findings, the sections' figures and tables, settings."""
    lines = [f"**{_escape(document.warning)}**", ""] if document.warning else []
    lines += [f"# {_escape(document.title)}", ""]
    for text in (document.subtitle, document.source and f"Source: {document.source}"):
        if text:
            lines += [_escape(text), ""]
    lines += _bullets([finding for section in document.sections for finding in section.findings])
    lines += _bullets(document.notes, strong=True)
    for section in document.all_sections:
        lines += _section(section)
    if document.settings:
        lines += ["## Settings", "", *_bullets(document.settings)]
    if document.commands:
        commands = [f"{command} ({when})" for command, when in document.commands]
        lines += ["## Commands", "", *_bullets(commands)]
    if document.environment:
        pairs = [f"{name}: {value}" for name, value in document.environment]
        lines += ["## Environment", "", *_bullets(pairs)]
    return "\n".join(lines).rstrip("\n") + "\n"


def markdown_table(table: Table) -> str:
    """Return one table; groups become its first column."""
    heads = [table.grouping] if table.grouped else []
    heads += [column.label for column in table.columns]
    rules = ["---"] if table.grouped else []
    rules += ["---" if column.align == "left" else "---:" for column in table.columns]
    rows = []
    for line in table.lines:
        cells = [_escape(cell.text) for cell in line.cells]
        if line.strong:
            cells = [f"**{text}**" if text else text for text in cells]
        rows.append([_escape(line.group), *cells] if table.grouped else cells)
    return "\n".join(
        f"| {' | '.join(row)} |" for row in ([_escape(head) for head in heads], rules, *rows)
    )


def _section(section: Section) -> Iterator[str]:
    yield from (f"## {_escape(section.title)}", "")
    for text in section.text:
        yield from (_escape(text), "")
    for figure in section.figures:
        caption = _escape(figure.caption)
        yield from (f"![{_escape(figure.title)}](figures/{figure.name}.svg)", "", caption, "")
    for table in section.tables:
        if table.title != section.title:
            yield from (f"**{_escape(table.title)}**", "")
        yield from (markdown_table(table), "")
        if table.note:
            yield from (_escape(table.note), "")


def _bullets(sentences: Iterable[str], strong: bool = False) -> list[str]:
    mark = "**" if strong else ""
    lines = [f"- {mark}{_escape(sentence)}{mark}" for sentence in sentences]
    return [*lines, ""] if lines else []


def _escape(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", one_line(text))
