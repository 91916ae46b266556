"""Errors about settings carry the name of the setting and, in a TOML file, its line."""

import json
import pickle
from dataclasses import fields, replace
from typing import Literal, get_origin

import pytest

from nondet.studies.catalog import find_study
from nondet.studies.config import RunConfig
from nondet.studies.errors import SettingError, SettingTypeError
from nondet.studies.job import Job
from nondet.studies.row import Row
from nondet.studies.seeds import Onset, Seeds
from nondet.studies.settings import GROUPS, grouped, setting_types
from nondet.studies.specs import LanguageSpec, PerturbationSpec
from nondet.studies.study import Preset, Study
from nondet.studies.validation import without_none

TYPES = setting_types()

WRONG_VALUES = {
    "epochs": 0,
    "batch_size": 0,
    "lr": -0.1,
    "optimizer": "lbfgs",
    "momentum": 1.0,
    "adam_beta2": -0.1,
    "adam_eps": float("nan"),
    "weight_decay": -1.0,
    "bias_lr_scale": float("inf"),
    "schedule": "sudden",
    "warmup_epochs": -1,
    "cycles": 0,
    "milestones": (3, 2),
    "decay": -0.5,
    "label_smoothing": 1.0,
    "averaging": "median",
    "averaging_start": -1,
    "ema_decay": 1.5,
    "weight_offset": -1.0,
    "dropout": 1.0,
    "crop_padding": -1,
    "lowlevel": "high",
    "chunks": 0,
    "evaluate_every": 0,
    "threads": 0,
    "perturbation.target": "luck",
    "perturbation.step": -1,
    "perturbation.index": -1,
    "perturbation.change": "byte",
    "perturbation.direction": 2,
    "perturbation.bit": 64,
    "language.embedding": 0,
    "language.hidden": 0,
    "language.layers": 0,
    "language.window": 3,
    "language.bptt": 0,
    "language.dropout_embedding": 1.0,
    "language.dropout_input": -0.1,
    "language.dropout_hidden": 1.0,
    "language.dropout_output": 1.0,
    "language.dropout_weight": 1.0,
    "language.zoneout": 1.0,
    "language.activation_reg": -1.0,
    "language.temporal_reg": float("inf"),
    "language.clip": -1.0,
    "language.trigger": 0,
    "language.tested": "first",
    "normalization": "guessed",
    "bias_lr_scope": "some",
    "precision": "half",
    "held_seed": -1,
}
ANY_VALUE = {
    "dataset",
    "model",
    "device",
    "flip",
    "drop_last",
    "cycle_warmup",
    "shuffle_once",
    "resized_crop",
    "perturbation.tensor",
    "language.variable_bptt",
}
"""Settings for which every value of their type is allowed, or is looked up elsewhere."""


def wrong_type(name):
    """Return a value whose type the setting does not have."""
    declared = without_none(TYPES[name])
    if get_origin(declared) is tuple:
        return (1, 2.5)
    return {str: 3, int: 2.5, float: "fast", bool: 1}.get(declared, 3)


def make(name, value):
    """Build the dataclass that holds a setting."""
    group, _, inner = name.rpartition(".")
    if group:
        return GROUPS[group](**{inner: value})
    valid = {"dataset": "digits", "model": "linear", "epochs": 4, "batch_size": 64, "lr": 0.1}
    return RunConfig(**valid | {name: value})


def test_no_setting_is_forgotten():
    assert not WRONG_VALUES.keys() & ANY_VALUE
    assert WRONG_VALUES.keys() | ANY_VALUE == TYPES.keys()


@pytest.mark.parametrize("name", TYPES)
def test_a_wrong_type_names_its_setting(name):
    value = wrong_type(name)
    with pytest.raises(SettingError, match=rf"^{name} ") as caught:
        make(name, value)
    assert caught.value.field == name
    assert repr(value) in str(caught.value)
    if get_origin(TYPES[name]) is not Literal:
        assert isinstance(caught.value, SettingTypeError)
        assert isinstance(caught.value, TypeError)


@pytest.mark.parametrize("name", WRONG_VALUES)
def test_a_wrong_value_names_its_setting(name):
    with pytest.raises(SettingError, match=rf"^{name} ") as caught:
        make(name, WRONG_VALUES[name])
    assert caught.value.field == name
    assert isinstance(caught.value, ValueError)
    assert not isinstance(caught.value, TypeError)


