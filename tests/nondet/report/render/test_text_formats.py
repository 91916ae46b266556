"""Tests of reports on the terminal and as Markdown, LaTeX and CSV."""

import csv
import io
import math
import re
import shutil
import subprocess
from dataclasses import replace

import pytest
from rich.console import Console

from factories.document import COLUMNS, INTERVALS, ODD, SPREAD, document
from nondet.report.document import Cell, Column, Line, Section, Table
from nondet.report.render.latex import latex_table
from nondet.report.render.markdown import markdown, markdown_table
from nondet.report.render.table_csv import table_csv
from nondet.report.render.terminal import bar, print_document


def printed(report, width=100, encoding="utf-8"):
    """Return the lines that a console of this width and encoding shows, without trailing blanks."""
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding)
    print_document(report, Console(file=file, width=width, highlight=False), "Files: there")
    file.flush()
    return [line.rstrip() for line in raw.getvalue().decode(encoding).splitlines()]


def one_table(table=SPREAD, findings=("It spreads.",)):
    section = Section("How far", findings=findings, tables=(table,))
    return document(sections=(section,), published=(), notes=())


def test_terminal_at_100_columns():
    lines = printed(one_table())
    start = lines.index("                     accuracy   cross-entropy disagree Spearman ensemble "
                        "ensemble cross-entropy")  # fmt: skip
    assert lines[start + 1 : start + 12] == [
        " source varied         SD, pp        SD, nats        %    corr.       pp     nats "
        "SD to scale",
        " " + "─" * 95,
        " linear",
        "   control                  0               0        0        1        0        0",
        "   initialization 0.11 ± 0.01 1.7e-04 ± 3e-05     0.17   0.9992    +0.03   -4e-06 ▏",
        "   augmentation   1.17 ± 0.26 0.0150 ± 0.0029     7.57   0.9889    +0.46  -0.0096 "
        "██████████████",
        "",
        " hidden",
        "   control                  0               0        0        1        0        0",
        "   one bit        0.30 ± 0.04 0.0075 ± 0.0009     1.18   0.9470    +0.26  -0.0062 ███████",
        "   shuffling 1/10           -               -        -        -        -        -",
    ]
    assert lines[start + 13] == " • It spreads."


def test_narrow_terminal_drops_bars_and_then_last_columns():
    for width, last in ((90, "nats"), (80, "pp"), (60, "%")):
        lines = printed(one_table(), width)
        assert not any("█" in line or "to scale" in line for line in lines)
        heading = next(line for line in lines if "source varied" in line)
        assert heading.endswith(last)
        assert max(map(len, lines)) < width


def test_terminal_without_unicode():
    lines = printed(document(subtitle="naïve → 3 \N{MULTIPLICATION SIGN} 4"), encoding="ascii")
    assert any("1.17 +- 0.26 0.0150 +- 0.0029" in line and "#" * 14 in line for line in lines)
    assert " na?ve -> 3 x 4" in lines
    assert any(line.startswith(" * control: all 20") for line in lines)


def test_terminal_shows_odd_characters_as_they_are():
    lines = printed(document(), width=100)
    assert f" ! {ODD}" in lines
    assert sum(ODD in line for line in lines) >= 4  # heading, line, section, note


def test_terminal_titles_sections_only_where_there_are_several():
    assert " How far" not in printed(one_table())
    lines = printed(document())
    assert " How far results spread" in lines
    assert " Published numbers" in lines


def test_details_are_left_out_on_the_terminal_only():
    report = one_table(replace(SPREAD, detail=True))
    assert not any("initialization" in line for line in printed(report))
    assert "initialization" in markdown(report)


def test_bars_are_to_scale():
    assert [bar(share) for share in (1.0, 0.5, 0.3)] == ["█" * 14, "█" * 7, "████▎"]
    assert bar(1e-8) == bar(0.0) == ""
    assert bar(0.5, unicode=False) == "#" * 7


