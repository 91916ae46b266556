"""Tests of the table that compares results with published numbers."""

from dataclasses import replace

import pytest

from factories.runs import made_summary
from nondet.analysis.stats import reduction
from nondet.report.published import PUBLISHED, find, published
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
        (Row("all", ALL, output="final/flip+crops25"), [0.0051]),
        (Row("all", ALL, output="final/crops24"), []),
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
        {"dataset": "cifar100"},
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
    own, theirs = (dict(zip(names, line.cells, strict=True)) for line in table.lines[3:])
    found = model.rows[2].statistics
    assert own["accuracy_sd_points"].value == found.accuracy.sd
    assert own["variability_reduction_percent"].value > 0
    assert [cell.text for cell in theirs.values()] == [
        "the paper",
        "0.24 ± 0.02",
        "0.0061 ± 0.0005",
        "8.20",
        "0.905",
        "+1.20",
        "21",
    ]


def test_no_table_where_no_setting_matches(plan):
    assert published(made_summary(replace(plan, configs=plan.configs[:1]), {})) == ()