@pytest.mark.parametrize("group", GROUPS)
def test_a_group_is_an_object_of_its_class(group):
    with pytest.raises(
        SettingTypeError, match=rf"{group} is 3; .*{GROUPS[group].__name__}"
    ) as raised:
        make(group, 3)
    assert raised.value.field == group
    name = next(name for name in TYPES if name.startswith(f"{group}."))
    with pytest.raises(SettingTypeError, match=f"{group} is 3"):
        grouped({group: 3, name: 1}, {})


@pytest.mark.parametrize("value", [True, 2**63])
@pytest.mark.parametrize("name", ["epochs", "lr", "perturbation.index", "language.clip"])
def test_integers_are_no_truth_values_and_have_64_bits(name, value):
    with pytest.raises(SettingError, match=f"{name} is {value}") as caught:
        make(name, value)
    assert caught.value.field == name


def test_integers_are_numbers():
    assert make("lr", 1).lr == 1


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"optimizer": "nesterov", "momentum": 0.0}, ("momentum", "optimizer")),
        ({"schedule": "snapshots", "cycles": 3}, ("epochs", "cycles", "schedule")),
        (
            {"schedule": "snapshots", "cycles": 4},
            ("warmup_epochs", "schedule", "epochs", "cycles"),
        ),
        ({"averaging": "swa", "averaging_start": 4}, ("averaging_start", "epochs")),
        ({"lowlevel": "vendor"}, ("lowlevel", "device")),
        ({"averaging": "triggered"}, ("averaging", "language")),
        ({"resized_crop": True, "crop_padding": 1}, ("resized_crop", "crop_padding")),
        ({"normalization": "published"}, ("normalization", "dataset")),
        ({"precision": "tf32"}, ("precision", "device")),
        ({"precision": "bfloat16"}, ("precision", "lowlevel")),
        ({"language": LanguageSpec()}, ("lowlevel", "language")),
        (
            {
                "language": LanguageSpec(),
                "lowlevel": "off",
                "crop_padding": 0,
                "perturbation": PerturbationSpec("pixel"),
            },
            ("perturbation.target", "language"),
        ),
    ],
)
def test_settings_that_do_not_fit_together_are_all_named(config, settings, names):
    with pytest.raises(SettingError) as caught:
        replace(config, epochs=4, **settings)
    assert caught.value.fields == names


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"index": 3, "target": "momentum"}, ("perturbation.index", "perturbation.target")),
        ({"direction": 1, "change": "bit"}, ("perturbation.direction", "perturbation.change")),
        ({"bit": 3}, ("perturbation.bit", "perturbation.change")),
    ],
)
def test_perturbations_that_do_not_fit_together_are_all_named(settings, names):
    with pytest.raises(SettingError) as caught:
        PerturbationSpec(**settings)
    assert caught.value.fields == names


@pytest.mark.parametrize("source", [field.name for field in fields(Onset)])
def test_an_onset_names_its_source(config, source):
    for value, error in ((-1, SettingError), (1.5, SettingTypeError), (True, SettingTypeError)):
        with pytest.raises(error, match=rf"{source} is {value}") as caught:
            Onset(**{source: value})
        assert caught.value.field == f"onset.{source}"
    with pytest.raises(SettingError, match=rf"{source} is epoch 3.* 2 epochs") as caught:
        Job(config, Seeds(), onset=Onset(**{source: 3}))
    assert caught.value.fields == (f"onset.{source}", "epochs")


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"varies": ("luck",)}, "varies"),
        ({"varies": ("bit", "bit")}, "varies"),
        ({"settings": {"luck": 1}}, "luck"),
        ({"settings": {"model": "linear"}}, "model"),
        ({"output": "finale"}, "output"),
        ({"output": "final/"}, "output"),
        ({"output": 3}, "output"),
        ({"design": "nested"}, "design"),
        ({"keep": ("all",)}, "keep"),
        ({"runs": 1}, "runs"),
        ({"runs": "3"}, "runs"),
        ({"levels": 3}, "levels"),
        ({"levels": 2.0, "design": "crossed", "varies": ("init",)}, "levels"),
        ({"levels": 1, "design": "crossed", "varies": ("init",)}, "levels"),
        ({"levels": 2, "design": "crossed"}, "varies"),
        ({"levels": 2, "design": "crossed", "varies": ("init",), "runs": 2}, "runs"),
    ],
)
def test_a_row_names_what_is_wrong(values, name):
    with pytest.raises(SettingError, match="row 'late'") as caught:
        Row("late", **values)
    assert caught.value.field == name


