import json
from dataclasses import replace

import pytest

from nondet.config import Job
from nondet.seeds import SOURCES, Seeds
from nondet.studies import STUDIES, find_study
from nondet.study import Plan, Row


def test_quick_has_the_control_and_one_row_per_source():
    quick = find_study("quick")
    assert [(row.name, row.varies) for row in quick.rows] == [
        ("control", ()),
        ("initialization", ("init",)),
        ("shuffling", ("shuffle",)),
        ("augmentation", ("augment",)),
        ("one bit", ("bit",)),
    ]
    plan = quick.plan()
    assert plan.runs == 12
    assert [config.model for config in plan.configs] == ["linear", "hidden"]
    assert len(list(plan.all_jobs())) == 2 * 5 * 12


def test_jobs_vary_their_row_and_nothing_else(plan):
    config = plan.configs[0]
    for row in plan.rows:
        jobs = plan.jobs(config, row)
        assert len({job.address for job in jobs}) == plan.runs
        for source in SOURCES:
            values = [getattr(job.seeds, source) for job in jobs]
            assert values == ([2, 3] if source in row.varies else [1, 1])
    assert [job.repeat for job in plan.jobs(config, plan.rows[0])] == [0, 1]


def test_address_depends_on_configuration_seeds_and_repeat_alone(config):
    job = Job(config, Seeds())
    assert job.address == Job(replace(config), Seeds(init=1)).address
    others = [
        Job(replace(config, lr=0.39), Seeds()),
        Job(replace(config, device="cuda"), Seeds()),
        Job(config, Seeds(bit=2)),
        Job(config, Seeds(), repeat=1),
    ]
    assert len({job.address, *(other.address for other in others)}) == 5


@pytest.mark.parametrize("name", STUDIES)
def test_plan_survives_json(name):
    plan = find_study(name).plan(runs=3)
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan
    assert plan.differences(plan) == []


def test_differences_name_what_differs(plan):
    other = find_study("quick").plan(runs=4, epochs=9, models=("hidden",))
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
    with pytest.raises(ValueError, match="the study 'quick' has: laptop"):
        quick.plan("paper")
    with pytest.raises(ValueError, match="a model is named twice"):
        quick.plan(models=("linear", "linear"))
    with pytest.raises(ValueError, match="there is no study 'slow'; known studies: quick"):
        find_study("slow")
    with pytest.raises(ValueError, match="row 'x' varies 'luck'"):
        Row("x", ("luck",))
