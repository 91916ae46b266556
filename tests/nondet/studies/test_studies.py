"""Tests of the built-in studies: their plans, and what reports and other studies rely on."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from nondet.execute.prefixes import prefix_of
from nondet.names import DATASETS, check_model
from nondet.studies.catalog import STUDIES, find_study
from nondet.studies.row import TTA
from nondet.studies.seeds import HELD, SOURCES, Onset
from nondet.studies.specs import LanguageSpec
from nondet.studies.study import Plan

NAMES = {
    "quick",
    "table1",
    "table2",
    "table3",
    "table4",
    "table5",
    "table6",
    "table7",
    "table8",
    "fig1",
    "fig2",
    "fig3",
    "divergence",
    "appendix-a",
    "tta",
    "crossed",
    "growth",
    "precision",
}
LANGUAGE = {"table2", "table4"}
SCALES = ("laptop", "paper")


@pytest.fixture(params=[(name, scale) for name in STUDIES for scale in SCALES], ids="-".join)
def planned(request):
    name, scale = request.param
    return find_study(name).plan(scale)


def rows(name, scale="laptop"):
    return {row.name: row for row in find_study(name).plan(scale).rows}


def jobs(name, row, scale="laptop"):
    """Return the runs of a row, for all models."""
    plan = find_study(name).plan(scale)
    return {job for config in plan.configs for job in plan.jobs(config, rows(name, scale)[row])}


def test_every_study_is_there():
    assert set(STUDIES) == NAMES
    for name, study in STUDIES.items():
        assert (study.name, set(study.presets)) == (name, set(SCALES))
        assert study.title.endswith("?")
        assert study.shows
        assert study.source


def test_every_plan_is_whole(planned):
    for config in planned.configs:
        check_model(config.model)
        assert config.dataset in DATASETS
        # TF32 is one of the rows of this study at the paper's scale.
        on_gpu = planned == find_study("precision").plan("paper")
        assert config.device == ("cuda" if on_gpu else "cpu")
        # Every row is for every model, except dropout for the model of quick without dropout.
        left_out = [row.name for row in planned.rows if row not in planned.rows_of(config)]
        assert left_out in ([], ["dropout"])
    tasks = replace(planned, runs=3).tasks()
    assert len({job.address for job in tasks}) == len(tasks)
    assert Plan.from_json(planned.to_json()) == planned


def test_every_study_proves_its_control(planned):
    control, *others = planned.rows
    assert (control.name, control.varies) == ("control", ())
    assert control.count(planned.runs) >= 2
    assert all(row.varies or row.name.startswith("control, ") for row in others)


def test_the_paper_s_scale_is_the_paper_s_setting():
    for name, study in STUDIES.items():
        plan = study.plan("paper")
        for config in plan.configs:
            if name in LANGUAGE:
                assert config.dataset == "penn-treebank"
                continue
            if config.dataset != "cifar10":
                assert (config.dataset, config.model) == ("mnist", "mnist")
                assert (config.crop_padding, config.flip) == (0, False)
                continue
            setting = (config.epochs, config.batch_size, config.warmup_epochs, config.schedule)
            assert setting == (500, 512, 3, "cosine")
            code = (config.drop_last, config.normalization, config.bias_lr_scope)
            assert code == (False, "published", "published")
            assert (config.momentum, config.weight_decay, config.bias_lr_scale) == (0.9, 5e-4, 0.1)
            assert (config.crop_padding, config.flip) == (4, True)
            assert config.lr == (0.1 if config.model == "hidden-conv" else 0.4)
        expected = {"fig1": 25, "fig2": 20, "divergence": 5, "growth": 10}
        expected["precision"] = 20
        assert plan.runs == expected.get(name, 100)
    models = [config.model for config in find_study("table1").plan("paper").configs]
    assert models == ["resnet14"]
    of_table6 = {config.model for config in find_study("table6").plan("paper").configs}
    assert {"resnet6", "resnet10", "resnet18", "vgg11", "shufflenet-x0.5", "mnist"} == of_table6


def test_language_models_are_those_of_the_paper():
    """Compare with Sec. 3.3 and the defaults of the public code that the paper used."""
    for name in LANGUAGE:
        [config] = find_study(name).plan("paper").configs
        assert (config.model, config.language) == ("qrnn", LanguageSpec(tested="best"))
        assert (config.language.embedding, config.language.hidden, config.language.layers) == (
            256,
            512,
            3,
        )
        training = (config.optimizer, config.momentum, config.lr, config.schedule, config.averaging)
        assert training == ("sgd", 0, 30, "constant", "triggered")
        assert (config.epochs, config.batch_size, config.weight_decay) == (500, 20, 1.2e-6)
        assert (config.bias_lr_scale, config.warmup_epochs) == (1, 0)


@pytest.mark.parametrize("scale", SCALES)
def test_language_models_have_the_paper_s_rows(scale):
    varied = {"initialization": ("init",), "stochastic operations": ("stochastic",)}
    varied |= {"both": ("init", "stochastic")}
    assert {n: row.varies for n, row in rows("table2", scale).items()} == {"control": ()} | varied
    assert {n: row.varies for n, row in rows("table4", scale).items()} == {
        "control": (),
        **varied,
        "one bit": ("bit",),
    }
    assert rows("table2", scale)["control"].count(10) == 2
    tasks = {name: find_study(name).plan(scale).tasks() for name in LANGUAGE}
    assert tasks["table2"].items() < tasks["table4"].items()
    assert set(tasks["table4"].values()) == {frozenset({"weights"})}


def test_laptops_train_on_digits_and_on_the_topics_of_pydoc(planned):
    if planned == find_study(planned.study).plan("laptop"):
        for config in planned.configs:
            digits = "mnist5k" if config.model == "mnist" else "digits"
            assert config.dataset == ("pydoc" if planned.study in LANGUAGE else digits)
            assert config.flip == (planned.study == "tta")


@pytest.mark.parametrize("name", sorted(NAMES - LANGUAGE))
def test_laptops_train_long_enough_to_forget_their_start(name):
    """With the settings under which the paper's finding was seen at this scale."""
    plan = find_study(name).plan("laptop")
    long = name in ("table1", "table3", "table5", "fig1")
    assert plan.runs >= (10 if long else 8)
    for config in plan.configs:
        setting = (config.batch_size, config.weight_decay, config.momentum, config.chunks)
        assert setting == (32, 5e-3, 0.9, 4)
        if config.model == "mnist":
            assert (config.epochs, config.lr, config.crop_padding) == (5, 0.1, 0)
        else:
            assert config.epochs == (30 if long else 15)
            assert config.lr == (0.1 if config.model == "hidden-conv" else 0.4)
        if name in ("divergence", "fig3"):
            assert config.evaluate_every == 1  # they show every epoch


