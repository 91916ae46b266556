"""Options with numbers of any size are accepted or refused in a line, without a traceback."""

import re

import pytest
import typer

from factories.commands import nondet
from nondet.cli import app

HIGHEST = 2**63 - 1
NUMBERS = [str(HIGHEST), "-" + "9" * 400, "9" * 5000, "1e400", "nan"]
COMMANDS = typer.main.get_command(app).commands
SETTINGS = ("epochs", "lr", "milestones", "perturbation.index", "language.clip", "flip", "dataset")


def base(name, scores):
    """Return the arguments of a command that would do nothing."""
    return {
        "run": ["quick", "--dry-run", "--model", "linear", "--runs", "2"],
        "verify-resume": ["quick", "--model", "none"],
        "studies": ["--no-calibrate"],
        "compare": [scores, scores],
        "plan": ["--from", scores, "--detect", "5"],
    }.get(name)


def options(name):
    """Return the options of a command that take a value."""
    for option in COMMANDS[name].params:
        flag = getattr(option, "is_flag", False)
        if option.param_type_name == "option" and not flag and option.opts[-1] != "--out":
            yield option.opts[-1]


CASES = [
    (name, option)
    for name in ("run", "verify-resume", "studies", "compare", "plan")
    for option in options(name)
    if option != "--set"
]


@pytest.fixture(scope="module")
def scores(tmp_path_factory):
    path = tmp_path_factory.mktemp("scores") / "scores.csv"
    path.write_text("seed,accuracy\n1,0.5\n2,0.6\n3,0.5\n4,0.7\n")
    return str(path)


def check(done, *arguments):
    assert isinstance(done.exception, SystemExit | None), (arguments, done.exception)
    assert done.exit_code in (0, 1, 2)
    assert "Traceback" not in done.output


@pytest.mark.parametrize(("name", "option"), CASES)
def test_numbers_of_any_size_in_options(name, option, scores, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("nondet.execute.cost.speed", _no_time)
    for number in NUMBERS:
        given = [*base(name, scores), f"{option}={number}"]
        check(nondet(name, *given), name, option, number[:30])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("setting", SETTINGS)
def test_numbers_of_any_size_in_settings(setting, monkeypatch):
    monkeypatch.setattr("nondet.execute.cost.speed", _no_time)
    for number in NUMBERS:
        done = nondet("run", *base("run", None), "--set", f"{setting}={number}")
        check(done, setting, number[:30])


def _no_time(config, shape):
    from nondet.execute.calibrate import Speed

    return Speed(0.0, 0.0)


def test_the_highest_integer_is_too_many_runs():
    done = nondet("run", "quick", "--runs", HIGHEST)
    assert done.exit_code == 2
    assert done.stderr == f"error: runs is {HIGHEST}; it must be at most 100,000\n"


def test_workers_have_a_highest_number():
    done = nondet("run", *base("run", None), "--workers", "9" * 400)
    assert done.exit_code == 2
    assert "it must be at most 10,000" in done.stderr


@pytest.mark.parametrize("more", [["--dry-run"], ["--executor", "serial"]])
@pytest.mark.parametrize(
    ("study", "message"),
    [
        (["quick", "--model", "linear"], "5000; the data set has 1347 training examples"),
        (["table4"], "5000; the .* tokens of the training text are fewer than two for each piece"),
    ],
)
def test_a_batch_that_is_larger_than_the_data_is_refused_first(study, message, more, tmp_path):
    size = "batch_size=5000"
    if study[0] == "table4":
        size, message = "batch_size=500000", message.replace("5000", "500000")
    out = tmp_path / "out"
    done = nondet("run", *study, "--set", size, "--out", out, *more)
    assert done.exit_code == 2
    assert re.match(f"error: batch_size is {message}\n$", done.stderr)
    assert not out.exists()


def test_a_batch_of_a_row_is_checked_too(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        'name = "mine"\n[preset.laptop]\nruns = 2\nmodels = ["linear"]\n'
        'settings = { dataset = "digits", epochs = 4, batch_size = 64, lr = 0.1 }\n'
        '[[row]]\nname = "large"\nvaries = ["init"]\nsettings.batch_size = 1348\n'
    )
    done = nondet("run", path, "--dry-run")
    assert done.exit_code == 2
    assert "row 'large': batch_size is 1348; the data set has 1347 training" in done.stderr
