"""Text from anywhere: what steers a terminal, breaks XML or is taken for a formula."""

import csv
import io
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import nondet
from factories.document import FIGURES, document, filled
from nondet.characters import check_name, printable
from nondet.report.document import Cell, Column, Document, Figure, Line, Table
from nondet.report.render.drawing import render
from nondet.report.render.latex import latex_table
from nondet.report.render.markdown import markdown
from nondet.report.render.page import page
from nondet.report.render.table_csv import table_csv
from nondet.report.render.terminal import make_console, print_document
from nondet.studies.catalog import find_study

UNSAFE = [*map(chr, [*range(32), *range(127, 160)]), "\u2028", "\u202e", "\u2066", "\ud800"]
UNSAFE += ["\udfff", "\ufffe", "\uffff"]
NASTY = "a\x00b\x1b[31mc\x07\x9b2Jd\u202ee\ufffef"
XML = "http://www.w3.org/2000/svg"


@given(st.text(st.characters(exclude_categories=())))
def test_what_is_printable_is_kept_and_what_is_not_is_replaced(text):
    shown = printable(text)
    assert len(shown) == len(text)
    assert not set(shown) & set(UNSAFE)
    assert all(a == b or a in UNSAFE or a > "\u2000" for a, b in zip(text, shown, strict=True))
    assert printable(shown) == shown
    assert printable(text, lines=True).replace("\n", "\ufffd") == shown
    ET.fromstring(f"<a>{shown.replace('&', '').replace('<', '')}</a>")


@pytest.mark.parametrize(
    "text", ["naïve → 3 \N{MULTIPLICATION SIGN} 4", "日本語", "a\xa0b", "\U0001f600", "é", "‰"]
)
def test_other_characters_are_kept(text):
    assert printable(text) == text
    check_name("it", text)


@pytest.mark.parametrize("character", UNSAFE)
def test_names_with_control_characters_are_refused(character):
    name = f"row{character}1"
    for make in (
        lambda: nondet.Row(name),
        lambda: nondet.Study(name, "", (), {"laptop": nondet.Preset(2, ("linear",))}),
        lambda: nondet.Study("mine", "", (), {name: nondet.Preset(2, ("linear",))}),
    ):
        with pytest.raises(ValueError, match="it must have no control characters"):
            make()


@pytest.mark.parametrize("name", [3, None, b"row"])
def test_a_name_is_a_string(name):
    with pytest.raises(ValueError, match="it must be a string"):
        nondet.Row(name)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (8, '[preset.laptop]\nruns = 2\nmodels = ["linear"]\n'
            'settings = { dataset = "digits", epochs = 1, batch_size = 64, lr = 0.1 }\n'
            '\n[[row]]\nname = "a\\u001Bb"\n'),
        (2, '[preset."a\\u0000b"]\nruns = 2\nmodels = ["linear"]\n'),
    ],
)  # fmt: skip
def test_a_file_with_control_characters_in_names_is_refused(line, text, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(f'name = "mine"\n{text}')
    with pytest.raises(ValueError, match=f"line {line}: .*no control characters"):
        find_study(str(path))


def hostile():
    """Return a report with control characters in all texts; names are those of files."""
    return filled(Document, lambda place: place if place.endswith(".name") else place + NASTY)


def drawings(report):
    figures = [figure for section in report.all_sections for figure in section.figures]
    return {figure.name: render(figure) for figure in figures}


def test_no_renderer_writes_control_characters(monkeypatch, capsys):
    report = replace(hostile(), published=())
    monkeypatch.setenv("COLUMNS", "400")
    print_document(report, make_console(), f"folder {NASTY}")
    drawn = drawings(report)
    texts = [capsys.readouterr().out, markdown(report), page(report, drawn)]
    texts += [drawing.svg for drawing in drawn.values()]
    tables = [table for section in report.sections for table in section.tables]
    texts += [text for table in tables for text in (table_csv(table), latex_table(table, NASTY))]
    for text in texts:
        assert "\N{REPLACEMENT CHARACTER}" in text
        assert not set(text) - {"\n"} & set(UNSAFE)
        text.encode()
    for drawing in drawn.values():
        ET.fromstring(drawing.svg)


def test_names_in_figures_are_no_formulas_and_powers_of_ten_are():
    names = ["a $x^{ b$", "c\x1bd", "$100", r"\$5"]

    def draw(canvas):
        axes = canvas.subplots()
        axes.plot(range(1, 5), [1e-3, 1e-2, 1e-1, 1], label="$\\broken{$")
        axes.set_yscale("log")
        axes.set_xticks(range(1, 5), names)
        axes.set_title("of $ y$")
        axes.legend()

    svg = render(Figure("one", "One", "", draw)).svg
    texts = ["".join(each.itertext()).strip() for each in ET.fromstring(svg).iter(f"{{{XML}}}text")]
    for shown in ("a $x^{ b$", "c\N{REPLACEMENT CHARACTER}d", "$100", "$\\broken{$", "of $ y$"):
        assert shown in texts
    assert not any("mathdefault" in text for text in texts)


def test_figures_without_odd_names_are_as_before():
    assert "\N{REPLACEMENT CHARACTER}" not in render(FIGURES[1]).svg


@pytest.mark.parametrize(
    "text", ["=1+1", "@SUM(A1)", "+cmd|x", "-cmd|' /C calc'!A0", "\t=1", "\r=1"]
)
def test_a_text_is_no_formula_of_a_spreadsheet(text):
    table = Table("t", "t", (Column("a", "a"),), (Line((Cell(text),), group=text, seeds=text),))
    [record] = csv.DictReader(io.StringIO(table_csv(table)))
    assert set(record) == {"model", "a", "seeds"}
    assert {value[0] for value in record.values()} == {"'"}
    assert {value[1:] for value in record.values()} == {text.strip()}


@pytest.mark.parametrize("text", ["-0.5", "+1.2", "-4e-06", "+0.1 ± 0.2", "-", "a=b", "1 - 2e-09"])
def test_numbers_and_other_texts_stay_as_they_are(text):
    table = Table("t", "t", (Column("a", "a"),), (Line((Cell(text, text),)),))
    assert list(csv.reader(io.StringIO(table_csv(table)))) == [["a"], [text]]


def test_the_small_report_has_no_apostrophes_before_numbers():
    for section in document().sections:
        for table in section.tables:
            assert "'+" not in table_csv(table)
