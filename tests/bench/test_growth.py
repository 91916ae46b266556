"""Exponents of growth, and growth tables."""

import numpy as np
import pytest

from factories.benchmarks import case, measured, results
from growth import families, fit, growth_tables, times

SIZES = [10**power for power in range(3, 9)]


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_a_power_law_has_its_exponent(power):
    found = fit(SIZES, [3e-9 * size**power for size in SIZES])
    assert found.slope == pytest.approx(power)
    assert found.half == pytest.approx(0, abs=1e-6)


def test_only_the_larger_half_counts():
    """The price of a call hides the growth of small sizes."""
    seconds = [1e-6, 1e-6, 1e-6, 1e-3, 1e-2, 1e-1]
    found = fit(SIZES, seconds)
    assert found.slope == pytest.approx(1)
    assert (found.begin, found.end) == (10**6, 10**8)


def test_the_order_of_the_sizes_does_not_matter():
    seconds = [1e-9 * size for size in SIZES]
    assert fit(SIZES[::-1], seconds[::-1]).slope == pytest.approx(1)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_two_sizes_have_no_exponent(count):
    assert fit(SIZES[:count], [1.0] * count) is None


def test_intervals_cover_the_exponent():
    """95% of intervals hold the true exponent: of 400, 380 on average, and below 360 or above 396
    with a probability of less than 0.001.
    """
    generator = np.random.default_rng(1)
    hits = 0
    for _ in range(400):
        noise = np.exp(0.1 * generator.standard_normal(len(SIZES)))
        found = fit(SIZES, list(1e-9 * np.array(SIZES) * noise))
        hits += abs(found.slope - 1) <= found.half
    assert 360 <= hits <= 396


def test_the_words_give_slope_interval_and_range():
    words = fit(SIZES, [1e-9 * size for size in SIZES]).in_words()
    assert words == (
        "from 1,000,000 to 100,000,000 the time grows as the size to the power 1.00 "
        "(95% interval 1.00 to 1.00)"
    )


def grown(family: str = "sum, n"):
    return [
        case([2.0], name=name, family=family, size=size, ours=1e-9 * size)
        for name, size in {"a": 10**8, "b": 10**6, "c": 10**7}.items()
    ]


def test_a_table_has_a_row_a_size_in_order():
    lines = growth_tables(results(*grown(), case([1.0]))).splitlines()
    assert lines[0] == "| sum, n | sum, ms | torch.sum, ms |"
    assert lines[2:5] == [
        "| 1,000,000 | 1 | 2 |",
        "| 10,000,000 | 10 | 20 |",
        "| 100,000,000 | 100 | 200 |",
    ]
    assert sum("to the power 1.00" in line for line in lines) == 2


def test_threads_have_no_exponent():
    assert "power" not in growth_tables(results(*grown("sum, threads")))


def test_a_run_without_families_has_no_table():
    assert growth_tables(results(case([1.0]))) == ""


def test_ceilings_are_not_in_the_table():
    one = case([1.0], family="sum, n", size=5)
    one.contenders.append(measured("read", "ceiling", [0.5]))
    (cases,) = families(results(one)).values()
    assert list(times(cases)) == ["sum", "torch.sum"]