def test_a_plan_names_the_row_and_the_model():
    settings = {"dataset": "digits", "epochs": 4, "batch_size": 64, "lr": 0.1}
    rows = (Row("control"), Row("late", ("bit",), {"epochs": 2.5}))
    preset = Preset(2, ("linear", "hidden"), settings, {"hidden": {"lr": -1.0}})
    with pytest.raises(SettingError, match=r"lr is -1\.0") as caught:
        Study("own", "", rows, {"laptop": preset}).plan()
    assert (caught.value.field, caught.value.row, caught.value.model) == ("lr", None, "hidden")
    with pytest.raises(SettingTypeError, match=r"row 'late': epochs is 2\.5") as raised:
        Study("own", "", rows, {"laptop": replace(preset, model_settings={})}).plan()
    assert (raised.value.field, raised.value.row, raised.value.model) == (
        "epochs",
        "late",
        "linear",
    )
    for runs in (1, 2.0):
        with pytest.raises(SettingError, match="runs is") as caught:
            find_study("quick").plan(runs=runs)
        assert caught.value.field == "runs"


def test_errors_cross_processes():
    error = SettingTypeError("lr is 'fast'", "lr", "momentum")
    error.row, error.model = "late", "linear"
    copy = pickle.loads(pickle.dumps(error.prefixed("here: ")))
    assert type(copy) is SettingTypeError
    assert str(copy) == "here: lr is 'fast'"
    assert (copy.fields, copy.row, copy.model) == (("lr", "momentum"), "late", "linear")


# -- TOML --------------------------------------------------------------------------------------

BEFORE = {
    "settings": '[preset.laptop]\nruns = 2\nmodels = ["linear"]\n[preset.laptop.settings]\n',
    "model_settings": "[preset.laptop.model_settings.linear]\n",
    "row": '[[row]]\nname = "first"\n[[row]]\nname = "late"\nvaries = ["bit"]\n',
    "preset row": '[[preset.laptop.row]]\nname = "late"\nvaries = ["bit"]\n',
}
"""Tables of a study, in an order that TOML permits."""

REQUIRED = {"dataset": '"digits"', "epochs": "4", "batch_size": "64", "lr": "0.1"}


def in_toml(value):
    if isinstance(value, tuple):
        return f"[{', '.join(map(in_toml, value))}]"
    return json.dumps(value) if isinstance(value, str | bool) else str(value)


def study_with(place, lines):
    """Return a study with more lines at a place, and the number of the first of them."""
    text = 'name = "own"\n'
    number = 0
    for table, before in BEFORE.items():
        if table == "preset row" and place != table:
            continue
        text += before
        if table == "settings":
            given = {line.partition(" = ")[0] for line in lines if place == table}
            text += "".join(f"{k} = {v}\n" for k, v in REQUIRED.items() if k not in given)
        if table == place:
            number = text.count("\n") + 1
            text += "".join(f"{line}\n" for line in lines)
    return text, number


def refused(tmp_path, text):
    path = tmp_path / "own.toml"
    path.write_text(text)
    with pytest.raises(SettingError, match=r"own\.toml, line \d+: ") as caught:
        find_study(str(path))
    place, _, message = str(caught.value).removeprefix(f"{path}, line ").partition(": ")
    return caught.value, int(place), message


@pytest.mark.parametrize("place", BEFORE)
@pytest.mark.parametrize("name", [name for name in TYPES if name != "model"])
def test_a_wrong_setting_is_found_in_its_table(tmp_path, place, name):
    key = f"settings.{name}" if place.endswith("row") else name
    values = [wrong_type(name), *([WRONG_VALUES[name]] if name in WRONG_VALUES else ())]
    for value in values:
        text, line = study_with(place, [f"{key} = {in_toml(value)}"])
        error, number, message = refused(tmp_path, text)
        assert (error.field, number) == (name, line), message
        assert name in message


