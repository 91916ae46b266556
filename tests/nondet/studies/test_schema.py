"""Tests of reading plans, rows, configurations and jobs from JSON that anybody may have written."""

import json
from dataclasses import asdict, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factories.json_nodes import ANY_JSON, STRANGE, Steps, at, deleted, inserted, nodes, replaced
from nondet.schemas import SchemaError, join
from nondet.studies.catalog import STUDIES, find_study
from nondet.studies.config import RunConfig
from nondet.studies.job import Job
from nondet.studies.row import Row
from nondet.studies.seeds import Onset, Seeds
from nondet.studies.specs import LanguageSpec, PerturbationSpec
from nondet.studies.study import Plan


def image_plan() -> Plan:
    """Return a plan that uses every kind of entry of image studies."""
    plan = find_study("quick").plan(
        runs=2, epochs=10, settings={"milestones": (1, 2), "perturbation.step": 3}
    )
    spec = PerturbationSpec(target="gradient", change="bit", tensor="*", index=4, bit=3)
    rows = (
        Row("control"),
        Row("late", ("bit", "shuffle"), {"perturbation": spec}, Onset(bit=2), keep=("twin",)),
        Row("dotted", ("init",), {"perturbation.direction": 1, "milestones": (4,)}, runs=3),
        Row("crossed", ("init", "augment"), {"lr": 0.1}, design="crossed", levels=2),
        Row("cycles", ("init",), {"schedule": "snapshots", "warmup_epochs": 0}, output="snapshots"),
        Row("one", ("init",), {"flip": True}, output="final/flip", models=("linear",)),
    )
    views = ("spread", "onset")
    return replace(plan, rows=rows, views=views, baseline="crossed", keep=("taps", "weights"))


def language_plan() -> Plan:
    plan = find_study("table2").plan(runs=2)
    rows = (
        *plan.rows,
        Row("group", ("init",), {"language": LanguageSpec(hidden=7), "perturbation.step": 1}),
        Row("dotted", ("init",), {"language.bptt": 50}, keep=("weights",)),
    )
    return replace(plan, rows=rows)


PLANS = {"images": image_plan().to_json(), "language": language_plan().to_json()}

JOBS = {
    "images": Job(
        image_plan().configs[0], Seeds(init=2, bit=2**32 - 1), 3, Onset(bit=2)
    ).identity(),
    "language": Job(language_plan().configs[0], Seeds(stochastic=5)).identity(),
}

DEFAULTS = {
    "rows": Row("").to_json(),
    "configs": RunConfig("", "linear", 5, 1, 0.1).to_json(),
    "config": RunConfig("", "linear", 5, 1, 0.1).to_json(),
    "onset": asdict(Onset()),
    "perturbation": asdict(PerturbationSpec()),
    "language": asdict(LanguageSpec()),
}
"""The defaults of the entries of an object, by the name under which the object stands."""


def means(read: Any, given: Any, of: str = "") -> bool:
    """Return True if what was read says what was given: equal values of equal types.

    Entries that were not given must have their defaults.
    """
    if isinstance(given, dict):
        defaults = DEFAULTS.get(of, {})
        return (
            isinstance(read, dict)
            and set(given) <= set(read)
            and all(
                means(value, given[name], name)
                if name in given
                else name in defaults and means(value, defaults[name], name)
                for name, value in read.items()
            )
        )
    if isinstance(given, list):
        return (
            isinstance(read, list)
            and len(read) == len(given)
            and all(means(one, other, of) for one, other in zip(read, given, strict=True))
        )
    return type(read) is type(given) and read == given


def read_plan(data: Any) -> Any:
    return json.loads(json.dumps(Plan.from_json(data).to_json()))


def read_job(data: Any) -> Any:
    return Job.from_identity(data).identity()


def is_about(error: SchemaError, steps: Steps, before: Any) -> bool:
    """Return True if an error is about an entry, given what stood there: it names the entry, one
    inside it, or what holds it; or another entry that fits no more, and what it does not fit.
    """
    here, parent = join("", *steps), join("", *steps[:-1])
    if not steps or error.path in (here, parent) or error.path.startswith((f"{here}.", f"{here}[")):
        return True
    places = [(*steps, *inner) for inner in nodes(before)]
    words = {str(step).rpartition(".")[2] for place in places for step in place[len(steps) - 1 :]}
    words |= {str(leaf) for leaf in (at(before, inner) for inner in nodes(before))}
    return error.path != "" and any(word and word in error.problem for word in words)


def wrong(read: Any, data: Any, steps: Steps, before: Any) -> str | None:
    """Return what is wrong with the reading of JSON in which an entry was changed; None if nothing.

    before: what stood there. Other errors than SchemaError are not caught.
    """
    try:
        result = read(data)
    except SchemaError as error:
        if len(str(error)) > 1000:
            return f"{steps}: {len(str(error))} characters"
        return None if is_about(error, steps, before) else f"{steps}: {error}"
    return None if means(result, data) else f"{steps}: read {result}"


