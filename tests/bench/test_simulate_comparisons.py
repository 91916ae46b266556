"""The simulations of docs/comparing-results.md, with few draws: rates of errors, and the rule."""

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import ttest_ind

import simulate_comparisons as simulated
from nondet import Scores, compare_scores
from nondet.analysis.comparison.result import Decision

PAGE = Path(__file__).resolve().parents[2] / "docs" / "comparing-results.md"
FEW = 600


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("name", simulated.SCORES)
@pytest.mark.parametrize("runs", [4, 6, 10])
def test_verdicts_are_wrong_no_oftener_than_they_say(name, runs, paired):
    found = simulated.false_positives(name, runs, paired, FEW)
    most = 0.05 + 2 * (0.05 * 0.95 / FEW) ** 0.5
    assert found["rule"] <= most
    assert found["exact"] <= most
    assert found["rule"] <= min(found["t"], found["exact"])


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("runs", [3, 5, 8])
def test_the_rule_is_that_of_the_verdict(paired, runs):
    generator = np.random.default_rng(runs)
    a, b = generator.standard_normal((2, 20, runs))
    b += 1.2
    rule = simulated.rejections(a, b, paired, generator)["rule"]
    for x, y, better in zip(a, b, rule, strict=True):
        sides = Scores.of("A", x), Scores.of("B", y)
        found = compare_scores(*sides, pair_by="position" if paired else "none")
        assert (found.verdict.decision is Decision.BETTER) == better


@pytest.mark.parametrize("sizes", [(4, 4), (4, 12)])
def test_intervals_of_sides_are_welchs(sizes):
    a, b = (np.random.default_rng(size).normal(0, size, (5, size)) for size in sizes)
    found = simulated.t_halfwidths(a, b, paired=False)
    for x, y, half in zip(a, b, found, strict=True):
        theirs = ttest_ind(y, x, equal_var=False).confidence_interval()
        assert half == pytest.approx((theirs.high - theirs.low) / 2, rel=1e-9)


@pytest.mark.parametrize("name", simulated.UNLIKE)
def test_scores_that_spread_differently_have_equal_means(name):
    a, b = simulated.unlike_scores(name, 10, 20_000, np.random.default_rng(1))
    error = (a.var() / a.size + b.var() / b.size) ** 0.5
    assert abs(b.mean() - a.mean()) < 4 * error
    assert not 0.5 < a.var() / b.var() < 2 or "lognormal" in name


def test_promised_power_is_found():
    found = simulated.power(8, True, 0.8, FEW)
    assert abs(found["t"] - 0.8) < 3 * (0.8 * 0.2 / FEW) ** 0.5


def test_a_cell_repeats():
    one, again = (simulated.false_positives("normal", 5, True, 50) for _ in range(2))
    assert one == again


def test_the_page_has_a_section_for_the_tables(tmp_path, monkeypatch, capsys):
    text = PAGE.read_text()
    assert text.count(simulated.BEGIN) == text.count(simulated.END) == 1
    page = tmp_path / "page.md"
    page.write_text(f"before\n{simulated.BEGIN}\nold\n{simulated.END}\nafter\n")
    monkeypatch.setattr(simulated, "simulate", lambda simulations: f"{simulations} draws")
    monkeypatch.setattr("sys.argv", ["simulate", "--quick", "--page", str(page)])
    simulated.main()
    draws = f"{simulated.SIMULATIONS // 10} draws"
    assert page.read_text() == f"before\n{simulated.BEGIN}\n\n{draws}\n\n{simulated.END}\nafter\n"
    assert capsys.readouterr().out == f"{draws}\n"
