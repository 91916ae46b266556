"""`nondet plan` as a command."""

import json
from dataclasses import replace

import numpy as np
import pytest

from factories.commands import nondet
from factories.results import ENVIRONMENT, LABELS, fill, made_result
from factories.score_files import table
from nondet.store import Store
from nondet.studies.catalog import find_study


@pytest.fixture
def pilot(tmp_path):
    values = np.random.default_rng(1).normal(0.9, 0.004, 10)
    return table(
        tmp_path / "pilot.csv", "seed,accuracy", *(f"{i},{v}" for i, v in enumerate(values))
    )


def words(text):
    return " ".join(text.split())


def test_a_pilot_gives_a_number_of_runs(pilot):
    done = nondet("plan", "--from", pilot, "--detect", "0.4")
    assert done.exit_code == 0
    found = json.loads(nondet("plan", "--from", pilot, "--detect", "0.4", "--json").stdout)
    assert f"{found['runs']['value']:.0f} runs of each method show a difference of 0.4 points" in (
        words(done.stdout)
    )
    assert (found["version"], found["kind"], found["pilot"]) == (1, "plan", "pilot")
    more = json.loads(
        nondet("plan", "--from", pilot, "--detect", "0.2", "--power", "0.9", "--json").stdout
    )
    assert more["runs"]["value"] > found["runs"]["value"]


def test_files_are_written(pilot, tmp_path):
    out = tmp_path / "report"
    assert nondet("plan", "--from", pilot, "--detect", "0.4", "--out", out).exit_code == 0
    assert "probability of finding it" in (out / "figures" / "power.svg").read_text()
    assert "<svg" in (out / "report.html").read_text()


def test_both_methods_of_a_table(tmp_path):
    shared = np.random.default_rng(2).normal(0, 1, 10)
    lines = [
        f"{name},{i},{x + extra}"
        for name, extra in (("sgd", 0), ("adam", 0.3))
        for i, x in enumerate(shared + np.random.default_rng(len(name)).normal(0, 0.1, 10))
    ]
    path = table(tmp_path / "all.csv", "method,seed,value", *lines)
    done = nondet(
        *("plan", "--from", path, "--by", "method", "--row", "sgd", "--against", "adam"),
        *("--detect", "0.3", "--json"),
    )
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["paired"]
    assert found["saved"]["value"] > 0.5
    assert found["unpaired_runs"]["value"] > found["runs"]["value"]


def test_rows_that_average_are_shown(tmp_path):
    plan = find_study("tta").plan(runs=6)
    rows = [row for row in plan.rows if row.output in ("final", "snapshots")][1:]
    plan = replace(plan, rows=tuple(rows))
    store = Store(tmp_path / "tta")
    with store.opened_for(plan):
        store.save_labels("digits", LABELS)
        for number, job in enumerate(plan.tasks()):
            cycles = 2 if job.config.schedule == "snapshots" else 0
            store.save(job, made_result(number, cycles=cycles), ENVIRONMENT, 1.0)
    done = nondet(*("plan", "--from", store.root, "--row", rows[0].name, "--detect", "5", "--json"))
    assert done.exit_code == 0, done.stderr
    assert list(json.loads(done.stdout)["averaging"]) == [rows[1].name]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--detect", "0"), "detect is 0"),
        (("--detect", "1", "--power", "2"), "power is 2"),
        (("--detect", "1", "--against", "adam"), "needs the row of the pilot"),
        (("--detect", "1", "--score", "f1"), "has no column 'f1'"),
        (("--detect", "1", "--by", "seed"), "which of them is the pilot"),
        (("--detect", "1", "--task", "x", "--task", "y"), "--task is given 2 times; a plan is for"),
    ],
)
def test_errors_have_status_2(pilot, arguments, message):
    done = nondet("plan", "--from", pilot, *arguments)
    assert done.exit_code == 2
    assert message in done.stderr


def test_a_pilot_of_one_run_says_nothing(tmp_path):
    done = nondet("plan", "--from", table(tmp_path / "a.csv", "score", "1"), "--detect", "1")
    assert done.exit_code == 2
    assert done.stderr.startswith("error: ")


def test_a_study_needs_a_row(tmp_path):
    plan = find_study("quick").plan(models=("linear",), runs=4, epochs=4)
    store = Store(tmp_path / "quick")
    fill(store, plan)
    done = nondet("plan", "--from", store.root, "--detect", "1")
    assert done.exit_code == 2
    assert "has several rows; name one of" in done.stderr