@pytest.mark.parametrize("place", ["row", "preset row"])
@pytest.mark.parametrize("source", [field.name for field in fields(Onset)])
def test_a_wrong_onset_is_found_in_its_row(tmp_path, place, source):
    for value in (-1, 1.5, "late", 5):
        text, line = study_with(place, [f"onset.{source} = {in_toml(value)}"])
        error, number, message = refused(tmp_path, text)
        assert (error.field, number) == (f"onset.{source}", line), message


@pytest.mark.parametrize("place", ["row", "preset row"])
@pytest.mark.parametrize(
    ("key", "value"),
    [("output", "final/flop"), ("design", "nested"), ("levels", 3), ("runs", 1), ("runs", 2.0)],
)
def test_a_wrong_key_is_found_in_its_row(tmp_path, place, key, value):
    text, line = study_with(place, [f"{key} = {in_toml(value)}"])
    error, number, message = refused(tmp_path, text)
    assert (error.field, number) == (key, line), message


@pytest.mark.parametrize(
    ("place", "lines", "blamed"),
    [
        # What the message names first, warmup_epochs, is not in the file.
        ("row", ['settings.schedule = "snapshots"', "settings.epochs = 5"], 0),
        ("row", ["settings.warmup_epochs = 9", 'settings.schedule = "snapshots"'], 0),
        ("settings", ["lr = 0.1", 'optimizer = "nesterov"', "momentum = 0.0"], 2),
        ("settings", ["lr = 0.1", 'lowlevel = "vendor"'], 1),
        ("settings", ["lr = 0.1", 'lowlevel = "vendor"', 'device = "cpu"'], 1),
        (
            "row",
            ["settings.perturbation.index = 1", 'settings.perturbation.target = "momentum"'],
            0,
        ),
        ("row", ['design = "crossed"'], 0),
        ("row", ['design = "crossed"', "levels = 1"], 1),
        ("row", ["levels = 3"], 0),
        ("row", ['output = "snapshots"'], 0),
    ],
)
def test_of_several_settings_the_first_in_the_file_is_blamed(tmp_path, place, lines, blamed):
    text, line = study_with(place, lines)
    if "settings.epochs = 5" not in lines:
        text = text.replace("epochs = 4", "epochs = 10")
    _, number, message = refused(tmp_path, text)
    assert number == line + blamed, message


def test_the_settings_of_the_right_model_are_blamed(tmp_path):
    text, line = study_with(
        "model_settings", ["lr = 0.2", "", "[preset.laptop.model_settings.hidden]", "lr = -1"]
    )
    text = text.replace('models = ["linear"]', 'models = ["linear", "hidden"]')
    error, number, _ = refused(tmp_path, text)
    assert (error.field, error.model, number) == ("lr", "hidden", line + 3)


def test_the_last_of_two_rows_of_a_name_is_blamed(tmp_path):
    text, _ = study_with("row", [])
    text = text.replace('name = "first"', 'name = "late"')
    error, number, _ = refused(tmp_path, text)
    assert (error.field, error.row) == ("name", "late")
    assert number == text[: text.rindex('name = "late"')].count("\n") + 1


def test_a_study_in_python_names_the_setting(tmp_path):
    path = tmp_path / "own.py"
    path.write_text(
        "import nondet\n"
        'SETTINGS = {"dataset": "digits", "epochs": 4, "batch_size": 64, "lr": "fast"}\n'
        'PRESET = nondet.Preset(2, ("linear",), SETTINGS)\n'
        'STUDY = nondet.Study("own", "", (nondet.Row("control"),), {"laptop": PRESET})\n'
    )
    with pytest.raises(SettingTypeError, match=r"own\.py, preset 'laptop': lr is 'fast'") as caught:
        find_study(str(path))
    assert caught.value.field == "lr"
    path.write_text('import nondet\n\nnondet.Row("late", ("luck",))\n')
    with pytest.raises(SettingError, match=r"own\.py, line 3: row 'late' varies 'luck'") as raised:
        find_study(str(path))
    assert raised.value.field == "varies"
