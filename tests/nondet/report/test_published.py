"""Tests of the table that compares results with published numbers."""

from dataclasses import replace

import pytest

from factories.language import language_plan, language_summary
from factories.runs import made_summary
from nondet.analysis.stats import reduction
from nondet.report.published import different, find, published
from nondet.report.published_numbers import PUBLISHED
from nondet.studies.catalog import find_study
from nondet.studies.config import RunConfig
from nondet.studies.row import Row
from nondet.studies.seeds import Onset

ALL = ("init", "shuffle", "augment", "stochastic", "lowlevel")


@pytest.fixture
def paper():
    """Return the settings of the paper's Sec. 3.1."""
    return RunConfig(
        dataset="cifar10",
        model="resnet14",
        epochs=500,
        batch_size=512,
        lr=0.4,
        momentum=0.9,
        weight_decay=5e-4,
        schedule="cosine",
        warmup_epochs=3,
        crop_padding=4,
        flip=True,
        drop_last=False,
        normalization="published",
        bias_lr_scope="published",
    )


def numbers(one):
    return (
        one.accuracy.sd,
        one.cross_entropy.sd,
        one.disagreement,
        one.correlation,
        one.ensemble,
    )


def test_published_reductions_follow_from_the_other_columns():
    """A mistyped number would differ by more than the rounding of the published ones."""
    single = PUBLISHED[0]
    given = [one for one in PUBLISHED if one.reduction is not None]
    assert len(given) == 8
    for one in given:
        assert 100 * reduction(numbers(one), numbers(single)) == pytest.approx(
            one.reduction, abs=1.6
        )


@pytest.mark.parametrize(
    ("row", "found"),
    [
        (Row("all", ALL), [0.0072, 0.0080]),
        (Row("all", ("lowlevel", "augment", "shuffle", "init")), [0.0072, 0.0080]),
        (Row("bit", ("bit",)), [0.0067]),
        (Row("held"), [0]),
        (Row("shuffling", ("shuffle",)), [0.0083]),
        (Row("all", ALL, {"schedule": "snapshots"}, output="snapshots"), [0.0044]),
        (Row("all", ALL, {"schedule": "snapshots"}, output="snapshots/flip"), [0.0039]),
        (Row("all", ALL, output="final/original+flip+wide25"), [0.0051]),
        (Row("all", ALL, output="final/original+crops81"), [0.0055]),
        (Row("all", ALL, output="final/crops25"), []),
        (Row("all", ALL, output="final/wide25"), []),
        (Row("all", ALL, {"schedule": "snapshots"}), []),
        (Row("all", ALL, {"schedule": "snapshots", "cycles": 10}, output="snapshots"), []),
        (Row("late", ("shuffle",), onset=Onset(shuffle=9)), []),
        (Row("crossed", ("shuffle",), design="crossed", levels=3), []),
        (Row("init and bit", ("init", "bit")), []),
        (Row("all", ALL, {"lr": 0.1}), []),
        (Row("all", ALL, {"dropout": 0.1}), []),
    ],
)
def test_rows_are_found_by_what_they_are(paper, row, found):
    assert [one.cross_entropy.sd for one in find(row, paper)] == found


@pytest.mark.parametrize(
    "other",
    [
        {"dataset": "cifar100", "normalization": "measured"},
        {"model": "resnet18"},
        {"epochs": 200},
        {"batch_size": 256},
        {"optimizer": "nesterov"},
        {"flip": False},
        {"weight_decay": 1e-4},
    ],
)
def test_other_settings_have_no_published_numbers(paper, other):
    assert find(Row("all", ALL), paper)
    assert find(Row("all", ALL), replace(paper, **other)) == []


@pytest.mark.parametrize(
    ("row", "changed", "names"),
    [
        (Row("init", ("init",)), {}, []),
        (Row("held"), {}, []),
        (Row("bit", ("bit",)), {"drop_last": True}, ["drop_last true"]),
        (Row("init", ("init",)), {"normalization": "measured"}, ["normalization measured"]),
        (Row("init", ("init",)), {"bias_lr_scope": "vectors"}, ["bias_lr_scope vectors"]),
        (Row("low", ("lowlevel",)), {}, ["lowlevel seeded"]),
        (Row("all", ALL), {"lowlevel": "vendor", "device": "cuda"}, []),
        (
            Row("all", ALL, {"schedule": "snapshots"}, output="snapshots"),
            {"lowlevel": "vendor", "device": "cuda"},
            ["cycle_warmup false"],
        ),
        (
            Row(
                "all", ALL, {"schedule": "snapshots", "cycle_warmup": True}, output="snapshots/flip"
            ),
            {"lowlevel": "vendor", "device": "cuda"},
            [],
        ),
    ],
)
def test_what_differs_from_the_published_runs_is_named(paper, row, changed, names):
    config = replace(paper, **changed)
    assert find(row, config)
    assert different(row, config) == names


