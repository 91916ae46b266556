"""Tests of settings by name, of their texts, and of configurations."""

import json
from dataclasses import replace
from typing import Literal, get_args, get_origin

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from nondet.cli.ready import check_kind, check_names
from nondet.studies.catalog import find_study
from nondet.studies.config import RunConfig
from nondet.studies.errors import SettingError
from nondet.studies.row import Row
from nondet.studies.settings import grouped, parse_settings, setting_types
from nondet.studies.specs import LanguageSpec, PerturbationSpec
from nondet.studies.validation import without_none


def test_values_get_the_types_of_their_fields():
    settings = parse_settings(
        ["dropout=0.1", "optimizer=adam", "flip=true", "cycles=3", "milestones=10,20", "lr=1"]
    )
    assert settings == {
        "dropout": 0.1,
        "optimizer": "adam",
        "flip": True,
        "cycles": 3,
        "milestones": (10, 20),
        "lr": 1.0,
    }
    assert isinstance(settings["lr"], float)


def test_fields_of_a_perturbation_are_set_one_by_one():
    settings = parse_settings(
        ["perturbation.target=pixel", "perturbation.step=7", "perturbation.index=3"]
    )
    change = PerturbationSpec(target="pixel", step=7, index=3)
    assert grouped(settings, {}) == {"perturbation": change}


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("lr=1e-3", "lr", 0.001),
        ("lr=.5", "lr", 0.5),
        ("lr=1.", "lr", 1.0),
        ("lr=1_000", "lr", 1000.0),
        ("epochs=007", "epochs", 7),
        ("epochs=+7", "epochs", 7),
        ("milestones=3,6", "milestones", (3, 6)),
        ("milestones=3, 6,", "milestones", (3, 6)),
        ("milestones=3", "milestones", (3,)),
        ("milestones=", "milestones", ()),
        ("milestones=[3, 6]", "milestones", (3, 6)),
        ("flip=true", "flip", True),
        ("model=qrnn", "model", "qrnn"),
        ('model="qrnn"', "model", "qrnn"),
        ("model='qrnn'", "model", "qrnn"),
        ("device=cuda:1", "device", "cuda:1"),
        ("dataset=text:it's a file.txt", "dataset", "text:it's a file.txt"),
        ("dataset=imagefolder:a=b@32", "dataset", "imagefolder:a=b@32"),
        ("perturbation.tensor=blocks.0.*", "perturbation.tensor", "blocks.0.*"),
        ("perturbation.tensor='blocks.0.*'", "perturbation.tensor", "blocks.0.*"),
        ("perturbation.tensor=1", "perturbation.tensor", "1"),
        ("perturbation.tensor=true", "perturbation.tensor", "true"),
        ("optimizer=adam", "optimizer", "adam"),
        ('optimizer="adam"', "optimizer", "adam"),
    ],
)
def test_values_are_toml_and_may_lack_quotes_and_brackets(text, name, value):
    settings = parse_settings([text])
    assert settings == {name: value}
    assert type(settings[name]) is type(value)


@pytest.mark.parametrize(
    ("text", "field", "message"),
    [
        ("luck=1", "luck", "; known settings: dataset, model, epochs"),
        ("perturbation=3", "perturbation", "; did you mean perturbation.*known settings"),
        ("perturbation.lr=3", "perturbation.lr", "; .*known settings"),
        ("epochs=many", "epochs", "'many'.* an integer"),
        ("epochs=5.0", "epochs", r"5\.0.* an integer"),
        ("epochs=[5]", "epochs", r"\[5\].* an integer"),
        ('epochs="5"', "epochs", "'5'.* an integer"),
        ("lr=fast", "lr", "'fast'.* a number"),
        ("lr=true", "lr", "True.* a number"),
        ("lr=1979-05-27", "lr", "1979.* a number"),
        ("milestones=1,x", "milestones", r"\[1, 'x'\].* a list of integers"),
        ("milestones=3]#", "milestones", r"3\]#.* a list of integers"),
        ("flip=1", "flip", "1.* true or false"),
        ("flip=True", "flip", "'True'.* true or false"),
        ("optimizer=adm", "optimizer", "'adm'; did you mean adam"),
        ("perturbation.index=x", "perturbation.index", "'x'.* an integer"),
        ("epochs=1\ny = 2", "epochs", "a single line"),
        ("model=linear\nepochs = 2", "model", "a single line"),
        ('model="linear"\r\nepochs = 2', "model", "a single line"),
        ("epochs=" + "[" * 100_000, "epochs", "an integer"),
        ("epochs=" + "1" * 5000, "epochs", "an integer"),
        ("epochs=0x" + "f" * 5000, "epochs", "64 bits"),
        ("lr=0x" + "f" * 500, "lr", "64 bits"),
        ("milestones=1,0x" + "f" * 500, "milestones", "64 bits"),
    ],
    ids=lambda text: text[:30],
)
def test_wrong_texts_are_refused(text, field, message):
    with pytest.raises(SettingError, match=f"--set (names '|){field}.*{message}") as caught:
        parse_settings([text])
    assert caught.value.field == field


