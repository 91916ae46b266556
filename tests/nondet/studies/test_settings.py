from dataclasses import replace

import pytest

from nondet.cli.ready import check_kind, check_names
from nondet.studies.catalog import find_study
from nondet.studies.config import LanguageSpec, PerturbationSpec, RunConfig
from nondet.studies.row import Row
from nondet.studies.settings import grouped, parse_settings


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


def test_the_perturbation_is_set_field_by_field():
    settings = parse_settings(
        ["perturbation.target=pixel", "perturbation.step=7", "perturbation.index=3"]
    )
    change = PerturbationSpec(target="pixel", step=7, index=3)
    assert grouped(settings, {}) == {"perturbation": change}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dropout", "--set is 'dropout'; it must be NAME=VALUE"),
        ("luck=1", "--set names 'luck'; known settings: dataset, model, epochs"),
        ("perturbation=3", "--set names 'perturbation'"),
        ("perturbation.lr=3", r"--set names 'perturbation\.lr'"),
        ("epochs=many", "--set epochs is 'many'; it must be an integer"),
        ("lr=fast", "--set lr is 'fast'; it must be a number"),
        ("milestones=1,x", "--set milestones is '1,x'; it must be integers"),
        ("flip=1", "--set flip is '1'; it must be true or false"),
        ("perturbation.index=x", r"--set perturbation\.index is 'x'; it must be an integer"),
    ],
)
def test_bad_text_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        parse_settings([text])


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
        ({"target": "momentum", "index": 3}, "index is given, but no perturbation.tensor"),
        ({"direction": 2}, r"perturbation\.direction is 2; known: 1, -1"),
        ({"change": "bit", "direction": 1}, "direction is given, but the change is 'bit'"),
        ({"bit": 3}, "bit is given, but the change is 'ulp'"),
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