@pytest.mark.parametrize(
    ("model", "spread", "names"),
    [
        ("linear", (0, 3e-8), []),
        ("hidden", (0.28, 0.0055), []),
        ("hidden-conv", (0.14, 0.0024), ["lr 0.1"]),
    ],
)
def test_small_models_have_the_numbers_of_the_text(model, spread, names):
    """Sec. 4.2; the paper gives no learning rate for the convolution."""
    plan = find_study("table8").plan("paper")
    [config] = [config for config in plan.configs if config.model == model]
    [found] = find(Row("one bit", ("bit",)), config)
    assert (found.accuracy.sd, found.cross_entropy.sd) == spread
    assert different(Row("one bit", ("bit",)), config) == names
    assert find(Row("init", ("init",)), config) == []


def test_studies_at_the_paper_s_scale_are_of_the_same_setting_on_a_gpu():
    for name, number in (("table1", 9), ("table3", 5), ("table5", 4), ("tta", 11)):
        plan = find_study(name).plan(
            "paper", device="cuda", settings={"lowlevel": "vendor", "chunks": 1}
        )
        [config] = plan.configs
        matching = [row for row in plan.rows for _ in find(row, config)]
        assert len(matching) == number, name
        assert not any(different(row, config) for row in matching)


def test_table_shows_both(paper, plan):
    rows = (
        Row("everything", ALL),
        Row("own idea", ("init", "bit")),
        Row("flipped", ALL, output="final/flip"),
    )
    final = tuple(replace(row, output="final") for row in rows)
    plan = replace(plan, configs=(paper,), rows=final, runs=4, baseline="everything")
    summary = made_summary(plan, {"resnet14": {"everything": 2.0, "flipped": 1.8}})
    model = summary.models[0]
    model.rows[2] = replace(model.rows[2], row=rows[2])
    [table] = published(summary)
    names = [column.name for column in table.columns]
    assert table.grouping == "row"
    assert [(line.group, line.cells[0].text) for line in table.lines] == [
        ("everything", "here, 4 models"),
        ("everything", "the paper"),
        ("everything", "replication (MLRC 2021)"),
        ("flipped", "here, 4 models"),
        ("flipped", "the paper"),
    ]
    assert "Other here: lowlevel seeded (everything and flipped). " in table.note
    own, theirs = (dict(zip(names, line.cells, strict=True)) for line in table.lines[3:])
    found = model.rows[2].statistics
    assert own["accuracy_sd_points"].value == found.accuracy.sd
    assert own["variability_reduction_percent"].value > 0
    assert [cell.text for cell in theirs.values()] == [
        "the paper",
        "other setting",
        "0.24 ± 0.02",
        "0.0061 ± 0.0005",
        "8.20",
        "0.905",
        "+1.20",
        "21",
    ]


def test_rows_of_the_same_setting_are_called_so(paper, plan):
    rows = (Row("weights", ("init",)),)
    plan = replace(plan, configs=(paper,), rows=rows, runs=4, baseline=None)
    [table] = published(made_summary(plan, {"resnet14": {"weights": 2.0}}))
    assert [line.cells[1].text for line in table.lines] == ["", "same setting"]
    assert "Other here" not in table.note


def test_what_was_not_published_is_a_dash(plan):
    table8 = find_study("table8").plan("paper", models=("hidden",), runs=3)
    plan = replace(table8, rows=(Row("one bit", ("bit",)),))
    [table] = published(made_summary(plan, {"hidden": {"one bit": 1.0}}))
    texts = [cell.text for cell in table.lines[1].cells]
    assert texts == ["the paper", "same setting", "0.28", "0.0055", "-", "-", "-", "-"]


def test_perplexities_stand_beside_the_paper_s():
    rows = [Row("initialization", ("init",))]
    own = language_plan(rows=rows, runs=3)
    assert published(language_summary(own, {})) == ()
    [config] = find_study("table2").plan("paper").configs
    summary = language_summary(replace(own, configs=(config,)), {"initialization": 1.0})
    [table] = published(summary)
    texts = [[cell.text for cell in line.cells] for line in table.lines]
    assert texts[0] == ["the paper", "one model", "75.49"]
    mean = summary.models[0].rows[0].language.perplexity_mean
    assert texts[1:] == [["here, 3 models", "initialization", f"{mean:.2f}"]]


def test_no_table_where_no_setting_matches(plan):
    assert published(made_summary(replace(plan, configs=plan.configs[:1]), {})) == ()