def test_a_text_needs_an_equals_sign():
    with pytest.raises(ValueError, match=r"--set is 'dropout'.*NAME=VALUE"):
        parse_settings(["dropout"])


TEXTS = st.one_of(
    st.text(),
    st.text("[]{}\"'=,.#\n\r\\ x019+-_e:tfT"),
    st.integers().map(str),
    st.floats().map(str),
    st.lists(st.integers()).map(str),
)


def parsed_or_error(name, text):
    try:
        [(key, value)] = parse_settings([f"{name}={text}"]).items()
    except SettingError as error:
        return error
    assert key == name
    return value


@given(st.sampled_from(sorted(setting_types())), TEXTS)
def test_any_text_gives_a_value_of_the_right_type_or_names_the_setting(name, text):
    declared = without_none(setting_types()[name])
    value = parsed_or_error(name, text)
    if isinstance(value, SettingError):
        assert value.field == name
        assert name in str(value)
    elif get_origin(declared) is Literal:
        assert value in get_args(declared)
    elif get_origin(declared) is tuple:
        assert type(value) is tuple
        assert all(type(number) is int for number in value)
    else:
        assert type(value) is declared


@given(
    st.sampled_from(
        sorted(name for name, kind in setting_types().items() if str in (kind, *get_args(kind)))
    ),
    st.text(),
)
def test_words_without_quotes_stay_as_they_are(name, text):
    assume(not set(text) & set("\n\r") and text.lstrip()[:1] not in ("'", '"'))
    assert parse_settings([f"{name}={text}"]) == {name: text}


@given(st.text())
def test_quoted_strings_are_those_of_toml(text):
    quoted = json.dumps(text)
    assume("\\ud" not in quoted and "\x7f" not in quoted)  # surrogates, which TOML does not have
    assert parse_settings([f"dataset={quoted}"]) == {"dataset": text}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "epochs is 0; it must be at least 1"),
        ({"warmup_epochs": -1}, "warmup_epochs is -1"),
        ({"lr": -0.1}, r"lr is -0\.1; it must be a finite number, not negative"),
        ({"lr": float("nan")}, "lr is nan"),
        ({"dropout": 1.0}, r"dropout is 1\.0; it must lie in \[0, 1\)"),
        ({"optimizer": "lbfgs"}, "optimizer is 'lbfgs'; known: sgd, nesterov, adam, adamw"),
        ({"lowlevel": "vendor"}, "lowlevel is 'vendor', which cuDNN offers on cuda alone"),
        ({"optimizer": "nesterov", "momentum": 0.0}, "momentum is 0.0; the optimizer 'nesterov'"),
        ({"schedule": "snapshots", "cycles": 4}, "epochs is 30; snapshots need a multiple of"),
        ({"schedule": "snapshots", "cycles": 10}, "warmup_epochs is 3; with snapshots"),
        ({"milestones": (3, 2)}, r"milestones are \(3, 2\); they must be increasing"),
        ({"averaging": "swa", "averaging_start": 30}, "averaging_start is 30; it must be below"),
        ({"perturbation": PerturbationSpec(bit=3, change="bit"), "threads": 0}, "threads is 0"),
    ],
)
def test_bad_configuration_is_refused(settings, message):
    config = RunConfig(dataset="digits", model="linear", epochs=30, batch_size=64, lr=0.4)
    with pytest.raises(ValueError, match=message):
        replace(config, **settings)