READERS = [
    pytest.param(read, data, id=f"{read.__name__}-{name}")
    for read, examples in ((read_plan, PLANS), (read_job, JOBS))
    for name, data in examples.items()
]


@pytest.mark.parametrize(("read", "data"), READERS)
def test_unchanged_json_reads_as_it_was(read, data):
    data = json.loads(json.dumps(data))
    assert read(data) == data


@pytest.mark.slow
@pytest.mark.parametrize(("read", "data"), READERS)
def test_any_node_may_be_any_value(read, data):
    problems = [
        wrong(read, replaced(data, steps, value), steps, at(data, steps))
        for steps in nodes(data)
        for value in STRANGE
    ]
    assert len(problems) > 1000
    assert [problem for problem in problems if problem is not None] == []


@pytest.mark.parametrize(("read", "data"), READERS)
def test_any_node_may_be_missing(read, data):
    problems = [
        wrong(read, deleted(data, steps), steps, at(data, steps)) for steps in nodes(data) if steps
    ]
    assert [problem for problem in problems if problem is not None] == []


@pytest.mark.parametrize(("read", "data"), READERS)
def test_any_node_may_stand_there_twice(read, data):
    for steps in nodes(data):
        if not steps:
            continue
        twice = at(data, steps)
        again = inserted(data, steps, twice)
        if isinstance(steps[-1], str):
            with pytest.raises(SchemaError, match="no such entry") as caught:
                read(again)
            assert caught.value.path == join("", *steps[:-1], f"{steps[-1]}_")
        else:
            assert wrong(read, again, (*steps[:-1], steps[-1] + 1), twice) is None


CHANGES = st.sampled_from(("replace", "insert", "delete", "copy"))


@pytest.mark.parametrize(("read", "data"), READERS)
@settings(deadline=None)
@given(pick=st.randoms(use_true_random=False), value=ANY_JSON, change=CHANGES)
def test_any_change_is_read_or_refused(read, data, pick, value, change):
    steps = pick.choice(list(nodes(data))[1:])
    if change == "delete":
        changed = deleted(data, steps)
    elif change == "insert":
        changed = inserted(data, steps, value)
    else:
        new = value if change == "replace" else at(data, pick.choice(list(nodes(data))))
        changed = replaced(data, steps, new)
    of = steps[:-1] if change == "insert" else steps
    assert wrong(read, changed, of, at(data, of)) is None


@settings(deadline=None)
@given(ANY_JSON)
def test_other_json_is_refused(value):
    for read in (Plan.from_json, Row.from_json, RunConfig.from_json, Job.from_identity):
        if read is Row.from_json and isinstance(value, dict) and "name" in value:
            continue
        with pytest.raises(SchemaError):
            read(value)


@pytest.mark.parametrize(
    ("steps", "value", "path", "words"),
    [
        ((), [], "", "must be an object, not a list ([])"),
        (("rows", 2, "varies"), "init", "rows[2].varies", "a list, not a text ('init')"),
        (("rows", 2, "varies"), ["ini"], "rows[2].varies[0]", '"init"'),
        (("rows", 2, "varies"), ["init", "init"], "rows[2].varies", "twice"),
        (("rows", 1, "onset", "bit"), True, "rows[1].onset.bit", "not true"),
        (("rows", 1, "onset", "bit"), -1, "rows[1].onset.bit", "from 0"),
        (("rows", 1, "onset", "bit"), 11, "rows[1].onset.bit", "10 epochs"),
        (("rows", 1, "onset", "bits"), 1, "rows[1].onset.bits", "shuffle"),
        (("rows", 1, "name"), "crossed", "rows[3].name", "crossed"),
        (("rows", 1, "settings", "perturbation", "bit"), 64, None, "[0, 64)"),
        (
            ("rows", 2, "settings", "perturbation.direction"),
            2,
            'rows[2].settings["perturbation.direction"]',
            "known: 1, -1",
        ),
        (("rows", 3, "levels"), 2**32, "rows[3].levels", "100000"),
        (("rows", 3, "levels"), None, "rows[3].levels", "at least 2"),
        (("rows", 3, "settings", "lr"), -1, "rows[3].settings.lr", "not negative"),
        (("rows", 3, "settings", "model"), "vgg", "rows[3].settings.model", "same"),
        (("rows", 4, "settings", "warmup_epochs"), 2, None, "2 epochs of a cycle"),
        (("rows", 4, "output"), "first", "rows[4].output", "final"),
        (("configs", 0, "lr"), None, "configs[0].lr", "number, not null"),
        (("configs", 0, "lr"), float("nan"), "configs[0].lr", "nan"),
        (("configs", 0, "epochs"), 3.0, "configs[0].epochs", "an integer"),
        (("configs", 0, "epochs"), 0, "configs[0].epochs", "at least 1"),
        (("configs", 0, "milestones"), [2, 1], "configs[0].milestones", "increasing"),
        (("configs", 0, "perturbation", "step"), -1, "configs[0].perturbation.step", "at least 0"),
        (("configs", 0, "language"), None, "configs[0].language", "an object"),
        (("configs", 1, "model"), "../other", "configs[1].model", "known models"),
        (("configs", 1, "model"), f"resnet14-w{'9' * 5000}", "configs[1].model", "2 to 128"),
        (("configs", 1, "model"), "linear", "configs[1].model", "twice"),
        (("runs",), 1, "runs", "from 2"),
        (("views", 1), "spred", "views[1]", '"spread"'),
        (("baseline",), "other", "baseline", "control"),
        (("rows",), [], "rows", "not empty"),
        (("configs",), [], "configs", "not empty"),
        (("keep",), ["twins"], "keep[0]", '"twin"'),
    ],
)
def test_errors_name_the_place(steps, value, path, words):
    with pytest.raises(SchemaError) as caught:
        Plan.from_json(replaced(PLANS["images"], steps, value))
    path = join("", *steps) if path is None else path
    assert caught.value.path == path
    assert words in caught.value.problem


