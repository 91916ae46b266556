"""Settings that were added after runs had been stored leave those runs where they are."""

import hashlib
import json
from dataclasses import replace

import pytest

from nondet.studies.catalog import STUDIES, find_study
from nondet.studies.config import RunConfig
from nondet.studies.job import Job
from nondet.studies.seeds import Seeds
from nondet.studies.specs import LanguageSpec

LAPTOP = {
    "quick": "3df2149da0eacc2c",
    "table1": "db62a9b11501685e",
    "fig1": "453192f0cbc05f02",
    "fig2": "02b7bb8560b24cbb",
    "table2": "7cacd937de1868b7",
    "table3": "64d0117954b8daf0",
    "divergence": "8b72749b388b1c17",
    "table4": "1ad6c8af2e1c4215",
    "table5": "a525e71ae26586ef",
    "table6": "0f67f14758498657",
    "table7": "b7be8973aba36c24",
    "table8": "5fee0f16ed731800",
    "fig3": "dbc6dd7e9c4091c6",
    "appendix-a": "4132117dc6698941",
    "tta": "bc89e901eb05fe36",
    "crossed": "fd08577084902134",
    "growth": "2e2a1034bd87ffe2",
    "precision": "5d5b451386cd4a03",
}
"""SHA-256 (16 digits) of every built-in study's plan at laptop scale and of the addresses of its
runs: those of language models as before the first of these settings was added, the others since
batches of 32 and a weight decay of 5e-3 are the laptop's."""

FORMER = "1ea56438ee0145cbd35cef80459af7c6"
"""The address of the control of table1 on the laptop, on no data, before the latter."""

CONFIG = RunConfig("cifar10", "resnet14", epochs=8, batch_size=64, lr=0.1, device="cuda")
LATER = {
    "drop_last": False,
    "normalization": "published",
    "bias_lr_scope": "published",
    "cycle_warmup": True,
    "precision": "tf32",
    "held_seed": 2,
    "shuffle_once": True,
    "resized_crop": True,
}


def digest(plan):
    addresses = sorted((job.address, sorted(keeps)) for job, keeps in plan.tasks().items())
    text = json.dumps([json.dumps(plan.to_json(), sort_keys=True), addresses])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@pytest.mark.parametrize("name", LAPTOP)
def test_laptop_runs_are_found_where_they_were(name):
    assert digest(find_study(name).plan("laptop")) == LAPTOP[name]


def test_every_study_has_a_laptop_scale():
    assert {*LAPTOP} == {*STUDIES}


def test_runs_with_former_settings_are_found_where_they_were():
    config = RunConfig("digits", "resnet14-w8", epochs=15, batch_size=128, lr=1.0, crop_padding=1)
    assert Job(config, Seeds()).address == FORMER


def test_defaults_are_left_out_of_json():
    assert not LATER.keys() & CONFIG.to_json().keys()
    assert "language" not in CONFIG.to_json()
    spec = replace(CONFIG, language=LanguageSpec(), lowlevel="off").to_json()["language"]
    assert "tested" not in spec
    assert spec["trigger"] == 5


@pytest.mark.parametrize("name", LATER)
def test_other_values_are_recorded_and_are_another_run(name):
    changed = replace(CONFIG, **{name: LATER[name]})
    stored = changed.to_json()
    assert stored.keys() - CONFIG.to_json().keys() == {name}
    assert stored[name] == LATER[name]
    assert RunConfig.from_json(json.loads(json.dumps(stored))) == changed
    assert Job(changed, Seeds()).address != Job(CONFIG, Seeds()).address


def test_a_group_of_settings_leaves_them_out_as_well():
    config = replace(CONFIG, language=LanguageSpec(tested="best"), lowlevel="off")
    stored = config.to_json()
    assert stored["language"]["tested"] == "best"
    assert RunConfig.from_json(stored) == config
