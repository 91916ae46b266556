"""Tests of the HTML page: well-formed, complete, escaped, and rendered by a real browser."""

import re
import shutil
from dataclasses import fields, is_dataclass, replace
from html.parser import HTMLParser
from itertools import pairwise

import pytest

import nondet.report.document
from factories.document import FIGURES, INTERVALS, SPREAD, document, filled
from nondet.report.document import Document, Section
from nondet.report.render.drawing import render
from nondet.report.render.page import page

VOID = {"meta", "link", "br", "img", "hr", "input"}
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-sync",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
]


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
    assert links
    assert all(link[0] == "#" and link[1:] in ids for link in links)


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
    assert not outline.of("nav")


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


SIZES = """() => [...document.querySelectorAll("svg, table, figure")].map(e => {
  const box = e.getBoundingClientRect();
  return [e.tagName, box.width, box.height];
})"""
IDS = "() => [...document.querySelectorAll('[id]')].map(e => e.id)"
OVERFLOW = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
TEXT_SIZE = """() => Math.min(...[...document.querySelectorAll("svg text")].map(
  e => e.getBoundingClientRect()).map(b => Math.min(b.width, b.height)))"""
CONTRAST = """() => {
  const light = color => {
    const [r, g, b] = color.match(/[\\d.]+/g).slice(0, 3).map(v => {
      const c = v / 255;
      return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = light(getComputedStyle(document.body).backgroundColor);
  const worst = [...document.querySelectorAll("p, li, td, th, dd, dt, a, summary, figcaption")]
    .map(e => light(getComputedStyle(e).color))
    .map(l => (Math.max(l, ground) + 0.05) / (Math.min(l, ground) + 0.05));
  return Math.min(...worst);
}"""


@pytest.fixture(scope="module")
def browser():
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip(f"no browser is installed (looked for {', '.join(BROWSERS)})")
    with api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.mark.parametrize(("scheme", "width"), [("light", 1200), ("dark", 1200), ("light", 400)])
def test_page_in_a_browser(browser, text, tmp_path, scheme, width):
    file = tmp_path / "report.html"
    file.write_text(text, encoding="utf-8")
    opened = browser.new_page(color_scheme=scheme, viewport={"width": width, "height": 800})
    said, requested = [], []
    opened.on("console", lambda message: said.append((message.type, message.text)))
    opened.on("pageerror", lambda error: said.append(("page error", str(error))))
    opened.on("request", lambda request: requested.append(request.url))
    opened.goto(file.as_uri())

    sizes = opened.evaluate(SIZES)
    assert len(sizes) == 2 * len(FIGURES) + 3
    assert all(across > 100 and down > 40 for _, across, down in sizes), sizes
    ids = opened.evaluate(IDS)
    assert len(set(ids)) == len(ids)
    assert opened.evaluate(OVERFLOW) == 0
    assert opened.evaluate(TEXT_SIZE) > 0
    assert opened.evaluate(CONTRAST) >= 4.5
    dark = opened.evaluate("() => getComputedStyle(document.body).backgroundColor")
    assert (dark == "rgb(255, 255, 255)") == (scheme == "light")
    card = opened.evaluate(
        "() => getComputedStyle(document.querySelector('.drawing')).backgroundColor"
    )
    assert card == "rgb(255, 255, 255)"

    seeds = opened.get_by_text("init 2-11, all others 1", exact=True)
    assert not seeds.is_visible()
    opened.get_by_text("Seeds behind every line").click()
    assert seeds.is_visible()

    assert said == []
    assert requested == [file.as_uri()]
    opened.close()
