"""Tests of spreads beside a reference, and of which row that is."""

import math
from dataclasses import replace

import numpy as np
import pytest

from factories.language import NOISE, language_plan, language_summary
from factories.runs import made_summary
from nondet.analysis.relative import references, relative
from nondet.analysis.stats import detectable_sd_ratio, pair_ratio, sd_ratio
from nondet.report.views import make_section
from nondet.report.views._verdicts import shown_by, verdict
from nondet.studies.catalog import find_study
from nondet.studies.row import Row

ALL = ("init", "shuffle", "augment", "stochastic", "lowlevel")


@pytest.fixture(scope="module")
def plan():
    found = find_study("quick").plan(
        runs=6, epochs=1, settings={"warmup_epochs": 0}, models=("hidden",)
    )
    rows = (
        Row("control"),
        Row("initialization", ("init",)),
        Row("all", ALL),
        Row("slow", ALL, {"lr": 0.1}),
        Row("bit", ("bit",)),
        Row("bit, slow", ("bit",), {"lr": 0.1}),
        Row("bit, long", ("bit",), {"epochs": 2}),
    )
    return replace(found, rows=rows)


NOISES = {"initialization": 2.0, "all": 2.0, "slow": 1.0, "bit": 1.5, "bit, slow": 1.2} | {
    "bit, long": 1.0
}


@pytest.fixture(scope="module")
def model(plan):
    return made_summary(plan, {"hidden": NOISES}).models[0]


def pairs(model, baseline):
    return {row.row.name: other.row.name for row, other in references(model, baseline)}


def test_a_row_stands_beside_all_sources_in_the_same_settings(model):
    assert pairs(model, None) == {
        "initialization": "all",
        "bit": "all",
        "bit, slow": "slow",
        "bit, long": "initialization",
    }


def test_a_remedy_stands_beside_the_baseline(model):
    assert pairs(model, "all") == pairs(model, None) | {"slow": "all"}


def test_rows_without_anything_beside_them_are_left_out(plan):
    rows = tuple(row for row in plan.rows if row.name.startswith("bit"))
    [model] = made_summary(replace(plan, rows=rows), {"hidden": NOISES}).models
    assert pairs(model, None) == {}


def test_quotients_are_those_of_the_statistics(model):
    row, other = model.named("bit"), model.named("all")
    found = relative(row, other, 0.9)
    a, b = row.statistics, other.statistics
    assert found.sds["accuracy"] == sd_ratio(a.accuracies, b.accuracies, 0.9)
    assert found.sds["cross_entropy"] == sd_ratio(a.cross_entropies, b.cross_entropies, 0.9)
    assert found.pairs["disagreement"] == pair_ratio(
        a.pairs["disagreement"], b.pairs["disagreement"], 0.9
    )
    distance = pair_ratio(1 - a.pairs["correlation"], 1 - b.pairs["correlation"], 0.9)
    assert found.pairs["rank_distance"] == distance
    assert found.detectable(0.8) == detectable_sd_ratio(6, 6, 0.8, 0.9)
    # Two ways to predict with the same runs are paired.
    same = relative(replace(row, runs=other.runs), other, 0.9)
    expected = sd_ratio(a.cross_entropies, b.cross_entropies, 0.9, paired=True)
    assert same.sds["cross_entropy"] == expected


def test_language_models_have_perplexities():
    [model] = language_summary(language_plan(), NOISE).models
    found = relative(model.named("one bit"), model.named("both"))
    assert list(found.sds) == ["perplexity", "cross_entropy"]
    a, b = (model.named(name).language.perplexities for name in ("one bit", "both"))
    assert found.sds["perplexity"] == sd_ratio(a, b)


def test_rows_without_statistics_are_refused(model):
    row = model.named("bit")
    with pytest.raises(ValueError, match="'bit' and 'all' have no statistics"):
        relative(replace(row, statistics=None), model.named("all"))


@pytest.mark.parametrize(
    ("ends", "words"),
    [
        ((0.2, 0.9), "less"),
        ((0.6, 0.9), "less, within a factor of 2"),
        ((1.01, 1.9), "more, within a factor of 2"),
        ((1.1, 9), "more"),
        ((0.6, 1.9), "alike within a factor of 2"),
        ((0.4, 1.5), "undecided"),
        ((0.6, 2.1), "undecided"),
        ((math.nan, math.nan), "undecided"),
    ],
)
def test_verdicts(ends, words):
    assert verdict(type(sd_ratio(np.arange(3.0), np.arange(3.0)))(1.0, *ends)) == words


def test_what_runs_can_show(model):
    found = relative(model.named("bit"), model.named("all"))
    least = detectable_sd_ratio(6, 6, 0.5)
    assert shown_by(found) == f"6 runs a row can show differences above {least:.1f} times"
    assert shown_by(replace(found, runs=(2, 2))) == "2 runs a row can show no difference"
    assert shown_by(replace(found, runs=(3, 9))).startswith("3 and 9 runs can show")


def test_table_has_the_quotients_and_their_verdicts(plan):
    summary = made_summary(plan, {"hidden": NOISES})
    table = make_section("spread", summary).tables[2]
    names = [column.name for column in table.columns]
    lines = {line.cells[0].value: dict(zip(names, line.cells, strict=True)) for line in table.lines}
    assert list(lines) == ["initialization", "bit", "bit, slow", "bit, long"]
    model = summary.models[0]
    found = relative(model.named("bit, slow"), model.named("slow"))
    line = lines["bit, slow"]
    assert line["relative_to"].text == "slow"
    for name, ratio in {**found.sds, **found.pairs}.items():
        cell = line[f"{name}_percent"]
        assert (cell.value, *cell.interval) == pytest.approx(tuple(100 * end for end in ratio))
        assert line[f"{name}_verdict"].text == verdict(ratio)
    assert line["detectable_sd_ratio"].value == detectable_sd_ratio(6, 6, 0.5)
    assert line["detectable_sd_ratio_at_power_80"].value == detectable_sd_ratio(6, 6, 0.8)


def test_two_runs_tell_nothing(plan):
    summary = made_summary(replace(plan, runs=2), {"hidden": NOISES})
    section = make_section("spread", summary)
    line = section.tables[2].lines[1]
    assert [cell.text for cell in line.cells[3::2]][:4] == ["-"] * 4
    assert [cell.interval for cell in line.cells if cell.value is not None] == [None] * 5
    found = next(one for one in section.findings if "one weight" in one)
    assert found.count("(no interval)") == 3
    assert "2 runs a row can show no difference" in found
