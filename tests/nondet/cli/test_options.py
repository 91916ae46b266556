"""Settings that a study's file and an option can both give: the option wins where it is given, and
only there.
"""

import inspect

import pytest

from factories.commands import nondet
from nondet.cli.resume import verify_resume_command
from nondet.cli.run import run
from nondet.execute.cost import Cost

STUDY = """
name = "mine"

[preset.small]
runs = 3
models = ["linear", "hidden"]

[preset.small.settings]
dataset = "mnist"
epochs = 5
batch_size = 32
lr = 0.25
dropout = 0.125
device = "cuda"
crop_padding = 1

[preset.large]
runs = 7
models = ["hidden"]

[preset.large.settings]
dataset = "digits"
epochs = 9
batch_size = 64
lr = 0.5

[[row]]
name = "control"

[[row]]
name = "on the processor"
varies = ["init"]
settings.device = "cpu"
"""

GIVEN = {
    "dataset": (["--dataset", "svhn"], {"dataset": "svhn"}),
    "model": (["--model", "vgg11"], {"model": "vgg11"}),
    "runs": (["--runs", "4"], {"runs": 4}),
    "epochs": (["--epochs", "6"], {"epochs": 6}),
    "device": (["--device", "cpu"], {"device": "cpu"}),
    "setting": (["--set", "lr=0.75"], {"lr": 0.75}),
    "preset": (
        ["--preset", "large"],
        {
            "dataset": "digits",
            "epochs": 9,
            "runs": 7,
            "lr": 0.5,
            "batch_size": 64,
            "dropout": 0.0,
            "device": "cpu",
            "crop_padding": 0,
        },
    ),
}
"""By parameter of `nondet run`: options, and what they change."""

NOT_IN_FILES = {
    *("study", "data", "download", "workers", "executor", "ray_address", "gpus_per_run", "out"),
    *("shard", "allow_equal", "allow_mixed", "restart_runs", "quiet", "dry_run", "at"),
}


@pytest.fixture
def planned(tmp_path, monkeypatch):
    """Return a function from options to the settings of the last model, by name, and the runs."""
    (tmp_path / "mine.toml").write_text(STUDY)
    monkeypatch.chdir(tmp_path)
    plans = []

    def describe(plan, *rest, **named):
        plans.append(plan)
        return []

    monkeypatch.setattr("nondet.execute.cost.describe", describe)

    def of(*options):
        done = nondet("run", "mine.toml", "--dry-run", *options)
        assert done.exit_code == 0, done.output
        plan = plans.pop()
        return {**vars(plan.configs[-1]), "runs": plan.runs}

    return of


@pytest.mark.parametrize("command", [run, verify_resume_command])
def test_every_option_is_known_here(command):
    parameters = inspect.signature(command).parameters
    assert set(parameters) - NOT_IN_FILES <= set(GIVEN)
    # A default that is a value would replace the file's.
    assert {parameters[name].default for name in set(parameters) & set(GIVEN)} == {None}


@pytest.mark.parametrize("parameter", GIVEN)
def test_an_option_changes_what_it_names_and_nothing_else(parameter, planned):
    options, changes = GIVEN[parameter]
    of_file = planned()
    assert of_file["device"] == "cuda"
    assert {name: of_file[name] for name in changes} != changes
    assert planned(*options) == {**of_file, **changes}


@pytest.mark.parametrize("command", ["run", "verify-resume"])
@pytest.mark.parametrize(
    ("option", "value"),
    [("dataset", "digits"), ("model", "linear"), ("epochs", "2"), ("device", "cpu")],
)
def test_a_setting_is_given_once(command, option, value):
    done = nondet(command, "quick", f"--{option}", value, "--set", f"{option}={value}")
    assert done.exit_code == 2
    assert done.stderr == f"error: --{option} and --set {option} are both given; leave one out\n"


def test_a_setting_is_set_once():
    done = nondet("run", "quick", "--set", "lr=0.1", "--set", "lr=0.2")
    assert (done.exit_code, done.stderr) == (2, "error: --set lr is given twice\n")


def test_a_device_of_a_file_is_looked_for(planned, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    done = nondet("run", "mine.toml")
    assert done.exit_code == 2
    assert "device is 'cuda', but torch sees no CUDA device" in done.stderr


def test_a_device_of_a_row_is_looked_for(tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    path = tmp_path / "mine.toml"
    path.write_text(STUDY.replace('"cpu"', '"gpu"'))
    done = nondet("run", path, "--preset", "large")
    assert done.exit_code == 2
    assert "device is 'gpu'; did you mean cuda? known: cpu, cuda" in done.stderr
    path.write_text(STUDY.replace('"cpu"', '"cuda"'))
    done = nondet("run", path, "--preset", "large")
    assert "device is 'cuda', but torch sees no CUDA device" in done.stderr
    assert "Needs: a CUDA device" in nondet("run", path, "--preset", "large", "--dry-run").stdout


def test_a_device_of_a_file_decides_the_gpus_of_ray(planned, monkeypatch):
    given = []
    monkeypatch.setattr("nondet.execute.executors.RayTasks", lambda *args: given.append(args))
    planned("--executor", "ray")
    planned("--executor", "ray", "--preset", "large")
    assert [gpus for _, _, gpus, _ in given] == [1.0, 0.0]


def test_download_in_a_dry_run_says_what_would_be_downloaded(tmp_path, monkeypatch):
    pytest.importorskip("torchvision")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NONDET_DATA", "")  # restored: --data sets it
    monkeypatch.setattr("nondet.execute.cost.estimate", lambda plan: Cost(1, 1.0, 1))
    command = ["run", "quick", "--dry-run", "--dataset", "cifar10", "--data", tmp_path / "data"]
    without, with_download = nondet(*command), nondet(*command, "--download")
    assert (without.exit_code, with_download.exit_code) == (0, 0)
    assert "Needs: cifar10 is not in" in without.stdout
    assert "add --download" in without.stdout
    assert f"Download: cifar10, to {tmp_path / 'data'}." in with_download.stdout
    assert "Needs" not in with_download.stdout
    assert "add --download" not in with_download.stdout
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_downloaded_is_still_needed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NONDET_DATA", "")
    monkeypatch.setattr("nondet.execute.cost.speed", lambda *rest: None)
    monkeypatch.setattr("nondet.execute.cost._core_seconds", lambda *rest: [1.0])
    command = ["run", "table2", "--dry-run", "--dataset", "penn-treebank", "--download"]
    done = nondet(*command, "--data", tmp_path / "data")
    assert "Needs: penn-treebank" in done.stdout
    assert "Download:" not in done.stdout
