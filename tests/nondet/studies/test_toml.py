"""Tests of studies in TOML and in Python: their meaning and their errors."""

import re
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nondet.cli import app
from nondet.names import VIEWS
from nondet.studies.catalog import find_study
from nondet.studies.row import KEEPS, Row
from nondet.studies.seeds import SOURCES, Onset
from nondet.studies.specs import PerturbationSpec
from nondet.studies.study import Preset, Study
from nondet.studies.toml import reader as toml
from nondet.studies.toml.lines import key_lines, line_of

WHOLE = """\
# A study with everything.
name = "momenta"
title = "Do momenta matter?"
shows = "one bit of a momentum"
source = "a page"
views = ["spread", "onset"]
baseline = "all"

[preset.laptop]
runs = 3
models = ["linear", "hidden"]
keep = ["taps"]
settings = { dataset = "digits", epochs = 5, batch_size = 64, lr = 1, milestones = [2, 4] }

[preset.laptop.model_settings.hidden]
dropout = 0.1

[preset.large]
runs = 4
models = ["resnet14-w8"]

[preset.large.settings]
dataset = "digits"
epochs = 10
batch_size = 128
lr = 0.5

[[preset.large.row]]
name = "control"

[[preset.large.row]]
name = "all"
varies = ["init"]

[[row]]
name = "control"
runs = 2

[[row]]
name = "all"
varies = [
    "init",
    "shuffle",  # drawn anew every epoch
]
settings.schedule = "snapshots"
settings.warmup_epochs = 0
output = "snapshots/flip"

[[row]]
name = "late bit"
varies = ["bit"]
onset.bit = 2
keep = ["twin"]
models = ["hidden"]

[row.settings.perturbation]
target = "momentum"
step = 3

[[row]]
name = "crossed"
varies = ["init", "lowlevel"]
design = "crossed"
levels = 3
"""

EXPECTED = Study(
    name="momenta",
    title="Do momenta matter?",
    shows="one bit of a momentum",
    source="a page",
    views=("spread", "onset"),
    baseline="all",
    rows=(
        Row("control", runs=2),
        Row(
            "all",
            ("init", "shuffle"),
            {"schedule": "snapshots", "warmup_epochs": 0},
            output="snapshots/flip",
        ),
        Row(
            "late bit",
            ("bit",),
            {"perturbation": PerturbationSpec("momentum", step=3)},
            Onset(bit=2),
            keep=("twin",),
            models=("hidden",),
        ),
        Row("crossed", ("init", "lowlevel"), design="crossed", levels=3),
    ),
    presets={
        "laptop": Preset(
            3,
            ("linear", "hidden"),
            {
                "dataset": "digits",
                "epochs": 5,
                "batch_size": 64,
                "lr": 1.0,
                "milestones": (2, 4),
            },
            {"hidden": {"dropout": 0.1}},
            keep=("taps",),
        ),
        "large": Preset(
            4,
            ("resnet14-w8",),
            {"dataset": "digits", "epochs": 10, "batch_size": 128, "lr": 0.5},
            rows=(Row("control"), Row("all", ("init",))),
        ),
    },
)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "my.toml"


def refusal(file, text):
    """Return the error of a file, without the file's name."""
    file.write_text(text)
    with pytest.raises(ValueError, match=r"my\.toml") as caught:
        find_study(str(file))
    return str(caught.value).removeprefix(f"{file}, ")


def test_a_file_means_what_the_classes_mean(file):
    file.write_text(WHOLE)
    study = find_study(str(file))
    assert study == EXPECTED
    for preset in ("laptop", "large"):
        assert study.plan(preset) == EXPECTED.plan(preset)
    # An integer in the file must not give equal runs another address.
    assert type(study.plan().configs[0].lr) is float
    assert len(study.plan("large").rows) == 2


def test_missing_keys_have_their_defaults(file):
    file.write_text(
        'name = "small"\npreset.any = { runs = 2, models = ["linear"], settings.dataset = '
        '"digits", settings.epochs = 1, settings.batch_size = 64, settings.lr = 0.1, '
        "settings.warmup_epochs = 0 }\n"
        'row = [{ name = "control" }, { name = "bit", varies = ["bit"] }]\n'
    )
    study = find_study(str(file))
    assert (study.title, study.views, study.baseline, study.source) == (
        "small",
        ("spread",),
        None,
        "my.toml",
    )
    assert study.plan().rows == (Row("control"), Row("bit", ("bit",)))


