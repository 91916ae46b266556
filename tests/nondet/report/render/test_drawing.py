"""Tests of figures as files and inside a page."""

import io
import re
import xml.etree.ElementTree as ET

import matplotlib
import matplotlib.image
import pytest

from factories.document import FIGURES, ODD
from nondet.report.document import Figure
from nondet.report.render.drawing import inline_svg, render

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def drawings():
    return [render(figure) for figure in FIGURES]


def test_svg_is_whole_and_its_text_is_text(drawings):
    tree = ET.fromstring(drawings[1].svg)
    texts = ["".join(element.itertext()) for element in tree.iter(f"{SVG}text")]
    assert 'From "<seed> & id="x"' in texts
    assert texts.count("epoch") == 2
    assert tree.find(f"{SVG}title").text == ODD
    assert "sans-serif" in drawings[1].svg


def test_letters_are_readable(drawings):
    for drawing in drawings:
        # Superscripts of powers of ten are smaller than the number they belong to.
        sizes = {float(size) for size in re.findall(r"font-size: ([\d.]+)px", drawing.svg)}
        assert max(sizes) >= 9
        assert min(size for size in sizes if size > 6.5) >= 9


def test_png_has_200_dots_per_inch(drawings):
    for figure, drawing in zip(FIGURES, drawings, strict=True):
        height, width, _ = matplotlib.image.imread(io.BytesIO(drawing.png)).shape
        assert (width, height) == tuple(round(200 * inches) for inches in figure.size)


def test_equal_numbers_give_equal_bytes_under_any_style(drawings):
    with matplotlib.rc_context({"font.size": 30, "lines.linestyle": "--", "svg.fonttype": "path"}):
        before = dict(matplotlib.rcParams)
        assert render(FIGURES[1]) == drawings[1]
        assert dict(matplotlib.rcParams) == before


def test_inlined_figures_share_no_id(drawings):
    inlined = [inline_svg(drawings[1].svg, name) for name in ("one", "two")]
    ids, references = [], []
    for text, name in zip(inlined, ("one", "two"), strict=True):
        tree = ET.fromstring(text)
        own = [element.get("id") for element in tree.iter() if element.get("id")]
        assert all(one.startswith(f"{name}-") for one in own)
        used = re.findall(r"url\(#([^)]+)\)", text) + re.findall(r'href="#([^"]+)"', text)
        assert used
        assert set(used) <= set(own)
        ids += own
        references += used
        assert not [e.tag for e in tree.iter() if e.tag.endswith(("style", "metadata"))]
    assert len(set(ids)) == len(ids)
    assert 'From "&lt;seed&gt; &amp; id="x"' in inlined[0]


def test_an_error_while_drawing_leaves_no_style_behind():
    def fail(canvas):
        raise ValueError("nothing to draw")

    before = dict(matplotlib.rcParams)
    with pytest.raises(ValueError, match="nothing to draw"):
        render(Figure("bad", "bad", "bad", fail))
    assert dict(matplotlib.rcParams) == before
