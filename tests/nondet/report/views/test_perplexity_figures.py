"""Tests of the figures of the spread of language models."""

import numpy as np
import pytest

from factories.courses import check_fonts, draw, lines_of
from factories.language import NOISE, TAPS, by_hand, language_plan, language_summary
from factories.runs import drawn
from nondet.report.views import make_section


@pytest.fixture(scope="module")
def summary():
    return language_summary(language_plan(), NOISE)


@pytest.fixture(scope="module")
def section(summary):
    return make_section("perplexity", summary)


def test_figures_have_names_of_their_own(section):
    assert [figure.name for figure in section.figures] == [
        "perplexity-results",
        "perplexity-standard-deviations",
        "perplexity-pairs",
        "perplexity-cka",
    ]
    check_fonts(section.figures[2])


def test_every_training_is_a_point(summary, section):
    left, right = drawn(section.figures[0]).axes
    assert (left.get_xlabel(), right.get_xlabel()) == (
        "test perplexity",
        "test cross-entropy (nats)",
    )
    names = [row.row.name for row in summary.models[0].rows]
    assert [text.get_text() for text in left.get_yticklabels()] == names
    found = summary.models[0].named("both").language
    for axes, values in ((left, found.perplexities), (right, found.cross_entropies)):
        [strip] = [line for line in axes.lines if abs(line.get_ydata().mean() - 3) < 0.2]
        assert (np.sort(strip.get_xdata()) == np.sort(values)).all()


def test_deviations_are_those_of_the_table(summary, section):
    left, right = drawn(section.figures[1]).axes
    assert (left.get_xlabel(), right.get_xlabel()) == ("perplexity SD", "cross-entropy SD (nats)")
    rows = [row.language for row in summary.models[0].rows][1:]
    for axes, of in ((left, "perplexity"), (right, "cross_entropy")):
        assert [text.get_text() for text in axes.texts] == ["0"]  # the control
        shown = [x for line in axes.lines if line.get_gid() for x in line.get_xdata()]
        assert shown == [getattr(found, of).sd for found in rows]
        assert len(axes.get_xticks()) <= 6


def test_pairs_are_bars_with_intervals(summary, section):
    axes = drawn(section.figures[2]).axes
    assert [one.get_xlabel() for one in axes] == [
        "disagreement (% of tokens)",
        "1 - Spearman correlation",
        "ensemble: perplexity lost",
        "1 - CKA, last layer",
    ]
    rows = [row.language for row in summary.models[0].rows]
    expected = [
        [(found.disagreement.value, found.disagreement.low) for found in rows],
        [(1 - found.correlation.value, 1 - found.correlation.high) for found in rows],
        [(-found.ensemble_perplexity.value, -found.ensemble_perplexity.high) for found in rows],
        [(1 - found.cka[TAPS[-1]].value, 1 - found.cka[TAPS[-1]].high) for found in rows],
    ]
    for panel, values in zip(axes, expected, strict=True):
        bars = panel.containers[1]
        assert [bar.get_width() for bar in bars] == pytest.approx([value for value, _ in values])
        [segments] = bars.errorbar.lines[2]
        lows = [segment[0][0] if len(segment) else None for segment in segments.get_segments()]
        assert lows[1:] == pytest.approx([low for _, low in values[1:]])


def test_alignment_is_drawn_layer_by_layer(summary, section):
    canvas = draw(section.figures[3])
    for row in summary.models[0].rows[1:]:
        x, y = lines_of(canvas, 0, row.row.name)
        assert np.round(x).tolist() == [0, 1, 2]
        assert y.tolist() == [row.language.cka[tap].value for tap in TAPS]
    assert [text.get_text() for text in canvas.axes[0].get_xticklabels()] == list(TAPS)
    with pytest.raises(AssertionError):
        lines_of(canvas, 0, "control")


def test_figures_of_a_single_row():
    section = make_section("perplexity", by_hand())
    assert len(section.figures) == 4
    for figure in section.figures:
        drawn(figure)
