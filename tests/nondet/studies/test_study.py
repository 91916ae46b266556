"""Tests of rows, jobs, plans and studies."""

import json
from dataclasses import replace

import pytest

from nondet.studies.catalog import STUDIES, find_study
from nondet.studies.job import Job
from nondet.studies.row import Row
from nondet.studies.seeds import SOURCES, Onset, Seeds
from nondet.studies.specs import PerturbationSpec
from nondet.studies.study import Plan, Preset, Study


def test_quick_has_the_control_and_every_source():
    quick = find_study("quick")
    assert [(row.name, row.varies, dict(row.settings)) for row in quick.rows] == [
        ("control", (), {}),
        ("initialization", ("init",), {}),
        ("shuffling", ("shuffle",), {}),
        ("augmentation", ("augment",), {}),
        ("dropout", ("stochastic",), {}),
        ("low-level order", ("lowlevel",), {}),
        ("low-level race", ("lowlevel",), {"lowlevel": "atomic"}),
        ("one bit", ("bit",), {}),
        ("all sources", ("init", "shuffle", "augment", "stochastic", "lowlevel"), {}),
    ]
    plan = quick.plan()
    assert plan.runs == 10
    assert [config.model for config in plan.configs] == ["linear", "hidden"]
    # The linear model has no dropout.
    of_linear = plan.rows_of(plan.configs[0])
    assert [row.name for row in plan.rows if row not in of_linear] == ["dropout"]
    assert plan.rows_of(plan.configs[1]) == list(plan.rows)
    assert len(plan.tasks()) == (8 + 9) * 10


@pytest.mark.parametrize(
    ("settings", "left_out"),
    [
        ({"dropout": 0.5}, []),
        ({"dropout": 0.0, "weight_offset": 0.1}, []),
        ({"crop_padding": 0}, ["augmentation", "dropout"]),
        ({"crop_padding": 0, "flip": True}, ["dropout"]),
        ({"crop_padding": 0, "resized_crop": True}, ["dropout"]),
        ({"lowlevel": "off"}, ["dropout", "low-level order", "low-level race"]),
        ({"lowlevel": "exact"}, ["dropout", "low-level order", "low-level race"]),
    ],
)
def test_rows_apply_to_models_with_their_source(settings, left_out):
    plan = find_study("quick").plan(models=("linear",), settings=settings)
    rows = plan.rows_of(plan.configs[0])
    assert [row.name for row in plan.rows if row not in rows] == left_out


def test_jobs_vary_their_row_and_nothing_else(plan):
    config = plan.configs[1]
    for row in plan.rows:
        jobs = plan.jobs(config, row)
        assert len({job.address for job in jobs}) == plan.runs
        assert {job.config for job in jobs} == {replace(config, **row.settings)}
        for source in SOURCES:
            values = [getattr(job.seeds, source) for job in jobs]
            assert values == ([2, 3] if source in row.varies else [1, 1])
    assert [job.repeat for job in plan.jobs(config, plan.rows[0])] == [0, 1]


def test_a_row_hands_its_onset_to_its_jobs(config):
    row = Row("late", ("bit",), onset=Onset(bit=1))
    assert row.job(config, 0) == Job(config, Seeds(bit=2), onset=Onset(bit=1))


def test_address_depends_on_configuration_seeds_repeat_and_data_alone(config):
    job = Job(config, Seeds())
    assert job.address == Job(replace(config), Seeds(init=1)).address
    others = [
        Job(replace(config, lr=0.39), Seeds()),
        Job(replace(config, device="cuda"), Seeds()),
        Job(config, Seeds(bit=2)),
        Job(config, Seeds(), repeat=1),
        Job(config, Seeds(), data="ab"),
        Job(config, Seeds(), data="cd"),
    ]
    assert len({job.address, *(other.address for other in others)}) == 7
    assert job.identity()["data"] == ""
    assert others[-1].identity()["data"] == "cd"


def test_all_jobs_of_a_plan_carry_its_data(config):
    rows = (
        Row("control"),
        Row("tandem", ("init",)),
        Row("crossed", ("init", "bit"), design="crossed", levels=2),
    )
    plan = Plan("own", "", rows, (config,), 2)
    assert {job.data for job in plan.tasks()} == {""}
    other = plan.with_data({"cifar10": "ef"})
    assert {job.data for job in other.tasks()} == {""}
    known = plan.with_data({config.dataset: "ab", "cifar10": "ef"})
    for row in rows:
        jobs = known.jobs(config, row)
        assert {job.data for job in jobs} == {"ab"}
        assert jobs == [replace(job, data="ab") for job in plan.jobs(config, row)]
    assert len(known.tasks()) == len(plan.tasks())
    assert not known.tasks().keys() & plan.tasks().keys()


