"""Tests of the view on the spread of language models: tables and findings."""

import math
import re
from dataclasses import replace

import numpy as np
import pytest

from factories.findings import in_order, numbers
from factories.language import (
    NOISE,
    TAPS,
    by_hand,
    language_plan,
    language_run,
    language_summary,
    made_measures,
)
from factories.runs import QUICK, drawn, failed_run, made_summary
from nondet.analysis.language_statistics import language_statistics
from nondet.analysis.stats import pair_ratio, sd_ratio
from nondet.analysis.summary import Summary
from nondet.report.build import build
from nondet.report.render.markdown import markdown
from nondet.report.text import percentage_interval
from nondet.report.views import make_section
from nondet.studies.catalog import find_study
from nondet.studies.row import Row
from nondet.studies.specs import PerturbationSpec


@pytest.fixture(scope="module")
def summary():
    return language_summary(language_plan(), NOISE)


@pytest.fixture(scope="module")
def section(summary):
    return make_section("perplexity", summary)


def cells(table, row):
    names = [column.name for column in table.columns]
    assert len(set(names)) == len(names)
    [line] = [line for line in table.lines if line.cells[0].value == row]
    return dict(zip(names, line.cells, strict=True))


# -- tables ------------------------------------------------------------------------------------


def test_table_by_hand():
    table = make_section("perplexity", by_hand()).tables[0]
    assert [column.name for column in table.columns if column.bar] == ["cross_entropy_sd_nats"]
    found = cells(table, "both")
    assert {name: cell.text for name, cell in found.items() if "_sd" not in name} == {
        "row": "both",
        "disagreement_percent": "20.00",
        "spearman_correlation": "0.9300",
        "ensemble_perplexity_change": "-4.50",
        "cka_last_layer": "0.650",
    }
    sd, bar = found["perplexity_sd"], found["cross_entropy_sd_nats"]
    assert sd.value == pytest.approx(math.sqrt(26 / 3))
    assert sd.text == f"2.944 ± {sd.error:.3f}"
    spread = np.std(np.log([70, 72, 77]))
    assert bar.value == pytest.approx(spread)
    assert bar.text == f"{spread:.4f} ± {bar.error:.4f}"
    [line] = table.lines
    assert (line.group, line.strong) == ("qrnn", False)
    assert line.seeds == "init + stochastic 2-4, all others 1"


def test_intervals_by_hand():
    made = by_hand()
    table = make_section("perplexity", made).tables[1]
    assert table.detail
    found, statistics = cells(table, "both"), made.models[0].rows[0].language
    assert found["perplexity_mean"].text == "73.00"
    assert found["cross_entropy_mean_nats"].text == f"{np.log([70, 72, 77]).mean():.4f}"
    sd = found["perplexity_sd_unbiased"]
    assert sd.value == pytest.approx(math.sqrt(13) / (math.sqrt(math.pi) / 2))
    assert sd.text == f"4.068 ({sd.interval[0]:.3f}-{sd.interval[1]:.3f})"
    value, low, high = statistics.ensemble_cross_entropy
    ensemble = found["ensemble_cross_entropy_change_nats"]
    assert (ensemble.value, ensemble.interval) == (value, (low, high))
    assert ensemble.text == f"-0.0450 ({low:+.4f} to {high:+.4f})"
    for name, expected in (
        ("cross_entropy_sd_unbiased_nats", statistics.cross_entropy_unbiased),
        ("disagreement_percent", statistics.disagreement),
        ("spearman_correlation", statistics.correlation),
        ("ensemble_perplexity_change", statistics.ensemble_perplexity),
    ):
        assert (found[name].value, *found[name].interval) == expected


def test_alignment_layer_by_layer_by_hand():
    made = by_hand()
    table = make_section("perplexity", made).tables[-1]
    assert [column.heading for column in table.columns] == [
        "source varied",
        "runs",
        "layer1",
        "layer2",
    ]
    [line] = table.lines
    assert [cell.text for cell in line.cells] == ["both", "3", "0.960", "0.650"]
    assert line.cells[3].interval == made.models[0].rows[0].language.cka["layer2"][1:]


