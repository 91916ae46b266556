"""`nondet verify` and `nondet ls` on hand-made folders."""

import shutil
from dataclasses import asdict

import pytest
import torch
from typer.testing import CliRunner

from factories.results import ENVIRONMENT, fill, made_result
from nondet.cli import app
from nondet.execute.prefixes import shared_prefixes
from nondet.store import Failure, Store, list_runs, verify
from nondet.studies.catalog import find_study
from nondet.studies.job import Job
from nondet.studies.seeds import Onset, Seeds
from nondet.training import checkpoint
from nondet.training.checkpoint import Checkpoint


def nondet(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def state(job):
    history = [asdict(epoch) for epoch in made_result().history[:1]]
    record = {"identity": job.identity(), "environment": ENVIRONMENT, "history": history}
    return Checkpoint(7, {"w": torch.arange(4.0)}, record | {"perturbations": [], "records": []})


@pytest.fixture(scope="module")
def made(tmp_path_factory, plan):
    """A finished study with an unfinished run, the second repetition of the control, and a shared
    prefix. Tests use copies.
    """
    store = Store(tmp_path_factory.mktemp("made") / "study")
    fill(store, plan)
    config = plan.configs[0]
    control = Job(config, Seeds(), repeat=1)
    # A checkpoint does not record which repetition it belongs to.
    checkpoint.save(store.checkpoints / control.address, state(Job(config, Seeds())))
    [prefix] = shared_prefixes([Job(config, Seeds(bit=2), onset=Onset(bit=1))])
    checkpoint.save(prefix.folder(store.prefixes, 1), state(prefix.job))
    return store.root


@pytest.fixture(scope="module")
def plan():
    return find_study("quick").plan(
        models=("linear",), runs=2, epochs=2, settings={"warmup_epochs": 0}
    )


@pytest.fixture
def study(made, tmp_path):
    """A copy in another place: nothing in it may depend on its path."""
    return shutil.copytree(made, tmp_path / "moved")


def test_an_undamaged_study(study):
    result = verify(study)
    assert result.problems == []
    assert (result.runs, result.failed, result.labels, result.states) == (16, 0, 1, 2)
    assert result.bytes == sum(path.stat().st_size for path in study.glob("runs/*/*"))
    done = nondet("verify", study)
    assert done.exit_code == 0
    assert done.stdout == f"{result.summary()}\n"
    for part in ("16 runs", "1 set of labels", "2 training states", "no problems"):
        assert part in done.stdout


def first(study, pattern):
    return sorted(study.glob(pattern))[0]


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("pattern", "damage", "message"),
    [
        ("study.json", lambda path: path.write_text("{"), "cannot be read as a study"),
        ("runs/*/run.json", flip, "run.json does not match its SHA-256"),
        ("runs/*/history.csv", flip, "history.csv does not match its SHA-256"),
        ("runs/*/predictions.safetensors", flip, "safetensors does not match its SHA-256"),
        ("runs/*/SHA256SUMS", lambda path: path.unlink(), "SHA256SUMS: No such file"),
        (
            "runs/*",
            lambda path: (path / "more").write_text(""),
            "SHA256SUMS does not list more",
        ),
        ("runs/*", lambda path: path.rename(path.with_name("0" * 32)), "another job"),
        ("runs/*", lambda path: path.rename(path.with_name("mine")), "not an address"),
        ("runs", lambda path: (path / "todo.txt").write_text(""), "todo.txt is not a run"),
        ("labels/*/labels.safetensors", flip, "labels.safetensors does not match its SHA-256"),
        (
            "labels/*",
            lambda path: path.rename(path.with_name("mnist-1")),
            "they belong to 'digits'",
        ),
        ("checkpoints/*/*.safetensors", flip, "its tensors do not match their SHA-256"),
        ("prefixes/*/*/*.safetensors", flip, "its tensors do not match their SHA-256"),
        ("checkpoints/*", lambda path: path.rename(path.with_name("0" * 32)), "another training"),
        ("prefixes/*", lambda path: path.rename(path.with_name("0" * 32)), "another training"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_damage_is_reported_in_a_line_and_the_exit_status(study, pattern, damage, message):
    damage(first(study, pattern))
    done = nondet("verify", study)
    assert done.exit_code == 1
    problem, summary = done.stdout.splitlines()
    assert message in problem
    assert summary.endswith("1 problem")


def test_unfinished_files_are_no_problem(study, plan):
    run = first(study, "runs/*")
    shutil.copytree(run, run.with_name(f"{run.name}.host-12-0123abcd.tmp"))
    (first(study, "checkpoints/*") / "step-00000009.json.host-12-0123abcd.tmp").write_text("{")
    (study / "runs" / ".nfs000012").write_text("")
    with Store(study).opened_for(plan):
        assert verify(study).problems == []


def test_a_state_that_is_being_replaced_is_read_again(study, monkeypatch):
    """For a moment, its tensors may be newer than its JSON."""
    path = first(study, "checkpoints/*/*.json")
    whole = path.read_text()
    path.write_text(whole.replace('"step": 7', '"step": 8'))
    monkeypatch.setattr("time.sleep", lambda seconds: path.write_text(whole))
    assert verify(study).problems == []


def test_runs_set_aside_are_mentioned(study):
    (study / "damaged" / "ab-1").mkdir(parents=True)
    done = nondet("verify", study)
    assert done.exit_code == 0
    assert "no problems; 1 damaged run set aside" in done.stdout


def test_a_folder_with_several_studies(study):
    parent = study.parent
    other = shutil.copytree(study, parent / "other")
    (parent / "notes.txt").write_text("")
    flip(first(other, "runs/*/run.json"))
    done = nondet("verify", parent)
    assert done.exit_code == 1
    lines = done.stdout.splitlines()
    assert [line.rpartition(": ")[2] for line in lines[:1]] == ["no problems"]
    assert "is damaged" in lines[1]
    assert lines[2].endswith("1 problem")

    done = nondet("ls", parent)
    assert done.exit_code == 0
    words = [line.split() for line in done.stdout.splitlines() if "quick" in line]
    assert [(*line[:3], line[-1]) for line in words] == [
        ("moved", "quick", "16/16", "linear"),
        ("other", "quick", "15/16", "linear"),
    ]
    assert "is damaged: run.json" in done.stderr


@pytest.mark.parametrize("command", ["verify", "ls"])
def test_a_folder_without_study(command, tmp_path):
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path, tmp_path / "none"):
        done = nondet(command, folder)
        assert done.exit_code == 2
        assert f"{folder} holds no study" in done.stderr


def test_listing_a_study(tmp_path, plan):
    store = Store(tmp_path / "study")
    config = plan.configs[0]
    rows = {row.name: plan.jobs(config, row) for row in plan.rows_of(config)}
    with store.opened_for(plan):
        store.save(rows["control"][0], made_result(0), ENVIRONMENT, seconds=1.5)
        store.save(rows["control"][1], made_result(1), ENVIRONMENT, seconds=100.0)
        store.save(rows["one bit"][0], made_result(2), ENVIRONMENT, seconds=3.0)
        failure = Failure("the training loss is nan", 1, 21)
        store.save_failure(rows["one bit"][1], failure, [], ENVIRONMENT, seconds=0.25)
    listings = list_runs(store)
    both = [made_result(number).history[-1] for number in (0, 1)]
    control = listings.rows["linear", "control"]
    assert (control.planned, control.stored, control.failed, control.seconds) == (2, 2, 0, 101.5)
    assert control.accuracy == sum(epoch.test_accuracy for epoch in both) / 2
    assert control.cross_entropy == sum(epoch.test_cross_entropy for epoch in both) / 2
    assert listings.rows["linear", "shuffling"].accuracy is None
    total = listings.total
    assert (total.planned, total.stored, total.failed, total.seconds) == (16, 4, 1, 104.75)
    assert total.bytes == sum(path.stat().st_size for path in store.runs.glob("*/*"))

    done = nondet("ls", store.root)
    assert done.exit_code == 0
    lines = {" ".join(line.split()[:2]): line.split() for line in done.stdout.splitlines()}
    assert lines["linear control"][2:3] + lines["linear control"][5:8] == ["2/2", "1", "min", "42"]
    accuracy, entropy = lines["linear control"][-2:]
    assert accuracy == f"{100 * control.accuracy:.2f}"
    assert entropy == f"{control.cross_entropy:.4f}"
    assert lines["one bit"][2:4] == ["2/2", "1"]
    assert lines["shuffling 0/2"][-2:] == ["-", "-"]
    assert max(map(len, done.stdout.splitlines())) <= 100


def test_verify_does_not_need_to_write(study, monkeypatch):
    def forbidden(*arguments, **keywords):
        raise AssertionError("written")

    for name in ("write_bytes", "write_text", "mkdir", "rename", "unlink", "touch"):
        monkeypatch.setattr(f"pathlib.Path.{name}", forbidden)
    assert verify(study).problems == []
