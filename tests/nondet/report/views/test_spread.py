"""Tests of the view on the spread on images: tables and findings."""

from dataclasses import replace

import pytest

from factories.findings import check_units, in_order, numbers
from factories.runs import CLEAR, LABELS, QUICK, drawn, failed_run, made_run, made_summary, noisy
from nondet.analysis.stats import detectable_sd_ratio, pair_ratio, sd_ratio
from nondet.analysis.summary import compute_statistics
from nondet.report.text import factor, percentage_interval, written_interval
from nondet.report.views import make_section
from nondet.studies.catalog import find_study
from nondet.studies.row import Row
from nondet.studies.specs import PerturbationSpec

LEAST = detectable_sd_ratio(8, 8, power=0.5)
ALL = ("init", "shuffle", "augment", "stochastic", "lowlevel")


@pytest.fixture(scope="module")
def quick():
    plan = find_study("quick").plan(
        runs=8, epochs=1, settings={"warmup_epochs": 0}, models=("linear", "hidden")
    )
    return made_summary(plan, QUICK)


def with_noise(summary, model, noise):
    """Return a summary of one model with other noise in some rows."""
    [config] = [config for config in summary.plan.configs if config.model == model]
    plan = replace(summary.plan, configs=(config,))
    return made_summary(plan, {model: {**QUICK[model], **noise}})


def sentence(section, *words):
    """Return the only finding that has these words in this order."""
    [found] = [one for one in section.findings if in_order(one, *words)]
    return found


# -- tables ------------------------------------------------------------------------------------


def test_tables_show_the_statistics_of_every_row(quick):
    section = make_section("spread", quick)
    check_units(section)
    table, intervals, _ = section.tables
    names = [column.name for column in table.columns]
    assert [column.name for column in table.columns if column.bar] == ["cross_entropy_sd_nats"]
    assert [line.group for line in table.lines] == ["linear"] * 8 + ["hidden"] * 9
    assert [line.group for line in table.lines if line.strong] == ["linear", "hidden"]
    [line] = [line for line in table.lines if line.group == "hidden" and line.strong]
    found = quick.models[1].named("one bit").statistics
    cells = dict(zip(names, line.cells, strict=True))
    assert cells["row"].value == "one bit"
    sd = cells["accuracy_sd_points"]
    assert (sd.value, sd.error) == found.accuracy
    assert sd.text == f"{found.accuracy.sd:.2f} ± {found.accuracy.error:.2f}"
    assert cells["spearman_correlation"].value == found.correlation.value
    assert line.seeds == "bit 2-9, all others 1"

    names = [column.name for column in intervals.columns]
    assert len(set(names)) == len(names)
    [line] = [line for line in intervals.lines if line.group == "hidden" and line.strong]
    cells = dict(zip(names, line.cells, strict=True))
    assert cells["accuracy_mean_percent"].value == found.accuracies.mean()
    value, low, high = found.disagreement
    assert (cells["disagreement_percent"].value, cells["disagreement_percent"].interval) == (
        value,
        (low, high),
    )
    assert cells["disagreement_percent"].text == f"{value:.2f} ({low:.2f}-{high:.2f})"
    assert cells["cross_entropy_sd_unbiased_nats"].value == found.cross_entropy_unbiased.value


def test_control_shows_zeros_without_error_bars(quick):
    table, intervals, _ = make_section("spread", quick).tables
    assert [cell.text for cell in table.lines[0].cells] == ["control", "0", "0", "0", "1", "0", "0"]
    assert [cell.text for cell in intervals.lines[0].cells][3:] == ["0", "0", "0", "1", "0", "0"]


def test_incomplete_rows_are_marked(quick):
    config = quick.plan.configs[0]
    summary = made_summary(replace(quick.plan, configs=(config,)), QUICK)
    rows = summary.models[0].rows
    rows[1] = replace(
        rows[1], runs=rows[1].runs[:1], failed=[failed_run(rows[1].runs[1].job)], statistics=None
    )
    section = make_section("spread", summary)
    for table in section.tables[:2]:
        cells = table.lines[1].cells
        assert (cells[0].text, cells[0].value) == ("initialization 1/8, 1 failed", "initialization")
        assert {(cell.text, cell.value) for cell in cells[1:]} == {("-", None)}
        assert table.lines[1].seeds == "init 2-3, all others 1"
    [left, _] = drawn(section.figures[0]).axes
    assert "initialization" not in [text.get_text() for text in left.get_yticklabels()]


def test_crossed_rows_are_no_independent_runs(quick):
    config = quick.plan.configs[0]
    crossed = Row("crossed", ("init", "shuffle"), design="crossed", levels=2)
    plan = replace(quick.plan, configs=(config,), rows=(crossed,))
    assert make_section("spread", made_summary(plan, {})) is None
    plan = replace(plan, rows=(*quick.plan.rows[:2], crossed))
    [table, _] = make_section("spread", made_summary(plan, {})).tables
    assert [line.cells[0].text for line in table.lines] == ["control", "initialization"]


