"""The simulations of docs/statistics.md, with few draws: coverage, power, and the page."""

from pathlib import Path

import numpy as np
import pytest
import scipy.stats

import simulate_intervals as simulated
from nondet import stats
from simulate_comparisons import BEGIN, END, SIMULATIONS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "statistics.md"
FEW = 300


def at_least(share, least):
    """Fail if a share of FEW simulations contradicts a true one of at least `least`."""
    assert round(share * FEW) >= scipy.stats.binom.ppf(0.0005, FEW, least)


@pytest.mark.parametrize("runs", [5, 10])
@pytest.mark.parametrize("name", [name for name in simulated.RESULTS if name != "exponential"])
def test_intervals_of_sds_cover(name, runs):
    found = simulated.sd_coverage(name, runs, FEW)
    hits = round(found.coverage * found.known * FEW)
    known = round(found.known * FEW)
    assert hits >= scipy.stats.binom.ppf(0.0005, known, 0.94)


@pytest.mark.parametrize(
    "name", ["a + a + e, equal variances", "disagreement, 10% of images undecided"]
)
def test_intervals_of_pairs_cover(name):
    at_least(simulated.pair_coverage(name, 8, FEW).coverage, 0.95)


def test_power_of_a_ratio_is_what_is_promised():
    ratio = stats.detectable_sd_ratio(10, 10, power=0.8)
    found = simulated.ratio_power("normal", 10, ratio, FEW)
    assert abs(found - 0.8) < 4 * (0.8 * 0.2 / FEW) ** 0.5


def test_pairs_tell_rows_apart_that_sds_do_not():
    hits, apart = simulated.pair_ratio_hits(2.0, 10, 100)
    assert hits.coverage > 0.9
    assert apart > 0.9 > simulated.ratio_power("normal", 10, 2.0, 100)


def test_other_intervals_cover():
    assert simulated.reduction_coverage(5, 25).coverage > 0.75
    assert min(hits.coverage for hits in simulated.component_coverage(False, 5, 40)) > 0.75
    assert simulated.test_set_coverage(0.8, 8, 40).coverage > 0.75


def test_coverage_counts_intervals_that_exist():
    unknown = simulated.Interval(1.0, np.nan, np.nan)
    found = simulated.coverage([unknown, simulated.Interval(1.0, 0, 2), unknown, unknown], 1.5)
    assert found == (1, 0.25)
    assert str(found) == "100.0 (25)"
    assert str(simulated.coverage([unknown], 1.0)) == "-"
    assert simulated.excluded([unknown, simulated.Interval(3.0, 2, 4)]) == 0.5


def test_the_page_has_a_section_for_the_tables(tmp_path, monkeypatch, capsys):
    text = PAGE.read_text()
    assert text.count(BEGIN) == text.count(END) == 1
    assert f"{SIMULATIONS:,} simulations a cell" in text
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    monkeypatch.setattr(simulated, "simulate", lambda simulations: f"{simulations} draws")
    monkeypatch.setattr("sys.argv", ["simulate", "--quick", "--page", str(page)])
    simulated.main()
    draws = f"{SIMULATIONS // 10} draws"
    assert page.read_text() == f"before\n{BEGIN}\n\n{draws}\n\n{END}\nafter\n"
    assert capsys.readouterr().out == f"{draws}\n"
