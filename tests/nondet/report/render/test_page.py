"""Tests of the HTML page: well-formed, complete and escaped."""

import re
from dataclasses import fields, is_dataclass, replace
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from markupsafe import escape

import nondet.report.document
from factories.document import FIGURES, INTERVALS, SPREAD, document, filled
from nondet.report.document import Document, Section
from nondet.report.render.drawing import render
from nondet.report.render.page import page, print_size, whole_words

VOID = {"meta", "link", "br", "img", "hr", "input"}


class Outline(HTMLParser):
    """Checks that elements are closed in order; collects elements and texts."""

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.texts = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        names = [name for name, _ in attributes]
        assert len(set(names)) == len(names), f"{tag} says {names}"
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if data.strip() and self.open[-1] != "style":
            self.texts.append(data)

    def of(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def drawings():
    return {figure.name: render(figure) for figure in FIGURES}


@pytest.fixture(scope="module")
def text(drawings):
    return page(document(), drawings)


@pytest.fixture(scope="module")
def outline(text):
    return Outline(text)


def test_page_is_well_formed_and_ids_are_unique(outline):
    ids = [found["id"] for _, found in outline.elements if "id" in found]
    assert len(ids) > 50
    assert len(set(ids)) == len(ids)
    for _, found in outline.elements:
        for name in ("aria-labelledby", "aria-describedby"):
            assert found.get(name) is None or found[name] in ids
    links = [found["href"] for found in outline.of("a")]
    inside = [link for link in links if link[0] == "#"]
    assert inside
    assert all(link[1:] in ids for link in inside)


def test_page_links_the_files_beside_it(outline):
    report = document()
    tables = [table for section in report.all_sections for table in section.tables]
    expected = [f"figures/{each.name}.{end}" for each in FIGURES for end in ("svg", "png")]
    expected += [f"tables/{each.name}.{end}" for each in tables for end in ("csv", "tex")]
    expected += ["runs.csv", "report.md"]
    links = [found["href"] for found in outline.of("a")]
    assert sorted(link for link in links if link[0] != "#") == sorted(expected)


def test_page_has_a_table_of_contents(text):
    contents = text[text.index("<nav") : text.index("</nav>")]
    titles = re.findall(r">([^<]+)</a>", contents)
    assert titles[:2] == ["What was found", "How far results spread"]
    assert titles[-4:] == ["Settings", "Commands", "Environment", "Files"]
    headings = re.findall(r'<h2 id="([^"]+)"', text)
    assert re.findall(r'href="#([^"]+)"', contents) == headings


def test_page_needs_nothing_beside_it(text, outline):
    tags = {tag for tag, _ in outline.elements}
    assert not tags & {"script", "img", "iframe", "object", "embed", "audio", "video"}
    assert [found["href"] for found in outline.of("link")] == ["data:,"]
    assert not re.search(r"@import|url\((?!#)|src=", text)


def test_findings_stand_first_and_headings_do_not_skip(outline):
    assert outline.texts.index("What was found") < outline.texts.index("Settings")
    finding = "control: all 20 trainings with equal seeds end in equal bits."
    assert outline.texts.count(finding) == 2  # above, and in its section
    levels = [int(tag[1]) for tag, _ in outline.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_findings_of_a_single_section_are_said_once(drawings):
    section = Section("Only", findings=("One thing.",), tables=(SPREAD,))
    outline = Outline(page(document(sections=(section,), published=()), drawings))
    assert outline.texts.count("One thing.") == 1


NOT_SHOWN = {
    "Cell.value",
    "Column.align",
    "Column.name",
    "Figure.name",
    "Table.grouping",
    "Table.name",
}
"""Fields that a page does not show; of cell values it shows numbers."""


def harmless(place):
    return place


def hostile(place):
    return f""""><script>{place}</script><a href="javascript:x" onclick='y'>&lt;&amp;{{{{ 7 }}}}"""


def outline_of_filled(text):
    """Return the outline of a page in which `text` gives every string, and the fields filled."""
    asked = set()

    def fill(place):
        asked.add(place)
        return text(place)

    report = filled(Document, fill)
    drawn = [figure for section in report.sections for figure in section.figures]
    return Outline(page(report, {figure.name: render(figure) for figure in drawn})), asked


def test_text_of_every_field_is_escaped():
    (plain, _), (odd, places) = map(outline_of_filled, (harmless, hostile))
    written = {
        f"{kind.__name__}.{field.name}"
        for kind in vars(nondet.report.document).values()
        if is_dataclass(kind)
        for field in fields(kind)
        if "str" in str(field.type)
    }
    assert places == written | {"Figure.draw"}
    assert [(tag, list(found)) for tag, found in odd.elements] == [
        (tag, list(found)) for tag, found in plain.elements
    ]
    shown = [*odd.texts, *(value for _, found in odd.elements for value in found.values())]
    for place in places:
        assert any(hostile(place) in text for text in shown) == (place not in NOT_SHOWN), place


def test_tables_have_headers_numbers_and_seeds(outline):
    heads = [found.get("scope") for found in outline.of("th")]
    assert heads.count("col") == len(SPREAD.columns) + len(INTERVALS.columns) + 3
    assert heads.count("row") == len(SPREAD.lines) + len(INTERVALS.lines) + 1
    assert heads.count("rowgroup") == 2
    assert None not in heads
    titles = [found.get("title") for _, found in outline.elements]
    assert "0.000171234" in titles
    assert "seeds: init 2-11, all others 1" in titles
    assert "init 2-11, all others 1" in outline.texts
    parts = [found["style"] for found in outline.of("td") if "style" in found]
    assert parts == [f"--part: {p}%" for p in ("0.0", "1.1", "100.0", "0.0", "50.0")]


def test_figures_have_captions_and_names(outline):
    drawn = [found for found in outline.of("div") if found.get("role") == "img"]
    assert [found["aria-label"] for found in drawn] == [figure.title for figure in FIGURES]
    assert len(outline.of("figure")) == len(outline.of("figcaption")) == len(FIGURES)
    assert len(outline.of("svg")) == len(FIGURES)


def test_wide_tables_are_printed_in_small_letters():
    few, many = (
        replace(
            SPREAD,
            columns=(SPREAD.columns[0], *(SPREAD.columns[2],) * count),
            lines=tuple(
                replace(line, cells=(line.cells[0], *(line.cells[2],) * count))
                for line in SPREAD.lines
            ),
        )
        for count in (2, 12)
    )
    assert print_size(few) == 8
    assert 4 < print_size(many) < print_size(SPREAD) <= 8


@pytest.mark.parametrize(
    ("text", "marked"),
    [
        ("0.28 (0.21-0.41)", '0.28 <span class="whole">(0.21-0.41)</span>'),
        ("1 - 2e-10", '1 - <span class="whole">2e-10</span>'),
        ("low-level order", "low-level order"),
        ("1e-05", '<span class="whole">1e-05</span>'),
        ("<b> 1-2&", '&lt;b&gt; <span class="whole">1-2&amp;</span>'),
    ],
)
def test_numbers_and_ranges_are_not_broken(text, marked):
    assert escape(whole_words(text)) == marked


def test_details_open_on_demand(drawings):
    section = Section("One", tables=(SPREAD, replace(INTERVALS, detail=True)))
    outline = Outline(page(document(sections=(section,), published=()), drawings))
    tags = [tag for tag, found in outline.elements if tag in ("details", "table")]
    assert tags == ["table", "details", "details", "table"]  # the first holds the seeds


def test_an_empty_report_is_a_page(drawings):
    empty = document(
        sections=(), notes=(), settings=(), environment=(), published=(), subtitle="", source=""
    )
    assert Outline(page(empty, {})).texts.count(empty.title) == 2