def test_rows_stand_in_order_and_one_bit_is_set_off(section):
    for table in section.tables[:2]:
        assert [line.cells[0].text for line in table.lines] == [
            "control",
            "initialization",
            "stochastic operations",
            "both",
            "one bit",
        ]
        assert [line.strong for line in table.lines] == [False] * 4 + [True]
    control = section.tables[0].lines[0]
    assert [cell.text for cell in control.cells] == ["control", "0", "0", "0", "1", "0", "1.000"]
    assert control.seeds == "all 1, 2 repetitions"


def test_incomplete_rows_are_marked(summary):
    rows = list(summary.models[0].rows)
    runs = rows[1].runs
    rows[1] = replace(rows[1], runs=runs[:1], failed=[failed_run(runs[1].job)], language=None)
    model = replace(summary.models[0], rows=rows)
    made = make_section("perplexity", replace(summary, models=[model]))
    for table in made.tables[:2]:
        line = table.lines[1]
        assert line.cells[0].text == "initialization 1/8, 1 failed"
        assert {(cell.text, cell.value) for cell in line.cells[1:]} == {("-", None)}
        assert line.seeds == "init 2-3, all others 1"
    assert [line.cells[0].text for line in made.tables[-1].lines] == [
        "control",
        "stochastic operations",
        "both",
        "one bit",
    ]
    [left, _] = drawn(made.figures[0]).axes
    assert "initialization" not in [text.get_text() for text in left.get_yticklabels()]


def test_what_has_no_number_is_a_dash():
    made = by_hand(correlation=(math.nan,) * 3, cka={"layer1": (math.nan,) * 3})
    section = make_section("perplexity", made)
    found = cells(section.tables[0], "both")
    assert found["spearman_correlation"].text == "-"
    assert (found["cka_last_layer"].text, found["cka_last_layer"].value) == ("-", None)
    assert re.search(r"Spearman[^;]* -;", section.findings[-1])
    for figure in section.figures:
        drawn(figure)
    rows = made.models[0].rows
    known = replace(rows[0], language=by_hand().models[0].rows[0].language)
    for pair in ([known, rows[0]], [rows[0], known]):
        model = replace(made.models[0], rows=pair)
        findings = make_section("perplexity", replace(made, models=[model])).findings
        assert re.search(r"Spearman[^;]* 0\.9300 \[", "".join(findings))
    without = make_section("perplexity", by_hand(cka={}))
    assert cells(without.tables[0], "both")["cka_last_layer"].text == "-"
    assert [table.name for table in without.tables] == ["perplexity", "perplexity-intervals"]
    assert len(without.figures) == 3


# -- sentences ---------------------------------------------------------------------------------


def test_findings_agree_with_the_statistics(summary, section):
    rows = {row.row.name: row.language for row in summary.models[0].rows}
    both = rows["both"]

    def share(name):
        ratio = sd_ratio(rows[name].perplexities, both.perplexities)
        return percentage_interval(ratio, "the perplexity SD of all sources together")

    def disagree(name):
        ratio = pair_ratio(rows[name].measures.disagreement, both.measures.disagreement)
        return percentage_interval(ratio, "their disagreement")

    control, bit, init, stochastic, beside, apart, pairs, *_ = section.findings
    assert in_order(control, "control", "all 2 trainings", "equal bits")
    disagreement = rows["one bit"].disagreement.value
    images = f"{disagreement:.2f}% of the test tokens"
    assert in_order(bit, "qrnn: ", "one weight", share("one bit"), disagree("one bit"), images)
    assert in_order(init, "qrnn: ", "initial weights", share("initialization"))
    name = "stochastic operations"
    assert in_order(stochastic, "qrnn: ", name, share(name), disagree(name))
    assert in_order(beside, "qrnn: ", "twice the perplexity SD of another")
    assert in_order(apart, "qrnn: ", "twice the disagreement of another")
    varied = {name: found for name, found in rows.items() if name != "control"}
    least = min(varied.values(), key=lambda found: found.disagreement.value)
    most = max(varied.values(), key=lambda found: found.disagreement.value)
    assert (least, most) == (rows["one bit"], both)
    assert in_order(
        pairs,
        *("qrnn: ", "disagree", "(one bit)", "(both)", "test tokens"),
        *("Spearman", "(both)", "(one bit)"),
        *("averaging", "perplexity", "(both)", "(one bit)"),
    )
    low, high = (f"{end:.2f}" for end in least.disagreement[1:])
    assert pairs.startswith(
        f"qrnn: two runs disagree on {least.disagreement.value:.2f}% [95% CI {low}%-{high}%] (one"
    )
    assert f"{most.correlation.value:.4f} [95% CI" in pairs
    assert f"to {least.ensemble_perplexity.value:+.2f} [95% CI" in pairs
    alignment = section.findings[7:]
    assert in_order(alignment[0], "qrnn: CKA", "control", "1", "every layer")
    assert all(one.startswith("qrnn: ") for one in alignment)