@pytest.mark.parametrize("scale", SCALES)
def test_table1_has_the_paper_s_rows(scale):
    assert {name: row.varies for name, row in rows("table1", scale).items()} == {
        "control": (),
        "initialization": ("init",),
        "shuffling": ("shuffle",),
        "augmentation": ("augment",),
        "low-level order": ("lowlevel",),
        "shuffling + low-level": ("shuffle", "lowlevel"),
        "shuffling + augmentation + low-level": ("shuffle", "augment", "lowlevel"),
        "all sources": ("init", "shuffle", "augment", "stochastic", "lowlevel"),
    }


def test_laptop_studies_share_their_runs():
    table1 = find_study("table1").plan().tasks()
    for name, row in (
        ("table3", "all sources"),
        ("table3", "initialization"),
        ("fig1", "low-level order"),
        ("table7", "30 epochs"),
        ("table3", "control"),
    ):
        assert jobs(name, row) <= table1.keys(), (name, row)
    of_table6 = {"table7": "all sources", "fig2": "one bit from epoch 0"}
    for name, own_row in of_table6.items():
        row = own_row.removesuffix(" from epoch 0")
        shared = {job for job in jobs("table6", row) if job.config.model == "resnet14-w8"}
        assert shared <= jobs(name, own_row)
    assert len(jobs("table5", "all sources") & table1.keys()) == 10
    assert len(jobs("table5", "all sources")) == 20
    assert {job.config.model for job in jobs("fig3", "one bit") & jobs("table8", "one bit")} == {
        "linear",
        "hidden",
    }
    # The tables whose runs the first figure takes record what the figure needs.
    fig1 = find_study("fig1").plan()
    lent = {**table1, **find_study("table3").plan().tasks()}
    assert fig1.tasks() == {job: keeps for job, keeps in lent.items() if job in fig1.tasks()}


