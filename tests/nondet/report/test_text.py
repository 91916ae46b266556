"""Tests of the text of numbers and lists."""

import math
from dataclasses import replace

import pytest

from nondet.analysis.stats import Interval, Spread
from nondet.report.text import (
    change,
    correlation,
    describe_seeds,
    factor,
    fixed,
    interval,
    listing,
    number,
    percent,
    percentage_interval,
    plain,
    plural,
    spread,
    written_interval,
)
from nondet.studies.job import Job
from nondet.studies.row import Row
from nondet.studies.seeds import Seeds


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Spread(0.0, 0.0), "0"),
        (Spread(0.0077, 0.0012), "0.0077 ± 0.0012"),
        (Spread(1.5e-8, 3.2e-9), "1.5e-08 ± 3e-09"),
        (Spread(0.00049, 0.0001), "4.9e-04 ± 1e-04"),
    ],
)
def test_spread_is_written(value, text):
    assert spread(value, 4) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1"),
        (0.99877, "0.9988"),
        (-0.5, "-0.5000"),
        (1 - 2.5e-9, "1 - 2e-09"),
        (math.nan, "-"),
    ],
)
def test_correlation_is_written(value, text):
    assert correlation(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (0.123, "+0.12"),
        (-0.005, "-0.01"),
        (-0.0049, "-5e-03"),
        (1e-9, "+1e-09"),
        (math.nan, "-"),
    ],
)
def test_change_is_written(value, text):
    assert change(value, 2) == text


def test_numbers_are_written():
    assert [percent(value) for value in (0, 0.004, 98.765)] == ["0", "0.00", "98.77"]
    numbers = (0, 1.5e-8, 0.0077, 0.25, 14.2, 512345, 2.5e6, math.nan)
    texts = ["0", "1.5e-08", "0.0077", "0.25", "14", "510,000", "2.5e+06", "-"]
    assert [number(value) for value in numbers] == texts
    assert [factor(value) for value in (1.14, 14.2, 512345)] == ["1.1", "14", "510,000"]
    assert [plain(value, 2) for value in (0, 0.051, 0.049, 3)] == ["0", "0.05", "4.9e-02", "3.00"]
    assert fixed(-0.001, 2) == "0.00"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Interval(0.28, 0.21, 0.41), "0.28 (0.21-0.41)"),
        (Interval(0.0, 0.0, 0.0), "0"),
        (Interval(0.28, math.nan, math.nan), "0.28 (-)"),
        (Interval(0.0, math.nan, math.nan), "0"),
        (Interval(1.0, math.nan, math.nan), "1.00"),
        (Interval(0.28, -0.1, 0.41), "0.28 (-0.10 to 0.41)"),
        (Interval(0.28, 0.01, 0.41), "0.28 (1.0e-02 to 0.41)"),
        (Interval(0.28, 0.21, math.inf), "0.28 (0.21-inf)"),
    ],
)
def test_interval_is_written(value, text):
    assert interval(value, lambda one: plain(one, 2)) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Interval(0.94, 0.801, 1.096), "94% (95% CI 80-110%) of it"),
        (Interval(0.004, 0.0, 12.0), "0.4% (95% CI 0-1,200%) of it"),
        (Interval(0.94, math.nan, math.nan), "94% (no interval) of it"),
    ],
)
def test_share_is_written(value, text):
    assert percentage_interval(value, "it") == text
    assert percentage_interval(value) == text.removesuffix(" of it")


def test_factors_that_are_no_numbers_are_written():
    assert [factor(value) for value in (math.nan, math.inf)] == ["-", "inf"]


def test_interval_for_several_says_so():
    share = Interval(0.3, -0.1, 0.6)
    assert percentage_interval(share, "it", "5 rows") == (
        "30% (95% CI -10 to 60% for 5 rows at once) of it"
    )
    assert written_interval(share, "a", "b") == "95% CI a-b"
    assert written_interval(Interval(0.3, math.nan, 1), "-", "b", at_once="5 rows") == "no interval"


def test_words():
    assert [plural(count, "run") for count in (0, 1, 1200)] == ["0 runs", "1 run", "1,200 runs"]
    assert [listing("abc"[:n]) for n in (1, 2, 3)] == ["a", "a and b", "a, b and c"]


@pytest.mark.parametrize(
    ("row", "text"),
    [
        (Row("control"), "all 1, 3 repetitions"),
        (Row("init", ("init",)), "init 2-4, all others 1"),
        (Row("two", ("shuffle", "init")), "init + shuffle 2-4, all others 1"),
        (
            Row("all", ("init", "shuffle", "augment", "stochastic", "lowlevel", "bit")),
            "init + shuffle + augment + stochastic + lowlevel + bit 2-4",
        ),
    ],
)
def test_seeds_are_told(config, row, text):
    assert describe_seeds(row.job(config, run) for run in range(3)) == text


def test_seeds_with_gaps_and_of_their_own_are_told(config):
    jobs = [Job(config, Seeds(init=seed, bit=7)) for seed in (2, 3, 5)]
    assert describe_seeds(jobs) == "init 2-3, 5, bit 7, all others 1"
    assert describe_seeds([replace(jobs[0], seeds=Seeds())]) == "all 1, 1 repetition"
    assert describe_seeds([]) == ""