WRONG = [
    # (text in the file, its replacement, line of the error, beginning of the error)
    ('title = "Do', 'titel = "Do', 3, "there is no 'titel'; did you mean title? known: name, "),
    ('name = "momenta"', "name = 3", 2, "name is 3; it must be a string"),
    ('name = "momenta"', 'name = "../up"', 2, "name is '../up'; it names a folder: letters"),
    ('name = "momenta"\n', "", 1, "the study lacks 'name'"),
    ('"spread", "onset"', '"spread", "onsett"', 6, "view is 'onsett'; did you mean onset? known"),
    ('baseline = "all"', 'baseline = "al"', 7, "baseline is 'al'; did you mean all? the rows"),
    ("runs = 3", 'runs = "3"', 10, "runs is '3'; it must be an integer of at least 2"),
    ("runs = 3\n", "", 9, "preset.laptop lacks 'runs'"),
    ('"hidden"]\nkeep', '"hiden"]\nkeep', 11, "model is 'hiden'; did you mean hidden"),
    ('models = ["linear", "hidden"]', "models = []", 11, "preset.laptop names no models"),
    ('keep = ["taps"]', 'keep = ["tabs"]', 12, "keep has 'tabs'; did you mean taps"),
    ("lr = 1,", 'lr = "fast",', 13, "lr is 'fast'; it must be a number"),
    ("epochs = 5", "epochs = 5.0", 13, "epochs is 5.0; it must be an integer"),
    ("epochs = 5", "epoch = 5", 13, "there is no 'epoch' in preset.laptop.settings; did you mean"),
    ("lr = 1, ", "", 13, "preset.laptop.settings lacks 'lr', which every training needs"),
    ("[2, 4]", "[2, 4.5]", 13, "milestones is [2, 4.5]; it must be a list of integers"),
    ('"digits", epochs = 5', '"digit", epochs = 5', 13, "dataset is 'digit'; did you mean digits"),
    ("settings.hidden]", "settings.mnist]", 15, "model_settings are for 'mnist'; models of this"),
    ("dropout = 0.1", "dropout = 1.5", 16, "dropout is 1.5; it must lie in [0, 1)"),
    ("dropout = 0.1", "dropout = true", 16, "dropout is True; it must be a number"),
    ("epochs = 10", "epochs = 0", 24, "epochs is 0; it must be at least 1"),
    ('"shuffle",  #', '"shufle",  #', 43, "varies has 'shufle'; did you mean shuffle? known: init"),
    ('schedule = "snapshots"', 'schedule = "snapshot"', 45, "schedule is 'snapshot'; did you mean"),
    ("warmup_epochs = 0", "warmup_epochs = 1", 46, "row 'all': warmup_epochs is 1; with snap"),
    ('"snapshots/flip"', '"snapshots/flop"', 47, "row 'all' has output 'snapshots/flop'; did you"),
    ("onset.bit = 2", "onset.bit = 6", 52, "row 'late bit': the onset of bit is epoch 6; the trai"),
    ("onset.bit = 2", "onset.init = 2", 52, "there is no 'init' in row.onset; known: shuffle"),
    ("onset.bit = 2", "onset.bit = -2", 52, "the onset of bit is -2; epochs are counted"),
    ('target = "momentum"', 'target = "moment"', 57, "perturbation.target is 'moment'; did you m"),
    ("step = 3", "stop = 3", 58, "there is no 'stop' in row.settings.perturbation; did you mean"),
    ("levels = 3", "", 63, "row 'crossed' has levels None; crossed needs at least 2"),
    (
        'design = "crossed"',
        'design = "cross"',
        63,
        "row 'crossed' has design 'cross'; did you mean",
    ),
    ('name = "crossed"', 'name = "all"', 61, "two rows are named 'all'"),
    ('name = "crossed"\n', "", 60, "row lacks 'name'"),
]


@pytest.mark.parametrize(
    ("old", "new", "line", "message"), WRONG, ids=[new for _, new, *_ in WRONG]
)
def test_errors_name_the_line(file, old, new, line, message):
    assert WHOLE.count(old) == 1
    assert refusal(file, WHOLE.replace(old, new)).startswith(f"line {line}: {message}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = \n", "line 1, column 8: no TOML: Invalid value"),
        ('name = "a"\nname = "b"\n', "line 2, column 11: no TOML: Cannot overwrite a value"),
        ('name = "a"\nviews = [', "line 2 (the end): no TOML: "),
        ('name = "a"\n', "line 1: there is no [preset.NAME], such as [preset.laptop]"),
        ('name = "a"\npreset = 3\n', "line 2: preset is 3; it must be a table of names and values"),
        ('name = "a"\n\n[row]\nname = "x"\n[preset.p]\n', "line 3: row is no list of rows; begin"),
        ('name = "a"\n[preset.p]\nruns = 2\n', "line 2: preset.p names no models"),
    ],
)
def test_a_file_that_is_no_study(file, text, message):
    assert refusal(file, text).startswith(message)


def test_a_study_without_rows(file):
    text = WHOLE[: WHOLE.index("[[row]]")].replace('baseline = "all"\n', "")
    assert refusal(file, text) == "line 8: there is no row; begin each with [[row]]"


