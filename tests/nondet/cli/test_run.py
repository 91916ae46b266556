"""Test which executor `nondet run` uses, its dry run, and runs that crash."""

import importlib.util

import pytest

from factories.commands import SMALL, nondet
from nondet.execute.calibrate import Speed
from nondet.execute.executors import ExecutorError, Serial
from nondet.store import Store, StoreError
from nondet.studies.catalog import STUDIES, find_study
from nondet.training import loop


def test_ray_that_is_not_installed_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name, *rest: None if name == "ray" else find(name, *rest)
    )
    done = nondet("run", "quick", "--executor", "ray")
    assert done.exit_code == 2
    assert "pip install 'nondet[ray]'" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        ((), (None, None, 0.0)),
        (("--ray-address", "10.0.0.1:6379", "--workers", "7"), ("10.0.0.1:6379", 7, 0.0)),
        (("--device", "cuda"), (None, None, 1.0)),
        (("--device", "cuda", "--gpus-per-run", "0.25"), (None, None, 0.25)),
    ],
)
def test_ray_gets_what_was_asked_for(options, asked, tmp_path, monkeypatch, reports):
    """The address, workers and GPUs are passed to Ray even if this machine lacks the device."""
    given = []

    class Tasks(Serial):
        def __init__(self, *arguments):
            given.append(arguments)

        def __enter__(self):
            raise ExecutorError("not today")

    monkeypatch.setattr("nondet.execute.executors.RayTasks", Tasks)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    done = nondet("run", "quick", "--executor", "ray", *options, "--out", tmp_path / "study")
    assert (done.exit_code, done.stderr) == (2, "error: not today\n")
    assert given == [(*asked, tmp_path / "study")]


def test_automatic_workers_are_the_processors(tmp_path, monkeypatch, reports):
    given = []
    monkeypatch.setattr("nondet.execute.executors.available_processors", lambda: 5)

    def pool(workers):
        given.append(workers)
        return Serial()

    monkeypatch.setattr("nondet.execute.executors.LocalPool", pool)
    command = ["run", "quick", "--model", "linear", "--epochs", "1", "--runs", "2", "--quiet"]
    command += ["--set", "warmup_epochs=0"]
    for number, workers in enumerate(("auto", "3")):
        out = tmp_path / f"place{number}" / "study"
        assert nondet(*command, "--workers", workers, "--out", out).exit_code == 0
    assert given == [5, 3]
    assert len(reports) == 2


def test_dry_run_says_what_would_be_done_and_does_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "nondet.execute.cost.describe",
        lambda plan, workers, download: [plan.study, f"{workers=}", f"{download=}"],
    )
    options = ("--dataset", "cifar10", "--data", tmp_path / "nowhere", "--workers", "3")
    done = nondet("run", "quick", *options, "--dry-run")
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines() == [
        "quick",
        "workers=3",
        "download=False",
        "Folder: nondet-results/quick-cifar10",
    ]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("options", [(), ("--download",)], ids=["as is", "download"])
@pytest.mark.parametrize("preset", ["laptop", "paper"])
@pytest.mark.parametrize("study", STUDIES)
def test_every_study_has_a_plan_at_every_scale_without_data(
    study, preset, options, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NONDET_DATA", str(tmp_path / "nowhere"))
    monkeypatch.setattr("nondet.execute.cost.speed", lambda *_: Speed(0.5, 0.001))
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    done = nondet("run", study, "--preset", preset, *options, "--dry-run")
    assert (done.exit_code, done.exception) == (0, None), done.output
    title, *lines = done.stdout.splitlines()
    assert title.startswith(f"{study} (")
    scale = "" if preset == "laptop" else "-paper"
    assert lines[-1] == f"Folder: nondet-results/{study}{scale}"
    plan = find_study(study).plan(preset)
    missing = {config.dataset for config in plan.configs} - {"digits", "mnist5k", "pydoc"}
    for name in missing:
        if name == "penn-treebank":
            assert any(line.startswith("Needs: ") and name in line for line in lines)
        elif options:
            assert any(line.startswith(f"Download: {name}, to ") for line in lines)
        else:
            assert any(line.startswith(f"Needs: {name} is not in ") for line in lines)
    lacking = any(config.device == "cuda" for config in plan.configs)
    assert any(line.startswith("Time: not est" if lacking else "Time: about ") for line in lines)
    assert any("Needs: a CUDA device" in line for line in lines) == lacking
    language = [line for line in lines if "language.hidden" in line]
    assert len(language) == (study in ("table2", "table4"))
    assert list(tmp_path.iterdir()) == []


def test_a_study_of_ones_own_is_run_from_its_file(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(
        "from nondet.studies.row import Row\n"
        "from nondet.studies.study import Preset, Study\n"
        "STUDY = Study('mine', 'My own', (Row('control'), Row('order', ('shuffle',))), {'laptop':\n"
        "    Preset(2, ('linear',), {'dataset': 'digits', 'epochs': 1, 'batch_size': 64,\n"
        "    'lr': 0.1, 'warmup_epochs': 0})})\n"
    )
    monkeypatch.chdir(tmp_path)
    shown = []
    monkeypatch.setattr(
        "nondet.cli.run.show_report", lambda store, *rest: shown.append(store.plan().title)
    )
    done = nondet("run", "mine.py", "--executor", "serial", "--quiet")
    assert done.exit_code == 0, done.output
    assert shown == ["My own"]
    assert len(list((tmp_path / "nondet-results" / "mine" / "runs").iterdir())) == 4


def test_full_disk_stops_the_command_and_keeps_the_others(tmp_path, monkeypatch):
    train = loop.train
    calls = 0

    def filling(*arguments, **named):
        nonlocal calls
        calls += 1
        if calls >= 6:
            raise StoreError("cannot write run 1: No space left on device")
        return train(*arguments, **named)

    monkeypatch.setattr(loop, "train", filling)
    done = nondet(*SMALL, "--out", tmp_path / "study")
    assert done.exit_code == 2
    assert "error: cannot write run 1: No space left on device" in done.stderr
    assert len(list((tmp_path / "study" / "runs").iterdir())) == 3


def test_crashed_run_shows_in_the_exit_status_and_stops_no_other(tmp_path, monkeypatch, reports):
    train = loop.train
    calls = 0

    def crashing(*arguments, **named):
        nonlocal calls
        calls += 1
        if calls in (6, 7):
            raise MemoryError("too large")
        return train(*arguments, **named)

    monkeypatch.setattr(loop, "train", crashing)
    done = nondet(*SMALL, "--out", tmp_path / "study")
    assert done.exit_code == 1
    assert "crashed 2 times and is recorded as failed: MemoryError: too large" in done.stderr
    assert reports == [1]
    store = Store(tmp_path / "study")
    failures = [store.load(job).failure for job in store.plan().tasks()]
    assert [failure.reason for failure in failures if failure] == ["MemoryError: too large"]


def test_a_bug_is_shown_with_its_traceback(tmp_path, monkeypatch):
    def buggy(*arguments, **named):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("nondet.execute.jobs.load_dataset", buggy)
    done = nondet(*SMALL, "--out", tmp_path / "study")
    assert done.exit_code == 2
    assert "in buggy" in done.stderr
    assert "error: a run failed: ZeroDivisionError: a bug" in done.stderr