@pytest.mark.parametrize(
    ("noise", "words"),
    [
        (0.05, "of all sources together (less)"),
        (20.0, "of all sources together (more)"),
    ],
)
def test_one_bit_beside_both_sources(noise, words):
    made = language_summary(language_plan(), {**NOISE, "one bit": noise})
    assert words in make_section("perplexity", made).findings[1]


@pytest.mark.parametrize(
    ("noise", "words"),
    [
        (0.05, ("not alike in perplexity SD", "initialization")),
        (0.9, ("no source", "twice the perplexity SD")),
    ],
)
def test_sources_beside_each_other(noise, words):
    made = language_summary(language_plan("table2", 60), {**NOISE, "stochastic operations": noise})
    rows = {row.row.name: row.language.perplexities for row in made.models[0].rows}
    far, near = sorted(
        (rows[name] for name in ("initialization", "stochastic operations")), key=np.std
    )[::-1]
    [found] = [one for one in make_section("perplexity", made).findings if in_order(one, *words)]
    value, _, low, high = map(float, numbers(found)[-4:])
    ratio = sd_ratio(far, near)
    assert (value, low, high) == pytest.approx(tuple(ratio), rel=0.05)


def test_control_that_is_not_exact_is_told():
    made = language_summary(language_plan(), NOISE)
    runs = made.models[0].rows[0].runs
    runs[1] = language_run(runs[1].job, 81.0, weights="another")
    assert "NOT exact" in make_section("perplexity", made).findings[0]


def test_bit_that_alters_no_prediction():
    rows = [Row("control", runs=2), Row("one bit", ("bit",)), Row("both", ("init", "stochastic"))]
    made = language_summary(language_plan(rows=rows, runs=4), {"both": 1.0})
    rows = made.models[0].rows
    small = language_statistics(
        made_measures(80 + 1e-6 * np.arange(4), [0] * 6, [1] * 6, [0] * 6, {"layer1": [1] * 6})
    )
    rows[1] = replace(rows[1], language=small)
    found = make_section("perplexity", made).findings[1]
    assert in_order(found, "qrnn: ", "one weight", "no prediction of any run", "perplexity")
    assert numbers(found) == ["1.1e-06"]
    other = [language_run(run.job, 80.0, likeliest=3) for run in rows[1].runs]
    rows[1] = replace(rows[1], runs=other)
    assert "no prediction from run to run" in make_section("perplexity", made).findings[1]


def test_bit_in_settings_of_its_own():
    quiet = {"language.dropout_hidden": 0.0}
    inverted = PerturbationSpec(change="bit", target="momentum")
    rows = [
        Row("one bit", ("bit",)),
        Row("both", ("init", "stochastic")),
        Row("bit, quiet", ("bit",), quiet),
        Row("both, quiet", ("init", "stochastic"), quiet),
        Row(
            "inverted",
            ("bit",),
            {"perturbation": inverted},
        ),
    ]
    noise = dict.fromkeys((row.name for row in rows), 1.0)
    made = language_summary(language_plan(rows=rows), noise)
    sds = {row.row.name: row.language.perplexity.sd for row in made.models[0].rows}
    found = {
        "bit, quiet": 100 * sds["bit, quiet"] / sds["both, quiet"],
        "inverted": 100 * sds["inverted"] / sds["both"],
    }
    least, most = sorted(found, key=found.get)
    assert in_order(
        make_section("perplexity", made).findings[1],
        *("qrnn: ", f"{found[least]:.0f}% (95% CI", f"in {least!r}", f"{found[most]:.0f}% (95% CI"),
        *(f"in {most!r}", "perplexity SD", "all sources"),
    )