def test_rows_that_do_not_fit_a_model_are_blamed_before_it():
    rows, models = PLANS["images"]["rows"], PLANS["images"]["configs"]
    still = replaced(PLANS["images"], ("configs",), [{**each, "momentum": 0} for each in models])
    fast = replaced(still, ("rows", 3, "settings", "optimizer"), "nesterov")
    with pytest.raises(SchemaError, match="momentum") as caught:
        Plan.from_json(fast)
    assert caught.value.path == "rows[3].settings.optimizer"
    spec = PerturbationSpec(target="gradient", tensor="*", index=4)
    one = [{**each, "perturbation": asdict(spec)} for each in models]
    with pytest.raises(SchemaError, match=r"index is 4, but no perturbation\.tensor") as caught:
        Plan.from_json(
            PLANS["images"]
            | {"configs": one, "rows": [{"name": "any", "settings": {"perturbation.tensor": None}}]}
            | {"baseline": None}
        )
    assert caught.value.path == "configs[0].perturbation.index"
    late = replaced(PLANS["images"], ("rows",), [{**each, "onset": {}} for each in rows])
    assert Plan.from_json(late).rows[1].onset == Onset()


def test_older_files_may_lack_entries_with_defaults():
    assert Row.from_json({"name": "old"}) == Row("old")
    given = {"dataset": "digits", "model": "linear", "epochs": 5, "batch_size": 8, "lr": 1}
    old = RunConfig.from_json({**given, "milestones": [], "perturbation": {}})
    assert old == RunConfig(**given)
    assert type(old.lr) is int  # the address of a run depends on it
    with pytest.raises(SchemaError) as caught:
        RunConfig.from_json(given, "configs[7]")
    assert caught.value.path == "configs[7].milestones"


@pytest.mark.parametrize("name", STUDIES)
def test_every_plan_and_job_of_the_catalog_survives_json(name):
    for preset in find_study(name).presets:
        plan = replace(find_study(name).plan(preset), runs=2)
        assert Plan.from_json(plan.to_json()) == plan
        assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan
        for job in plan.tasks():
            identity = json.loads(json.dumps(job.identity()))
            assert Job.from_identity(identity).address == job.address


def test_identities_of_jobs_hold_what_can_vary():
    config = image_plan().configs[0]
    for onset in ({"shuffle": 1}, {"bit": 0}, {"init": 1}, {"bit": 11}):
        identity = {**Job(config, Seeds(bit=2)).identity(), "onset": onset}
        with pytest.raises(SchemaError) as caught:
            Job.from_identity(identity, "job")
        assert caught.value.path == f"job.onset.{next(iter(onset))}"
    for data in ("", "0" * 64):
        job = Job.from_identity({**Job(config, Seeds()).identity(), "data": data})
        assert (job.config, job.data) == (config, data)
    former = {**Job(config, Seeds()).identity(), "format": 2}
    with pytest.raises(SchemaError) as caught:  # it did not name the data
        Job.from_identity(former)
    assert caught.value.path == "data"
    del former["data"]
    assert Job.from_identity(former) == Job(config, Seeds())
    for wrong_one in (
        {"repeat": -1},
        {"repeat": 2**63},
        {"format": 1},
        {"format": 4},
        {"format": True},
        {"data": None},
        {"data": "0" * 63},
    ):
        with pytest.raises(SchemaError) as caught:
            Job.from_identity({**Job(config, Seeds()).identity(), **wrong_one})
        assert caught.value.path == next(iter(wrong_one))
