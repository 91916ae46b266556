"""A table as LaTeX, to be \\input into a document that uses booktabs and graphicx."""

import re
from collections.abc import Sequence
from dataclasses import replace

from nondet.report.document import Cell, Line, Table
from nondet.report.layout import groups, one_line
from nondet.report.text import NOTHING

_ESCAPES = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{character: "\\" + character for character in "&%$#_{}"},
    "[": "{[}",  # right after \\ LaTeX would read "[" and "*" as its arguments
    "*": "{*}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "\N{MINUS SIGN}": "$-$",
    "≤": r"$\le$",
    "≥": r"$\ge$",
    "→": r"$\to$",
    "\N{GREEK SMALL LETTER RHO}": r"$\rho$",
    "\N{EN DASH}": "--",
    "—": "---",
    "…": r"\dots{}",
    "\xa0": "~",
    "\u202f": r"\,",
    "\N{REPLACEMENT CHARACTER}": "?",
}
_NUMBER = r"[+\-\u2212]?\d+(?:,\d{3})*(?:\.\d+)?(?:e[+-]?\d+)?%?"
_BETWEEN = r"(?: ± | - |-| to | \(|\)|\]| \[|, )"
_NUMERIC = re.compile(rf"[\[(]?{_NUMBER}(?:{_BETWEEN}+(?:{_NUMBER})?)*")

_WIDEST = 345 / 0.65
"""The width of a tabular, in points, beyond which a table is split: that of a line of the class
article, whose letters of 10 points then become 6.5 points high.
"""

_STEP = 10  # points, by which narrower parts are tried

_LINES = 40
"""The most lines of a tabular: no page holds many more."""

_FIT = r"\par\noindent\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"
"""Scales what follows to the width of the line if it is wider."""

# Widths in points, in Computer Modern of 10 points.
_SEPARATION = 12.0  # between columns
_EXPONENT = 12.0  # more than its digits: "e-04" becomes a sign of multiplication and a power
_OF_LETTER = {
    **dict.fromkeys(" fijlrt.,:;'|!()[]", 3.6),
    **dict.fromkeys("mwMW%±", 8.6),
    **dict.fromkeys("ABCDEFGHIJKLNOPQRSTUVXYZ", 7.2),
}
_OTHER = 5.3  # digits have 5


def latex_table(table: Table, warning: str = "") -> str:
    """Return a table as tabulars that fit the width of a page; warning, title and note are comments
    above them.

    A table that is too wide is split: each part has the first column and some of the others. One of
    many lines is split after every `_LINES` of them.
    """
    comments = [one_line(warning)] if warning else []
    comments += ["needs \\usepackage{booktabs,graphicx}", one_line(table.title)]
    comments += [one_line(table.note)] if table.note else []
    lines = range(0, max(len(table.lines), 1), _LINES)
    parts = [
        _tabular(table, columns, table.lines[first : first + _LINES])
        for first in lines
        for columns in _columns(table)
    ]
    if len(parts) > 1:
        comments.append(f"{len(parts)} parts, one below the other")
    head = "".join(f"% {comment}\n" for comment in comments)
    return head + "\n\\par\\medskip\n".join(parts) + "\n"


def _tabular(table: Table, numbers: Sequence[int], lines: Sequence[Line]) -> str:
    """Return some columns and lines of a table, with a rule above each group, scaled to the width
    of the line if wider.
    """
    columns = [table.columns[number] for number in numbers]
    aligned = "".join("l" if column.align == "left" else "r" for column in columns)
    text = [_FIT, rf"\begin{{tabular}}{{{aligned}}}", r"\toprule"]
    text.append(_row([escape(column.heading) for column in columns]))
    if any(column.unit for column in columns):
        text.append(_row([f"({escape(each.unit)})" if each.unit else "" for each in columns]))
    for group, members in groups(replace(table, lines=tuple(lines))):
        text.append(r"\midrule")
        if group:
            span = rf"\multicolumn{{{len(columns)}}}{{l}}"
            text.append(rf"{span}{{\textit{{{escape(group)}}}}} \\")
        text += [_row([_cell(line.cells[n], line.strong) for n in numbers]) for line in members]
    if not lines:
        text.append(r"\midrule")
    return "\n".join([*text, r"\bottomrule", r"\end{tabular}}"])


def _columns(table: Table) -> list[list[int]]:
    """Return the numbers of the columns of each part, the first column in all: as few parts as fit
    `_WIDEST`, of nearly equal widths.
    """
    widths = [_width(table, number) for number in range(len(table.columns))]
    parts = _split(widths, _WIDEST)
    for widest in range(int(_WIDEST), 0, -_STEP):
        narrower = _split(widths, widest)
        if len(narrower) > len(parts):
            break
        parts = narrower
    return parts


def _split(widths: Sequence[float], widest: float) -> list[list[int]]:
    parts: list[list[int]] = [[0]]
    for number in range(1, len(widths)):
        width = sum(widths[each] for each in parts[-1]) + widths[number]
        if width > widest and len(parts[-1]) > 1:
            parts.append([0])
        parts[-1].append(number)
    return parts


def _width(table: Table, number: int) -> float:
    """Estimate the width of a column in points."""
    column = table.columns[number]
    unit = f"({column.unit})" if column.unit else ""
    texts = [column.heading, unit, *(one_line(line.cells[number].text) for line in table.lines)]
    return max(map(_text_width, texts)) + _SEPARATION


def _text_width(text: str) -> float:
    exponents = len(re.findall(r"\de[+-]?\d", text))
    letters = sum(_OF_LETTER.get(letter, _OTHER) for letter in text)
    return letters + _EXPONENT * exponents


def escape(text: str) -> str:
    """Return the text with LaTeX's special characters escaped."""
    return "".join(_ESCAPES.get(character, character) for character in one_line(text))


def _row(cells: list[str]) -> str:
    return " & ".join(cells) + r" \\"


def _cell(cell: Cell, strong: bool) -> str:
    text = one_line(cell.text)
    if text == NOTHING:
        return "--"
    if _NUMERIC.fullmatch(text):
        math = f"${_math(text)}$"
        return rf"{{\boldmath{math}}}" if strong else math
    return rf"\textbf{{{escape(text)}}}" if strong and text else escape(text)


def _math(text: str) -> str:
    text = re.sub(r"(?<=[\d%])-(?=\d)", r"\\mbox{--}", text)
    text = re.sub(r"e([+-]?\d+)", lambda found: rf" \times 10^{{{int(found[1])}}}", text)
    for mark, code in (
        ("±", r"\pm"),
        ("\N{MINUS SIGN}", "-"),
        ("%", r"\%"),
        (" to ", r"\mbox{ to }"),
    ):
        text = text.replace(mark, code)
    text = re.sub(r"(?<=\d),(?=\d{3})", "{,}", text)
    return text.replace(" [", r"\ [").replace(" (", r"\ (")