# -- sentences ---------------------------------------------------------------------------------


def test_findings_agree_with_the_statistics(quick):
    findings = make_section("spread", quick).findings
    linear, hidden = quick.models
    assert in_order(findings[0], "control", "all 16 trainings", "equal bits")
    bit, every = (hidden.named(name).statistics for name in ("one bit", "all sources"))
    ratio = sd_ratio(bit.cross_entropies, every.cross_entropies)
    share = percentage_interval(ratio, "the cross-entropy SD of all sources together")
    assert in_order(findings[1], "hidden: ", "one weight", share)
    ratio = pair_ratio(bit.pairs["disagreement"], every.pairs["disagreement"])
    images = f"{bit.disagreement.value:.2f}% of the test images"
    assert in_order(findings[1], percentage_interval(ratio, "their disagreement"), images)
    ratio = pair_ratio(1 - bit.pairs["correlation"], 1 - every.pairs["correlation"])
    assert percentage_interval(ratio, "their rank distance, 1 - Spearman") in findings[1]
    small = linear.named("one bit").statistics.cross_entropy.sd
    assert in_order(findings[2], "linear: ", "no prediction of any run", "times less", "'hidden'")
    assert numbers(findings[2])[0] == f"{small:.1e}"
    assert in_order(
        findings[3], "hidden: ", "initial weights alone give", "of all sources together"
    )
    order = hidden.named("low-level order").statistics
    ratio = sd_ratio(order.cross_entropies, every.cross_entropies)
    assert in_order(findings[4], "hidden: ", "order of the sums", percentage_interval(ratio))


def test_order_of_sums_without_anything_beside_it(quick):
    rows = tuple(row for row in quick.plan.rows if row.name in ("control", "low-level order"))
    summary = made_summary(replace(quick.plan, rows=rows), QUICK)
    order = summary.models[1].named("low-level order").statistics
    found = sentence(make_section("spread", summary), "hidden: ", "order of the sums")
    assert numbers(found) == [f"{order.cross_entropy.sd:.2g}", f"{order.disagreement.value:.2f}"]


@pytest.mark.parametrize(
    ("noise", "words"),
    [
        (1.0, "(less)"),
        (1.8, f"(undecided: 8 runs a row can show differences above {LEAST:.1f} times)"),
        (2.0, "(alike within a factor of 2)"),
        (30.0, "(more)"),
    ],
)
def test_one_bit_beside_all_sources(quick, noise, words):
    summary = with_noise(quick, "hidden", {"one bit": noise})
    found = make_section("spread", summary).findings[1]
    assert f"of the cross-entropy SD of all sources together {words}" in found
    bit, every = (
        summary.models[0].named(name).statistics.cross_entropies.std()
        for name in ("one bit", "all sources")
    )
    assert numbers(found)[0] == f"{100 * bit / every:,.0f}"


def test_many_runs_show_that_two_spreads_are_alike(quick):
    plan = replace(quick.plan, configs=quick.plan.configs[1:], runs=60)
    plan = replace(plan, rows=(quick.plan.rows[0], *quick.plan.rows[-2:]))
    summary = made_summary(plan, {"hidden": {"one bit": 1.95, "all sources": 2.0}})
    assert make_section("spread", summary).findings[1].count("(alike within a factor of 2") == 3


def test_few_runs_do_not_make_two_spreads_equal(quick):
    plan = replace(quick.plan, configs=quick.plan.configs[1:], runs=3)
    summary = made_summary(plan, {"hidden": {**QUICK["hidden"], "one bit": 1.9}})
    found = make_section("spread", summary).findings[1]
    assert "together (undecided: 3 runs a row can show differences above " in found


def test_one_bit_beside_initial_weights_where_nothing_varies_together(quick):
    rows = tuple(row for row in quick.plan.rows if row.name != "all sources")
    summary = made_summary(replace(quick.plan, rows=rows), QUICK)
    assert "initial weights" in make_section("spread", summary).findings[1]
    rows = tuple(row for row in rows if row.name != "initialization")
    summary = made_summary(replace(quick.plan, rows=rows), QUICK)
    sd = summary.models[1].named("one bit").statistics.cross_entropy.sd
    found = make_section("spread", summary).findings[1]
    assert numbers(found)[0] == f"{sd:.2g}"
    assert "initial weights" not in found


def test_combination_that_is_not_of_all_is_called_by_its_name(quick):
    rows = (*quick.plan.rows[:-1], Row("data", ("shuffle", "augment")))
    plan = replace(quick.plan, rows=rows, configs=quick.plan.configs[1:])
    summary = made_summary(plan, {"hidden": {**QUICK["hidden"], "data": 2.0}})
    assert "'data'" in make_section("spread", summary).findings[1]