def test_paper_studies_share_their_runs():
    table1 = find_study("table1").plan("paper").tasks().keys()
    for name, row in (("table3", "all sources"), ("fig1", "shuffling"), ("tta", SINGLE)):
        assert jobs(name, row, "paper") <= table1, (name, row)
    assert jobs("tta", "flip TTA", "paper") == jobs("tta", SINGLE, "paper")


SINGLE = "single model, all sources"


@pytest.mark.parametrize("scale", SCALES)
def test_onsets_run_from_the_beginning_to_the_end(scale):
    plan = find_study("fig2").plan(scale)
    [config] = plan.configs
    epochs_by_source = {}
    for row in plan.rows[1:]:
        [source] = row.varies
        assert row.onset == Onset(**{source: getattr(row.onset, source)})
        epochs_by_source.setdefault(source, []).append(getattr(row.onset, source))
    assert epochs_by_source.keys() == {"shuffle", "augment", "lowlevel", "bit"}
    for epochs in epochs_by_source.values():
        assert (epochs[0], epochs[-1]) == (0, config.epochs)
        assert epochs == sorted(set(epochs))
        assert len(epochs) >= 7
    # All begin with one and the same held training.
    prefixes = [prefix_of(job) for job in plan.tasks()]
    assert len({prefix.job for prefix in prefixes if prefix is not None}) == 1


@pytest.mark.parametrize("scale", SCALES)
def test_rows_that_compare_the_same_runs_share_them(scale):
    plan = find_study("tta").plan(scale)
    assert plan.baseline == SINGLE
    outputs = {row.output for row in plan.rows}
    shown = set(TTA[:7])
    crops = "flip+crops81"
    if scale == "paper":
        shown = {"flip", "crops81", "flip+crops81", *TTA[7:]}
        crops = f"original+{crops}"
    assert {f"final/{scheme}" for scheme in shown} <= outputs
    assert {"final", "snapshots", "snapshots/flip", f"snapshots/{crops}"} <= outputs
    assert len(plan.tasks()) == 2 + 2 * plan.runs
    assert all(keeps == {"tta"} for job, keeps in plan.tasks().items() if job.seeds.init > 1)


@pytest.mark.parametrize("scale", SCALES)
def test_runs_record_what_their_views_need(scale):
    plans = {name: study.plan(scale) for name, study in STUDIES.items()}
    shown = {view: name for name, plan in plans.items() for view in plan.views}
    assert shown.keys() >= {"test-set", "barrier", "onset", "epochs"}
    for view, keep in (("cka", "taps"), ("divergence", "twin"), ("growth", "twin")):
        for job, keeps in plans[shown[view]].tasks().items():
            assert keep in keeps or job.seeds.init == job.seeds.bit == job.seeds.shuffle == HELD
    ensembles = rows("table5", scale)
    assert ensembles["snapshot ensemble"].output == "snapshots"
    assert ensembles["snapshot ensemble"].varies == ensembles["all sources"].varies
    assert {row.varies for row in plans["growth"].rows if row.onset != Onset()} == {
        ("shuffle",),
        ("bit",),
    }


def test_the_crossed_design_has_every_combination():
    plan = find_study("crossed").plan()
    row = plan.rows[1]
    seeds = {tuple(getattr(job.seeds, s) for s in SOURCES) for job in jobs("crossed", row.name)}
    assert len(seeds) == row.levels ** len(row.varies) == 256
    table = np.array(sorted(seeds))
    assert table.max() == HELD + row.levels
    assert (table[:, [SOURCES.index("stochastic"), SOURCES.index("bit")]] == HELD).all()


def test_learning_rates_follow_the_momentum():
    for scale in SCALES:
        [config] = find_study("appendix-a").plan(scale).configs
        lengths = [
            row.config(config).lr / (1 - row.config(config).momentum)
            for row in find_study("appendix-a").plan(scale).rows
            if "momentum" in row.settings
        ]
        assert lengths == pytest.approx([config.lr / (1 - config.momentum)] * 8)


def test_unknown_studies_are_refused_with_similar_names():
    with pytest.raises(
        ValueError, match=r"no study 'tabel1'; did you mean table1.*\? known studies"
    ):
        find_study("tabel1")
    with pytest.raises(ValueError, match=r"quick, .*; and any file that ends in \.toml or \.py"):
        find_study("slow")


def test_studies_are_known_without_torch():
    code = (
        "import sys, nondet.studies.catalog, nondet.execute.cost; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
