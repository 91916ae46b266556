"""Folders of format 2 are read, reported and verified, but not continued."""

import pytest

import nondet
from factories.commands import SMALL
from factories.commands import nondet as command
from factories.former import write_former_study
from factories.results import made_result
from nondet.store import Store, StoreError, list_runs, verify
from nondet.studies.catalog import find_study


@pytest.fixture
def plan():
    return find_study("quick").plan(
        models=("linear",), runs=2, epochs=2, settings={"warmup_epochs": 0}
    )


@pytest.fixture
def study(tmp_path, plan):
    write_former_study(tmp_path / "study", plan)
    return tmp_path / "study"


def files(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_runs_are_read_under_their_former_addresses(study, plan):
    store = Store(study)
    assert store.plan() == plan
    for number, job in enumerate(plan.tasks()):
        run = store.load(job)
        assert (run.failure is not None) == (number == 3)
        if number != 3:
            assert run.logits.tobytes() == made_result(number).logits.tobytes()
            assert run.seconds == 1.0 + number
    total = list_runs(store).total
    assert (total.stored, total.failed) == (16, 1)
    results = nondet.load(study)
    assert len(results.runs) == 16
    assert set(results.runs.data) == {""}
    assert len(set(results.runs.address)) == 16
    assert {(study / "runs" / address).is_dir() for address in results.runs.address} == {True}


def test_a_report_is_written(study):
    done = command("report", study)
    assert done.exit_code == 0, done.output
    assert "MIXED" not in done.output
    assert (study / "report.md").exists()
    assert command("ls", study).exit_code == 0


def test_it_is_verified_as_far_as_it_goes(study):
    result = verify(study)
    assert result.problems == []
    assert (result.runs, result.failed, result.labels) == (16, 1, 1)
    assert any("format 2" in note for note in result.notes)
    path = next(study.glob("runs/*/predictions.safetensors"))
    path.write_bytes(path.read_bytes()[:-1] + b"\1")
    assert any("does not match its SHA-256" in problem for problem in verify(study).problems)


def test_it_is_not_continued(study, plan):
    before = files(study)
    with (
        pytest.raises(StoreError, match=r"format 2; .*read and reported, but not continued"),
        Store(study).opened_for(plan),
    ):
        pass
    done = command(*SMALL, "--out", study)
    assert done.exit_code == 2
    assert "--out" in done.stderr
    assert {path: data for path, data in files(study).items() if path.name != ".lock"} == before


def test_its_runs_are_not_reused(study, plan, tmp_path):
    store = Store(tmp_path / "new")
    with store.opened_for(plan):
        for job in plan.tasks():
            run = Store(study).load(job)
            assert not store.reuse(job, (), run.record["environment"])
