"""Numbers that no study needs are refused before a plan is made, and texts that are nested deeply
or hold long numbers are errors with the name of the file.
"""

import tomllib
from dataclasses import replace

import pytest

from nondet.studies.catalog import find_study
from nondet.studies.config import RunConfig
from nondet.studies.errors import SettingError
from nondet.studies.row import Row
from nondet.studies.schema import MOST_RUNS
from nondet.studies.seeds import Onset
from nondet.studies.settings import setting_types
from nondet.studies.validation import without_none

HIGHEST = 2**63 - 1
LONG, TOO_LONG = "9" * 400, "9" * 5000  # Python reads and writes no more than 4,300 digits
COUNTS = sorted(name for name, kind in setting_types().items() if without_none(kind) is int)
PLACES = {"perturbation.step", "perturbation.index"}
"""Integers that are the place of something, to be looked up in a training."""

STUDY = """
name = "mine"

[preset.laptop]
runs = 2
models = ["linear"]
settings = { dataset = "digits", epochs = 4, batch_size = 64, lr = 0.1 }

[[row]]
name = "control"
"""


def study_file(tmp_path, *changes):
    text = STUDY
    for old, new in changes:
        assert text.count(old) == 1
        text = text.replace(old, new)
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", [name for name in COUNTS if name not in PLACES])
def test_every_count_has_a_highest_value(name):
    with pytest.raises(SettingError) as caught:
        find_study("table4" if name.startswith("language") else "quick").plan(
            settings={name: HIGHEST}
        )
    assert caught.value.field == name
    assert str(HIGHEST) in str(caught.value)


@pytest.mark.parametrize("name", sorted(PLACES))
def test_places_may_be_any_integer_and_planning_stays_cheap(name):
    plan = find_study("quick").plan(models=("linear",), runs=2, settings={name: HIGHEST})
    assert len(plan.tasks()) > 0


@pytest.mark.parametrize("runs", [MOST_RUNS + 1, HIGHEST, int(LONG)])
def test_runs_have_a_highest_number(runs):
    plan = find_study("quick").plan(models=("linear",))
    for make in (lambda: replace(plan, runs=runs), lambda: Row("a", runs=runs)):
        with pytest.raises(SettingError, match=rf"runs (is )?{runs}; it must be at most 100,000"):
            make()
    assert replace(plan, runs=MOST_RUNS).runs == MOST_RUNS


@pytest.mark.parametrize(
    ("varies", "levels"),
    [(("init",), HIGHEST), (("init", "shuffle"), 317), (("init", "shuffle", "bit"), int(LONG))],
)
def test_crossed_rows_have_a_highest_number_of_runs(varies, levels):
    with pytest.raises(SettingError, match="at most 100,000") as caught:
        Row("a", varies, design="crossed", levels=levels)
    assert caught.value.field == "levels"
    assert Row("a", ("init", "shuffle"), design="crossed", levels=316).count(0) == 316**2


@pytest.mark.parametrize("epoch", [10**6 + 1, HIGHEST, int(LONG)])
def test_onsets_have_a_highest_epoch(epoch):
    with pytest.raises(SettingError, match=f"onset.bit is {epoch}; it must be at most 1,000,000"):
        Onset(bit=epoch)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("runs = 2", "runs = {}"),
        ("runs = 2", "runs = [{}]"),
        ("epochs = 4", "epochs = {}"),
        ("batch_size = 64", "batch_size = {}"),
        ("lr = 0.1", "lr = {}"),
        ("lr = 0.1", "lr = {}.5"),
        ("lr = 0.1", "lr = 1e{}"),
        ("lr = 0.1", "lr = 0.1, milestones = [{}]"),
        ("lr = 0.1", "lr = 0.1, flip = {}"),
        ("lr = 0.1", "lr = 0.1, perturbation.step = {}"),
        ('name = "mine"', "name = {}"),
        ('"digits"', '"imagefolder:x@{}"'),
        ('"digits"', '"pydoc@{}"'),
        ('"linear"', '"resnet14-w{}"'),
        ('name = "control"', 'name = "control"\nruns = {}'),
        ('name = "control"', 'name = "control"\nonset.bit = {}'),
        ('name = "control"', 'name = "c"\nvaries = ["init"]\ndesign = "crossed"\nlevels = {}'),
    ],
)
@pytest.mark.parametrize("digits", [LONG, TOO_LONG, f"0x{TOO_LONG}"], ids=["400", "5000", "0x"])
def test_long_numbers_in_a_file_are_errors_with_its_name(old, new, digits, tmp_path):
    if "imagefolder" in new and digits.startswith("0x"):
        digits = digits.removeprefix("0x")  # else it is the name of a folder
    path = study_file(tmp_path, (old, new.format(digits)))
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        find_study(str(path))
    assert str(caught.value).startswith(f"{path}, line ")


def nested(kind, depth):
    """Return a TOML value, or the end of a key and a value, that is nested deeply."""
    return {
        "array": f"= {'[' * depth}{']' * depth}",
        "table": f"= {'{a=' * depth}1{'}' * depth}",
        "mixed": f"= {'[{a=' * depth}1{'}]' * depth}",
        "dotted": f"{'.a' * depth} = 1",
    }[kind]


@pytest.mark.parametrize("kind", ["array", "table", "mixed", "dotted"])
@pytest.mark.parametrize("depth", [50, 300, 900, 5000])
@pytest.mark.parametrize("key", ["name", "views", "preset.laptop.runs", "row", "x", "baseline"])
def test_deep_nesting_is_an_error_with_the_name_of_the_file(kind, depth, key, tmp_path):
    path = tmp_path / "deep.toml"
    path.write_text(f"{key} {nested(kind, depth)}\n")
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        find_study(str(path))
    assert str(caught.value).startswith(f"{path}")


def test_deep_nesting_is_too_much_for_the_reader_itself():
    with pytest.raises(RecursionError):
        tomllib.loads(f"x {nested('array', 5000)}")


def test_deep_values_on_the_command_line_are_texts():
    from nondet.studies.settings import parse_settings

    for depth in (300, 5000):
        with pytest.raises(
            SettingError, match=r"--set milestones is .* must be a list of integers"
        ):
            parse_settings([f"milestones={'[' * depth}{']' * depth}"])


def test_usual_numbers_are_below_the_limits():
    config = RunConfig(
        "digits", "linear", 1_000_000, 2**31 - 1, 0.1, crop_padding=2**16, threads=1024
    )
    assert config.epochs == 1_000_000
