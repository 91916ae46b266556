"""Test the command line, mostly in this process; processes are started where the test needs one."""

import shutil
import subprocess
import sys
from dataclasses import replace

import pytest

from factories.commands import SMALL, nondet
from nondet.store import Store
from nondet.studies.config import RunConfig
from nondet.training import images, loop


def runs_of(folder, row):
    """Return the stored runs of a row."""
    store = Store(folder)
    plan = store.plan()
    [row] = [one for one in plan.rows if one.name == row]
    return [store.load(job) for job in plan.jobs(plan.configs[0], row)]


def hashes(folder):
    """Return the hashes of weights and predictions by the folder of the run; races are left out
    because they do not repeat.
    """
    store = Store(folder)
    return {
        f"runs/{job.address}": (run.weight_hashes, run.record["hashes"])
        for job in store.plan().tasks()
        if job.config.lowlevel != "atomic" and (run := store.load(job)) is not None
    }


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Run a small study without a report; return its folder, which tests copy and never change."""
    folder = tmp_path_factory.mktemp("finished") / "study"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nondet.cli.run.show_report", lambda store, console: None)
        done = nondet(*SMALL, "--out", folder)
    assert done.exit_code == 0, done.output
    return folder


@pytest.fixture
def study(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "study")


def test_help_needs_no_torch():
    script = (
        "import sys, nondet.cli\n"
        "from typer.testing import CliRunner\n"
        "done = CliRunner().invoke(nondet.cli.app, ['run', '--help'])\n"
        "assert '--workers' in done.output, done.output\n"
        "assert not {'torch', 'numpy', 'sklearn'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "slow"], "there is no study 'slow'; known studies: "),
        (["run", "quick", "--dataset", "minst"], "dataset is 'minst'; did you mean mnist"),
        (
            ["run", "quick", "--model", "vgg12"],
            "model is 'vgg12'; did you mean vgg",
        ),
        (["run", "quick", "--runs", "1"], "runs is 1; a spread needs at least 2 runs per row"),
        (["run", "quick", "--set", "luck=1"], "--set names 'luck'; known settings: dataset, "),
        (["run", "quick", "--set", "dropout=2"], "dropout is 2.0; it must lie in [0, 1)"),
        (["run", "quick", "--dataset", "cifar10", "--data", "/nowhere"], "/nowhere"),
        (["run", "quick", "--epochs", "0"], "epochs is 0; it must be at least 1"),
        (
            ["run", "quick", "--epochs", "3"],
            "warmup_epochs is 3; it must be below the 3 epochs of the training",
        ),
        (
            ["run", "table7", "--set", "warmup_epochs=10"],
            "row '10 epochs': warmup_epochs is 10; it must be below the 10 epochs",
        ),
        (["run", "quick", "--preset", "vast"], "preset is 'vast'; the study 'quick' has: laptop"),
        (["run", "quick", "--dry-run", "--model", "vgg12"], "model is 'vgg12'; did you mean vgg"),
        (["run", "quick", "--device", "tpu"], "device is 'tpu'; did you mean cpu? known"),
        (["run", "quick", "--workers", "0"], "--workers is 0; it must be at least 1"),
        (["run", "quick", "--workers", "all"], "--workers is 'all'; it must be 'auto' or a number"),
        ([*SMALL, "--workers", "2"], "--executor serial has no workers"),
        ([*SMALL, "--ray-address", "auto"], "--ray-address is given, but --executor is serial"),
        (["run", "quick", "--gpus-per-run", "1"], "--gpus-per-run is given, but --executor is loc"),
        (["report", "/nowhere"], "/nowhere holds no study"),
        (["report", "/nowhere", "--view", "cak"], "--view: view is 'cak'; did you mean cka? known"),
    ],
)
def test_errors_name_what_was_given_and_what_is_allowed(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = nondet(*arguments)
    assert done.exit_code == 2
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("option", ["--executor=slurm", "--fast"])
def test_options_that_do_not_exist_are_refused(option):
    done = nondet("run", "quick", option)
    assert done.exit_code == 2
    assert done.stdout == ""


def test_cuda_is_refused_where_there_is_none(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    done = nondet("run", "quick", "--device", "cuda")
    assert done.exit_code == 2
    assert "torch sees no CUDA device" in done.stderr


def test_default_folder_is_named_after_what_was_asked(tmp_path, monkeypatch, reports):
    monkeypatch.chdir(tmp_path)
    assert nondet(*SMALL, "--set", "lowlevel=off").exit_code == 0
    name = "quick-linear-2epochs-2runs-warmup_epochs-1-lowlevel-off"
    assert (tmp_path / "nondet-results" / name / "study.json").exists()


def test_finished_study_trains_nothing_again(study, monkeypatch, reports):
    def forbidden(*arguments):
        raise AssertionError("trained again")

    monkeypatch.setattr(loop, "train", forbidden)
    before = hashes(study)
    done = nondet(*SMALL, "--out", study)
    assert done.exit_code == 0, done.output
    assert hashes(study) == before


def test_report_prints_what_run_printed(study):
    printed = nondet(*SMALL, "--out", study)
    assert printed.exit_code == 0, printed.output
    done = nondet("report", study)
    assert done.exit_code == 0
    assert done.stdout == printed.stdout
    assert "initialization" in done.stdout


def test_report_shows_other_views_than_the_study_has(study):
    done = nondet("report", study, "--view", "predictions", "--view", "predictions")
    assert done.exit_code == 0
    assert "Churn of single test images" in done.stdout
    assert "Spread of test results" not in done.stdout
    tables = sorted(path.name for path in (study / "tables").glob("*.csv"))
    assert {"churn.csv", "calibration.csv", "classes.csv"} <= set(tables)
    assert "spread.csv" not in tables
    assert nondet("report", study).exit_code == 0
    assert not (study / "tables" / "churn.csv").exists()
    assert (study / "tables" / "spread.csv").exists()


def test_missing_runs_are_trained_and_equal(study, reports):
    before = hashes(study)
    removed = sorted(before)[:4]
    for folder in removed:
        shutil.rmtree(study / folder)
    kept = {folder: (study / folder).stat().st_ino for folder in sorted(before)[4:]}
    done = nondet(*SMALL, "--out", study)
    assert done.exit_code == 0
    assert "12 of 16 runs were already there" in done.stderr
    assert hashes(study) == before
    assert {folder: (study / folder).stat().st_ino for folder in kept} == kept


def test_other_study_is_refused(study):
    done = nondet(*SMALL, "--epochs", "3", "--out", study)
    assert done.exit_code == 2
    assert "holds another study (epochs: 2 there, 3 asked for)" in done.stderr
    assert "--out" in done.stderr


def test_damaged_run_is_set_aside_and_trained_again(study, reports):
    before = hashes(study)
    victim = sorted(before)[3]
    damaged = study / victim / "predictions.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    done = nondet(*SMALL, "--quiet", "--out", study)
    assert done.exit_code == 0
    assert "set aside in" in done.stderr
    assert (study / "damaged" / f"{victim[5:]}-1").is_dir()
    assert hashes(study) == before


def test_broken_control_stops_the_command_before_any_run(tmp_path, monkeypatch):
    order = images.epoch_order
    calls = 0

    def racy(examples, key, epoch, device):
        nonlocal calls
        calls += 1
        return order(examples, key, epoch + (calls == 4), device)

    monkeypatch.setattr(images, "epoch_order", racy)
    done = nondet(*SMALL, "--out", tmp_path / "study")
    assert done.exit_code == 2
    assert "the control of 'linear' failed" in done.stderr
    assert "step 43 (epoch 2)" in done.stderr
    assert "fc.weight at index [" in done.stderr
    assert done.stdout == ""
    assert list((tmp_path / "study" / "runs").iterdir()) == []


def test_control_row_that_differs_from_its_proof_stops_the_command(tmp_path, monkeypatch):
    """The command stops if the proof passes but the third control run has other bits."""
    train = loop.train
    calls = 0

    def drifting(config: RunConfig, *arguments, **named):
        nonlocal calls
        calls += 1
        if calls == 3:
            config = replace(config, lr=config.lr + 1e-6)
        return train(config, *arguments, **named)

    monkeypatch.setattr(loop, "train", drifting)
    done = nondet(*SMALL, "--out", tmp_path / "study")
    assert done.exit_code == 2
    assert "control run 1 of 'linear'" in done.stderr
    assert "the weights differ from epoch 1 on" in done.stderr


def test_interrupt_keeps_the_finished_runs(tmp_path, finished, monkeypatch, reports):
    train = loop.train
    calls = 0

    def interrupted(*arguments, **named):
        nonlocal calls
        calls += 1
        if calls == 7:
            raise KeyboardInterrupt
        return train(*arguments, **named)

    folder = tmp_path / "study"
    monkeypatch.setattr(loop, "train", interrupted)
    done = nondet(*SMALL, "--out", folder)
    assert done.exit_code == 130
    assert f"finished runs are kept in {folder}, the same command resumes" in done.stderr
    assert len(list((folder / "runs").iterdir())) == 4
    monkeypatch.setattr(loop, "train", train)
    assert nondet(*SMALL, "--out", folder).exit_code == 0
    assert hashes(folder) == hashes(finished)


def test_study_of_another_environment_is_not_continued(study, monkeypatch):
    """A study is not continued if the proof passes but its stored control runs have other bits."""
    plan = Store(study).plan()
    removed = f"runs/{plan.jobs(plan.configs[0], plan.rows[-1])[0].address}"
    shutil.rmtree(study / removed)
    train = loop.train

    def elsewhere(config, *arguments, **named):
        return train(replace(config, lr=config.lr * (1 + 2**-20)), *arguments, **named)

    monkeypatch.setattr(loop, "train", elsewhere)
    done = nondet(*SMALL, "--out", study)
    assert done.exit_code == 2
    assert "control run 1 of 'linear'" in done.stderr
    assert "another environment" in done.stderr
    assert not (study / removed).exists()


def test_a_diverging_run_is_recorded_and_the_study_continues(tmp_path, monkeypatch, reports):
    """A run that diverges with its new initial weights is stored as failed, and all other runs
    finish.
    """
    train = loop.train
    folder = tmp_path / "study"

    def diverging(config, seeds, *arguments, **named):
        if seeds.init == 3:
            config = replace(config, lr=1e30)
        return train(config, seeds, *arguments, **named)

    monkeypatch.setattr(loop, "train", diverging)
    done = nondet(*SMALL, "--runs", "4", "--out", folder)
    assert done.exit_code == 0, done.output
    failures = [run.failure for run in runs_of(folder, "initialization")]
    assert [failure is None for failure in failures] == [True, False, True, True]
    assert failures[1].reason == "the training loss is nan"
    assert all(run.failure is None for run in runs_of(folder, "shuffling"))
    monkeypatch.setattr(loop, "train", None)  # a recorded failure is not repeated
    assert nondet(*SMALL, "--runs", "4", "--out", folder).exit_code == 0
