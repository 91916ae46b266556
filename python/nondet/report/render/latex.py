"""A table as LaTeX, to be \\input into a document that uses booktabs."""

import re

from nondet.report.document import Cell, Table
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
}
_NUMBER = r"[+\-\u2212]?\d+(?:,\d{3})*(?:\.\d+)?(?:e[+-]?\d+)?%?"
_BETWEEN = r"(?: ± | - |-| to | \(|\)|\]| \[|, )"
_NUMERIC = re.compile(rf"[\[(]?{_NUMBER}(?:{_BETWEEN}+(?:{_NUMBER})?)*")


def latex_table(table: Table, warning: str = "") -> str:
    """Return a tabular with a line above each group; warning, title and note are comments above
    it.
    """
    comments = [one_line(warning)] if warning else []
    comments += ["needs \\usepackage{booktabs}", one_line(table.title)]
    comments += [one_line(table.note)] if table.note else []
    lines = [f"% {comment}" for comment in comments]
    aligned = "".join("l" if column.align == "left" else "r" for column in table.columns)
    lines += [rf"\begin{{tabular}}{{{aligned}}}", r"\toprule"]
    lines.append(_row([escape(column.heading) for column in table.columns]))
    if any(column.unit for column in table.columns):
        units = [f"({escape(column.unit)})" if column.unit else "" for column in table.columns]
        lines.append(_row(units))
    for group, members in groups(table):
        lines.append(r"\midrule")
        if group:
            width = len(table.columns)
            lines.append(rf"\multicolumn{{{width}}}{{l}}{{\textit{{{escape(group)}}}}} \\")
        lines += [_row([_cell(cell, line.strong) for cell in line.cells]) for line in members]
    if not table.lines:
        lines.append(r"\midrule")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


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