def test_bars_are_shares_of_the_largest_number():
    values = (4.0, 1, None, "words", math.nan, -2.0)
    lines = tuple(Line((Cell("name"), Cell("text", value))) for value in values)
    table = Table("t", "t", (COLUMNS[0], COLUMNS[2]), lines)
    assert [table.share(line, 1) for line in lines] == [1, 0.25, 0, 0, 0, 0]
    nothing = replace(table, lines=lines[2:])
    assert nothing.share(lines[5], 1) == 0
    assert any("█" * 14 in line for line in printed(one_table(table)))


def test_markdown_tables_have_equal_rows():
    for table, columns in ((SPREAD, 8), (INTERVALS, 2)):
        lines = markdown_table(table).splitlines()
        assert len(lines) == 2 + len(table.lines)
        # A pipe of the text is escaped; of `\\|` only an odd number of backslashes escapes one.
        cells = {len(re.sub(r"\\.", "", line).split("|")) - 2 for line in lines}
        assert cells == {columns}
    assert "| hidden | **one bit** | **0.30 ± 0.04** |" in markdown_table(SPREAD)


def test_markdown_says_everything():
    text = markdown(document())
    first = text.index("control: all 20")
    assert first < text.index("## How far results spread") < text.index("## Settings")
    assert text.index("](figures/accuracy.svg)") < text.index("](figures/growth.svg)")
    assert "- **hidden, shuffling: 9 of 10 runs failed" in text
    assert "- python: 3.13.1" in text
    plain = re.sub(r"\\(.)", r"\1", text)
    assert plain.count(ODD) == 9
    assert "<b>" not in text


def test_csv_has_full_precision_and_errors():
    lines = list(csv.DictReader(io.StringIO(table_csv(SPREAD))))
    assert [line["model"] for line in lines] == ["linear"] * 3 + ["hidden"] * 3
    assert lines[1]["row"] == "initialization"
    assert float(lines[1]["cross_entropy_sd_nats"]) == 0.000171234
    assert float(lines[1]["cross_entropy_sd_nats_error"]) == 0.0000312
    assert lines[1]["seeds"] == "init 2-11, all others 1"
    assert "disagreement_percent_error" not in lines[0]
    missing = {name for name, value in lines[5].items() if value == ""}
    assert missing == set(lines[5]) - {"model", "row"}


def test_csv_has_both_ends_of_intervals():
    lines = list(csv.reader(io.StringIO(table_csv(INTERVALS))))
    assert lines == [
        ["row", "sd", "sd_low", "sd_high"],
        [ODD, "0.28", "0.21", "0.41"],
        ["n -1", "12345", "-0.1", "1.2e-05"],
    ]


def check_latex(text):
    """Check the parts of a table as `check_tabular`. Return the rows of all."""
    body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    parts = body.split("\n\\par\\medskip\n")
    assert ("parts, one below the other" in text) == (len(parts) > 1)
    return [row for part in parts for row in check_tabular(part)]


def check_tabular(body):
    """Check that a tabular is scaled to the line if it is wider, that environments, braces and
    dollars are balanced, that rows have a cell for every column, and that special characters are
    escaped. Return the rows.
    """
    fit, _, body = body.partition("\n")
    assert fit == r"\par\noindent\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"
    assert body.rstrip().endswith(r"\end{tabular}}")
    body = body.rstrip()[:-1]
    assert re.findall(r"\\(begin|end)\{(\w+)\}", body) == [("begin", "tabular"), ("end", "tabular")]
    columns = len(re.search(r"\\begin\{tabular\}\{(\w+)\}", body)[1])
    bare = re.sub(r"\\[&%$#_{}]", "", body.replace(r"\\", "\n"))
    assert bare.count("$") % 2 == 0
    depth = 0
    for character in bare:
        depth += {"{": 1, "}": -1}.get(character, 0)
        assert depth >= 0
    assert depth == 0
    outside = re.sub(r"\$[^$]*\$", "", bare)
    assert not re.search(r"[%#_^~<>|±]", outside)
    rows = [line for line in body.splitlines() if line.endswith(r"\\")]
    for row in rows:
        assert not row.startswith(("[", "*"))
        spans = sum(int(n) - 1 for n in re.findall(r"\\multicolumn\{(\d+)\}", row))
        assert len(re.findall(r"(?<!\\)&", row)) + 1 + spans == columns
    return rows