def test_files_that_cannot_be_read(file):
    with pytest.raises(FileNotFoundError, match=r"there is no study file .*my\.toml"):
        find_study(str(file))
    file.write_bytes(b'name = "\xff"\n')
    with pytest.raises(ValueError, match=r"my\.toml is no UTF-8 text: .* at byte 8"):
        find_study(str(file))
    file.write_text(WHOLE.replace('"momenta"', '"table1"'))
    with pytest.raises(ValueError, match="the name 'table1' is that of a study of nondet"):
        find_study(str(file))


# -- lines -----------------------------------------------------------------------------------


def test_lines_of_everything_that_toml_allows():
    text = '''\
a = 1 # b = 2
"c.d" = """
e = 3
"""
f.'g' = [ # the list
  [1, 2], { h = 4, i = [ "]", '}', """
x = 1 """ ] },
  1979-05-27 07:32:00,
]
[j . k]
l = \'\'\'m = """\'\'\'
[[n]]
[[n]]
o.p = -0.5e3
[n.q]
r = 0x1F
[[n.s]]
t = true
'''
    lines = key_lines(text)
    parsed = tomllib.loads(text)
    assert {path: line for path, line in lines.items() if not isinstance(path[-1], int)} == {
        ("a",): 1,
        ("c.d",): 2,
        ("f",): 5,
        ("f", "g"): 5,
        ("f", "g", 1, "h"): 6,
        ("f", "g", 1, "i"): 6,
        ("j", "k"): 10,
        ("j", "k", "l"): 11,
        ("n",): 12,
        ("n", 1, "o"): 14,
        ("n", 1, "o", "p"): 14,
        ("n", 1, "q"): 15,
        ("n", 1, "q", "r"): 16,
        ("n", 1, "s"): 17,
        ("n", 1, "s", 0, "t"): 18,
    }
    assert [lines["f", "g", i] for i in range(3)] == [6, 6, 8]
    assert [lines["n", i] for i in range(2)] == [12, 13]
    for path in lines:  # every path exists in the table that tomllib returns
        value = parsed
        for key in path:
            value = value[key]
    assert line_of(lines, ("n", 1, "q", "unheard", "of")) == 15
    assert line_of(lines, ("unheard",)) == 1


# -- Python ----------------------------------------------------------------------------------


PYTHON = """\
from nondet import Preset, Row, Study

SETTINGS = {"dataset": "digits", "epochs": 4, "batch_size": 64, "lr": 0.1}
STUDY = Study(
    name="own",
    title="Own",
    rows=tuple(Row(name, (name,)) for name in ("init", "bit")),
    presets={"laptop": Preset(runs=3, models=("linear",), settings=SETTINGS)},
)
"""


def test_a_study_in_python(tmp_path):
    path = tmp_path / "own.py"
    path.write_text(PYTHON)
    plan = find_study(str(path)).plan()
    assert plan.rows == (Row("init", ("init",)), Row("bit", ("bit",)))
    assert plan == replace(plan, study="own", runs=3)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("STUDY =", "STUDIES =", r"own\.py defines no STUDY; it must define STUDY, a nondet"),
        ("STUDY = Study(", "STUDY = dict(", r"own\.py defines STUDY of type dict; it must"),
        ('("init", "bit")', '("luck",)', r"own\.py, line 7: row 'luck' varies 'luck'; known"),
        ("SETTINGS = {", "SETTINGS = ", r"own\.py, line 3: SyntaxError: "),
        ('"lr": 0.1', '"lr": -1.0', r"own\.py, preset 'laptop': lr is -1\.0; it must be a finite"),
        (
            '"epochs": 4',
            '"epochs": 3',
            r"own\.py, preset 'laptop': warmup_epochs is 3; it must be b",
        ),
    ],
)
def test_errors_of_a_study_in_python(tmp_path, old, new, message):
    path = tmp_path / "own.py"
    path.write_text(PYTHON.replace(old, new))
    with pytest.raises(ValueError, match=message):
        find_study(str(path))


PAGE = Path(__file__).parents[3] / "docs" / "studies.md"


def test_the_example_of_the_page(tmp_path):
    [example] = re.findall(r"^```toml\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    path = tmp_path / "dropout.toml"
    path.write_text(example)
    result = CliRunner().invoke(app, ["run", str(path), "--dry-run"])
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith("dropout (dropout.toml): Does dropout make training more")
    assert "Runs: 52 different ones" in result.stdout
    [message] = re.findall(r"^error: dropout\.toml, (.*)$", PAGE.read_text(), re.MULTILINE)
    path.write_text(example.replace('"shuffle"', '"shufle"', 1))
    result = CliRunner().invoke(app, ["run", str(path), "--dry-run"])
    assert (result.exit_code, result.stderr) == (2, f"error: {path}, {message}\n")


def test_every_key_is_on_the_page():
    text = PAGE.read_text()
    for known in (toml.STUDY_KEYS, toml.PRESET_KEYS, toml.ROW_KEYS, VIEWS, KEEPS, SOURCES):
        for name in known:
            assert re.search(rf"`[^`]*\b{name}\b[^`]*`", text), name