def test_predictions_that_only_agree_with_each_other_are_altered(quick):
    """All runs of the row predict the same, but not what the control does."""
    summary = made_summary(replace(quick.plan, configs=quick.plan.configs[:1]), QUICK)
    rows = summary.models[0].rows
    at = next(i for i, row in enumerate(rows) if row.row.name == "one bit")
    flipped = CLEAR[:, ::-1]
    runs = [
        made_run(run.job, flipped + noisy(1e-6, n, 0 * CLEAR))
        for n, run in enumerate(rows[at].runs)
    ]
    rows[at] = replace(rows[at], runs=runs, statistics=compute_statistics(runs, LABELS))
    found = sentence(make_section("spread", summary), "one weight moved")
    assert "no prediction from run to run" in found


def test_changes_of_other_kinds_are_named(quick):
    spec = PerturbationSpec(target="momentum", change="bit", tensor="*")
    rows = (Row("bit of a momentum", ("bit",), {"perturbation": spec}), Row("all", ALL))
    plan = replace(quick.plan, rows=rows, configs=quick.plan.configs[1:])
    summary = made_summary(plan, {"hidden": {"bit of a momentum": 2.0, "all": 2.0}})
    found = make_section("spread", summary).findings[0]
    assert in_order(found, "hidden, bit of a momentum: ", "inverted bit", "momentum", "gives 100%")
    assert numbers(found)[0] == "100"


def test_one_bit_in_several_settings(quick):
    remedies = {"slow": {"lr": 0.1}, "short": {"epochs": 2}}
    rows = [Row("one bit", ("bit",)), Row("all sources", ALL)]
    for name, settings in remedies.items():
        rows += [Row(f"bit, {name}", ("bit",), settings), Row(name, ALL, settings)]
    plan = replace(quick.plan, rows=tuple(rows), configs=quick.plan.configs[1:])
    noise = dict.fromkeys((row.name for row in rows), 2.0) | {"bit, slow": 1.5}
    summary = made_summary(plan, {"hidden": noise})
    less, more = (
        summary.models[0].named(name).statistics.cross_entropy.sd for name in ("bit, slow", "slow")
    )
    findings = make_section("spread", summary).findings
    least, most = f"{100 * less / more:.0f}% (95% CI", "100% (95% CI"
    words = (least, "in 'bit, slow' to", most, "in 'bit, short' of the cross-entropy SD")
    assert in_order(findings[1], "hidden: ", *words)
    assert in_order(findings[0], "hidden: ", "one weight")


def test_sources_are_told_of_where_no_bit_is_moved(quick):
    rows = tuple(row for row in quick.plan.rows if row.varies != ("bit",))
    summary = made_summary(replace(quick.plan, rows=rows), QUICK)
    findings = make_section("spread", summary).findings
    # No source changes enough predictions of `linear` to compare its disagreement.
    subjects = ["control", "linear", "hidden", "hidden", "linear", "hidden", "hidden"]
    assert [one.split(":")[0] for one in findings] == subjects


@pytest.mark.parametrize(
    ("noise", "words"),
    [
        ({"low-level order": 0.1}, "not alike in cross-entropy SD"),
        ({"low-level order": 1.4}, "cross-entropy SD of another is undecided"),
    ],
)
def test_sources_beside_each_other(quick, noise, words):
    summary = with_noise(quick, "hidden", noise)
    model = summary.models[0]
    far, near = (
        model.named(name).statistics.cross_entropies for name in ("augmentation", "low-level order")
    )
    found = sentence(make_section("spread", summary), words)
    assert in_order(found, "hidden: ", "augmentation", "low-level order", "for 10 pairs at once")
    ratio = sd_ratio(far, near, confidence=0.995)
    ends = written_interval(ratio, factor(ratio.low), factor(ratio.high), at_once="10 pairs")
    assert f"{factor(ratio.value)} times ({ends})" in found
    if "undecided" in words:
        seen = 2 * detectable_sd_ratio(8, 8, 0.5, 0.995)
        assert f"8 runs a row can show it from {factor(seen)} times on" in found
    of_pairs = [one for one in make_section("spread", summary).findings if "disagreement of" in one]
    assert len(of_pairs) == ("undecided" in words)  # none where a source changes no prediction


def test_sources_that_are_alike(quick):
    plan = replace(quick.plan, configs=quick.plan.configs[1:], rows=quick.plan.rows[:3], runs=60)
    summary = made_summary(plan, {"hidden": {"initialization": 2.0, "shuffling": 1.9}})
    for quantity in ("cross-entropy SD", "disagreement"):
        found = sentence(make_section("spread", summary), "no source", f"twice the {quantity}")
        assert in_order(found, "initialization and shuffling", "1.", "times (95% CI ")
        assert "pairs at once" not in found