def spread_of(columns, lines=None):
    """Return the table of spreads with some columns, or repeated ones, and so many lines."""
    chosen = SPREAD.lines if lines is None else SPREAD.lines[:1] * lines
    return replace(
        SPREAD,
        columns=tuple(SPREAD.columns[number] for number in columns),
        lines=tuple(replace(each, cells=tuple(each.cells[n] for n in columns)) for each in chosen),
    )


def test_a_wide_table_is_split_by_columns():
    narrow, wide = latex_table(spread_of((0, 3, 4))), latex_table(spread_of((0, *(2,) * 14)))
    assert narrow.count(r"\begin{tabular}") == 1
    check_latex(wide)
    layouts = re.findall(r"\\begin\{tabular\}\{(\w+)\}", wide)
    assert len(layouts) > 2
    assert all(layout[0] == "l" for layout in layouts)
    assert sum(len(layout) - 1 for layout in layouts) == 14
    assert f"\n% {len(layouts)} parts, one below the other\n" in wide


def test_a_long_table_is_split_by_lines():
    text = latex_table(spread_of((0, 3), lines=85))
    rows = check_latex(text)
    parts = text.split(r"\par\medskip")
    assert [part.count("control") for part in parts] == [40, 40, 5]
    assert len([row for row in rows if "control" in row]) == 85
    assert all("source varied" in part and "linear" in part for part in parts)


@pytest.mark.parametrize("table", [SPREAD, INTERVALS, spread_of((0, *(2,) * 14), lines=85)])
def test_latex_compiles_without_an_overfull_line(table, tmp_path):
    compiler = shutil.which("pdflatex")
    if compiler is None:
        pytest.skip("pdflatex is not installed")
    (tmp_path / "table.tex").write_text(latex_table(table))
    (tmp_path / "paper.tex").write_text(
        "\\documentclass{article}\n\\usepackage{booktabs,graphicx}\n\\begin{document}\n"
        "Text.\n\n\\input{table}\n\\end{document}\n"
    )
    done = subprocess.run(
        [compiler, "-interaction=nonstopmode", "-halt-on-error", "paper"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert "Overfull" not in done.stdout


def test_latex_is_balanced_and_escaped():
    rows = check_latex(latex_table(SPREAD))
    assert rows[1] == r" & (pp) & (nats) & (\%) &  & (pp) & (nats) \\"
    assert rows[2] == r"\multicolumn{7}{l}{\textit{linear}} \\"
    assert rows[4] == (
        r"initialization & $0.11 \pm 0.01$ & $1.7 \times 10^{-4} \pm 3 \times 10^{-5}$ "
        r"& $0.17$ & $0.9992$ & $+0.03$ & $-4 \times 10^{-6}$ \\"
    )
    assert rows[8].startswith(r"\textbf{one bit} & {\boldmath$0.30 \pm 0.04$} &")
    assert rows[9] == r"shuffling 1/10 & -- & -- & -- & -- & -- & -- \\"
    odd = check_latex(latex_table(INTERVALS))
    assert odd[2].endswith(r"{[}c] & $0.28\ (0.21\mbox{--}0.41)$ \\")
    assert odd[3] == r"n -1 & $12{,}345\ (-0.1\mbox{ to }+1.2 \times 10^{-5})$ \\"


@pytest.mark.parametrize("text", ["[a] b", "*", "1 of 3", "50%", "2-11", "1 - 9e-11", "", "a & b"])
def test_latex_of_any_text(text):
    column = Column("a", "a")
    check_latex(latex_table(Table("t", "t", (column, column), (Line((Cell(text), Cell(text))),))))