def test_integers_are_integers():
    config = RunConfig(dataset="digits", model="linear", epochs=30, batch_size=64, lr=0.4)
    with pytest.raises(TypeError, match=r"epochs is 2\.5; it must be an integer"):
        replace(config, epochs=2.5)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"target": "luck"}, r"perturbation\.target is 'luck'; known: weights, momentum"),
        ({"step": -1}, r"perturbation\.step is -1"),
        ({"target": "momentum", "index": 3}, r"index is 3, but no perturbation\.tensor"),
        ({"direction": 2}, r"perturbation\.direction is 2; known: 1, -1"),
        ({"change": "bit", "direction": 1}, "direction is 1, but the change is 'bit'"),
        ({"bit": 3}, "bit is 3, but the change is 'ulp'"),
        ({"change": "bit", "bit": 64}, r"bit is 64; it must lie in \[0, 64\)"),
    ],
)
def test_bad_perturbation_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        PerturbationSpec(**fields)


def test_settings_of_a_language_model_change_one_by_one():
    settings = parse_settings(["language.bptt=30", "language.variable_bptt=false"])
    assert settings == {"language.bptt": 30, "language.variable_bptt": False}
    base = LanguageSpec(hidden=7, bptt=99)
    assert grouped(settings, {"language": base})["language"] == replace(
        base, bptt=30, variable_bptt=False
    )
    plain = find_study("table2").plan()
    [usual], [changed] = plain.configs, find_study("table2").plan(settings=settings).configs
    assert changed.language == replace(usual.language, bptt=30, variable_bptt=False)
    row = Row("long", ("init",), {"language.bptt": 50, "epochs": 2})
    assert row.config(usual) == replace(usual, epochs=2, language=replace(usual.language, bptt=50))
    assert Row.from_json(row.to_json()) == row
    assert RunConfig.from_json(usual.to_json()) == usual
    assert "language" not in find_study("quick").plan().configs[0].to_json()


@pytest.mark.parametrize(
    ("study", "changed", "message"),
    [
        ("table1", {"dataset": "pydoc"}, "dataset is 'pydoc', a text; the model 'resnet14-w8' is"),
        ("table2", {"dataset": "digits"}, "dataset is 'digits', images; the model 'qrnn' is one"),
        (
            "table2",
            {"settings": {"language": None, "averaging": "none"}},
            "lacks language settings",
        ),
    ],
)
def test_texts_language_models_and_their_settings_go_together(study, changed, message):
    with pytest.raises(ValueError, match=message):
        check_names(find_study(study).plan(**changed))
    check_names(find_study(study).plan())
    images = RunConfig("digits", "linear", 1, 1, 0.1, lowlevel="off", language=LanguageSpec())
    with pytest.raises(ValueError, match="'linear' has no language settings, but some are given"):
        check_kind(images)


def test_language_models_have_no_order_to_shuffle_and_nothing_to_augment():
    [config] = find_study("table2").plan().configs
    for source in ("shuffle", "augment", "lowlevel"):
        assert not Row(source, (source,)).applies_to(config)
    for source in ("init", "stochastic", "bit"):
        assert Row(source, (source,)).applies_to(config)
    quiet = {f"language.dropout_{of}": 0.0 for of in ("embedding", "input", "hidden", "output")}
    [config] = (
        find_study("table2").plan(settings={"language.variable_bptt": False, **quiet}).configs
    )
    assert not Row("stochastic", ("stochastic",)).applies_to(config)


def test_language_models_keep_their_weights_and_nothing_else():
    plan = find_study("table2").plan()
    assert set(plan.tasks().values()) == {frozenset({"weights"})}
    with pytest.raises(ValueError, match="keep is 'taps', which no language model has"):
        replace(plan, keep=("taps",))
    rows = (Row("control", keep=("twin",)),)
    with pytest.raises(ValueError, match="keep is 'twin', which no language model has"):
        replace(plan, rows=rows)
