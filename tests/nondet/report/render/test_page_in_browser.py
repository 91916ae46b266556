"""Tests of the HTML page in a real browser: on a desktop, on a phone and on paper."""

import shutil
from dataclasses import replace

import pytest

from factories.document import FIGURES, SPREAD, document
from nondet.report.document import Section
from nondet.report.render.drawing import render
from nondet.report.render.page import page

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


@pytest.fixture(scope="module")
def drawings():
    return {figure.name: render(figure) for figure in FIGURES}


@pytest.fixture(scope="module")
def text(drawings):
    return page(document(), drawings)


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


CLIPPED = """() => [...document.querySelectorAll(".scroll, .drawing")].map(
  e => e.scrollWidth - e.clientWidth)"""
FIRST = """() => [...document.querySelectorAll(".scroll")].map(e => {
  e.scrollLeft = 1000;
  const cell = e.querySelector("tbody tr:not(.group) > :first-child");
  const places = [e, cell].map(each => each.getBoundingClientRect().left);
  return [e.scrollLeft, Math.abs(places[1] - places[0]), cell.offsetWidth / e.clientWidth];
})"""


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


@pytest.fixture
def wide(drawings, tmp_path):
    """Write a page with a table of 13 columns, and return its file."""
    lines = tuple(
        replace(line, cells=(line.cells[0], *line.cells[1:4] * 4)) for line in SPREAD.lines
    )
    columns = (SPREAD.columns[0], *SPREAD.columns[1:4] * 4)
    table = replace(SPREAD, name="wide", columns=columns, lines=lines)
    section = Section("Wide", tables=(table, SPREAD), figures=FIGURES[:1])
    file = tmp_path / "report.html"
    file.write_text(page(document(sections=(section,), published=()), drawings), encoding="utf-8")
    return file


def test_nothing_is_clipped_on_paper(browser, wide):
    # A4 between margins of 12 mm, at 96 pixels an inch.
    opened = browser.new_page(viewport={"width": 702, "height": 1031})
    opened.goto(wide.as_uri())
    assert max(opened.evaluate(CLIPPED)) > 0
    opened.emulate_media(media="print")
    assert max(opened.evaluate(CLIPPED)) <= 0
    assert opened.evaluate(OVERFLOW) == 0
    opened.close()


def test_the_first_column_stays_on_a_phone(browser, wide):
    opened = browser.new_page(viewport={"width": 390, "height": 800})
    opened.goto(wide.as_uri())
    for scrolled, moved, share in opened.evaluate(FIRST):
        assert scrolled > 0
        assert moved < 2
        assert 0.15 < share < 0.5
    opened.close()