def test_single_row_is_told_without_a_range():
    [told] = make_section("perplexity", by_hand()).findings[:1]
    assert in_order(told, "qrnn: ", "test tokens", "Spearman", "perplexity")
    assert [told.count(f" {value} [95% CI") for value in ("20.00%", "0.9300", "-4.50")] == [1] * 3


# -- the report --------------------------------------------------------------------------------


def test_report_of_texts_speaks_of_no_images(summary):
    plan = replace(summary.plan, views=("spread", "perplexity", "test-set", "cka", "ensembles"))
    document = build(replace(summary, plan=plan))
    assert [one.title for one in document.sections] == ["How far perplexity spreads"]
    page = markdown(document)
    assert "image" not in page.lower()
    assert "qrnn on pydoc, 8 epochs, 2 to 8 trainings per row." in page
    assert "language.embedding 64" in page
    assert dict(document.environment)["dataset.sha256"] == "ef01"
    assert document.published == ()


def test_images_and_texts_in_one_study_stand_in_sections_of_their_own(summary):
    """A user's study may have both."""
    quick = find_study("quick").plan(
        runs=8, epochs=1, settings={"warmup_epochs": 0}, models=("linear",)
    )
    rows = (quick.rows[0], quick.rows[1])
    images = made_summary(replace(quick, rows=rows), QUICK)
    plan = replace(
        quick,
        rows=rows,
        configs=(*quick.configs, *summary.plan.configs),
        views=("spread", "perplexity"),
    )
    texts = language_summary(replace(summary.plan, rows=rows), NOISE)
    models = [*images.models, *texts.models]
    both = Summary(plan, models, labels={**images.labels, **texts.labels})
    spread, perplexity = (make_section(name, both) for name in ("spread", "perplexity"))
    assert {line.group for table in spread.tables for line in table.lines} == {"linear"}
    assert {line.group for table in perplexity.tables for line in table.lines} == {"qrnn"}
    assert not any("qrnn" in one for one in spread.findings)
    assert not any("linear" in one for one in perplexity.findings)
    document = build(both)
    names = [figure.name for one in document.sections for figure in one.figures]
    assert len(set(names)) == len(names)
    assert any("qrnn: dataset pydoc" in line for line in document.settings)
    turned = build(replace(both, plan=replace(plan, configs=plan.configs[::-1])))
    assert set(turned.settings[1:]) >= set(document.settings[2:])


def test_rows_may_have_layers_of_their_own():
    rows = [Row("both", ("init", "stochastic")), Row("init", ("init",)), Row("control")]
    made = language_summary(language_plan(rows=rows), {"both": 1.0, "init": 1.0})
    cka = {"layer1": [0.9] * 28, "layer3": [0.4] * 28}
    deeper = made_measures(80 + np.arange(8), [0.1] * 28, [0.9] * 28, [-1] * 28, cka)
    made.models[0].rows[1] = replace(
        made.models[0].rows[1], language=language_statistics(deeper, 500)
    )
    section = make_section("perplexity", made)
    assert [column.name for column in section.tables[-1].columns[2:]] == [
        f"cka_{tap}" for tap in (*TAPS, "layer3")
    ]
    texts = [[cell.text for cell in line.cells[2:]] for line in section.tables[-1].lines]
    assert [text == "-" for text in texts[0]] == [False, False, False, True]
    assert texts[1] == ["-", "0.900", "-", "0.400"]
    assert cells(section.tables[0], "init")["cka_last_layer"].text == "0.400"
    # Sources are beside each other in the layer that all have.
    assert in_order("".join(section.findings), "at layer1", "init 0.900", "both 0.9")
    drawn(section.figures[3])


def test_nothing_to_show():
    plan = find_study("quick").plan(
        runs=2, epochs=1, settings={"warmup_epochs": 0}, models=("linear",)
    )
    assert make_section("perplexity", made_summary(plan, QUICK)) is None
    crossed = Row("crossed", ("init", "stochastic"), design="crossed", levels=2)
    assert make_section("perplexity", language_summary(language_plan(rows=[crossed]), {})) is None