def test_data_is_no_setting_of_a_plan(plan):
    known = plan.with_data({"digits": "ab"})
    assert plan.data == {}
    assert known == plan
    assert hash(known) == hash(plan)
    assert known.to_json() == plan.to_json()
    assert plan.differences(known) == []
    assert replace(known, runs=3).data == {"digits": "ab"}
    digests = {"digits": "ab"}
    kept = plan.with_data(digests)
    digests["digits"] = "cd"
    assert kept.data == {"digits": "ab"}


@pytest.mark.parametrize("name", STUDIES)
def test_plan_survives_json(name):
    plan = find_study(name).plan(runs=3, settings={"milestones": (1, 2)})
    spec = PerturbationSpec(target="gradient", step=3)
    late = Row("late", ("bit",), {"perturbation": spec, "milestones": (4,)}, Onset(bit=2))
    plan = replace(plan, rows=(*plan.rows, late))
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan
    assert plan.differences(plan) == []


def test_differences_are_named(plan):
    settings = {"batch_size": plan.configs[0].batch_size}
    other = find_study("quick").plan(runs=4, epochs=9, models=("hidden",), settings=settings)
    assert plan.differences(other) == [
        "runs: 2 there, 4 asked for",
        "models: linear, hidden there, hidden asked for",
        "epochs: 1 there, 9 asked for",
    ]
    fewer_rows = replace(plan, rows=plan.rows[:2])
    assert plan.differences(fewer_rows) == ["rows: another version of the study"]


def test_bad_plans_are_refused():
    quick = find_study("quick")
    with pytest.raises(ValueError, match="runs is 1; a spread needs at least 2"):
        quick.plan(runs=1)
    with pytest.raises(
        ValueError, match="preset is 'poster'; the study 'quick' has: laptop, paper"
    ):
        quick.plan("poster")
    with pytest.raises(ValueError, match="a model is named twice"):
        quick.plan(models=("linear", "linear"))
    with pytest.raises(ValueError, match="row 'x' sets 'model', which is the same in all rows"):
        Row("x", (), {"model": "linear"})
    with pytest.raises(ValueError, match="the study 'empty' has no preset"):
        Study("empty", "", (), {})
    with pytest.raises(ValueError, match="row 'x' varies 'luck'"):
        Row("x", ("luck",))
    with pytest.raises(ValueError, match="row 'x' sets 'luck'; known settings: dataset, model"):
        Row("x", (), {"luck": 1})
    with pytest.raises(ValueError, match="the study sets 'luck'"):
        quick.plan(settings={"luck": 1})


def test_the_default_preset_is_the_laptop_or_the_first():
    preset = find_study("quick").presets["laptop"]
    study = Study(
        "own", "", (Row("control"),), {"small": preset, "large": replace(preset, runs=99)}
    )
    assert study.plan() == study.plan("small")
    assert study.plan().runs == 10
    with_laptop = replace(study, presets={**study.presets, "laptop": replace(preset, runs=7)})
    assert with_laptop.plan().runs == 7


def test_a_row_that_does_not_fit_the_training_is_named():
    preset = Preset(2, ("linear",), {"dataset": "digits", "epochs": 4, "batch_size": 64, "lr": 0.1})
    late = Row("late", ("bit",), onset=Onset(bit=5))
    with pytest.raises(ValueError, match="row 'late': the onset of bit is epoch 5; the training"):
        Study("own", "", (late,), {"laptop": preset}).plan()
    cycles = Row("cycles", ("bit",), {"schedule": "snapshots"})
    with pytest.raises(ValueError, match="row 'cycles': epochs is 4; snapshots need a multiple"):
        Study("own", "", (cycles,), {"laptop": preset}).plan()
    unfit = Row("unfit", ("bit",), output="snapshots")
    with pytest.raises(ValueError, match="row 'unfit': output is 'snapshots', but the schedule"):
        Study("own", "", (unfit,), {"laptop": preset}).plan()


def test_shared_runs_record_what_all_their_rows_need(config):
    rows = (
        Row("control", runs=2),
        Row("all", ("init", "bit"), keep=("taps",)),
        Row("flipped", ("init", "bit"), output="final/flip"),
        Row("crossed", ("init", "bit"), design="crossed", levels=2),
    )
    plan = Plan("own", "", rows, (config,), 3)
    tasks = plan.tasks()
    # Seeds (2, 2) and (3, 3) are among the crossed; (4, 4) is not.
    assert len(tasks) == 2 + 3 + 2
    assert tasks[Job(config, Seeds(init=2, bit=2))] == {"taps", "tta"}
    assert tasks[Job(config, Seeds(init=2, bit=3))] == frozenset()
    assert set(replace(plan, keep=("twin",)).tasks()[Job(config, Seeds())]) == {"twin"}
