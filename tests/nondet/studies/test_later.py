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
    "quick": "83e5c7536bd7fab9",
    "table1": "1e23f4348c070c71",
    "fig1": "fa0dc5a134fff03d",
    "fig2": "f52e19ac1a5f3abe",
    "table2": "7cacd937de1868b7",
    "table3": "aa4d83a5d00d0ecf",
    "divergence": "2e706b2fb0f4b14b",
    "table4": "1ad6c8af2e1c4215",
    "table5": "bfe7470e8dce1953",
    "table6": "bbbf1412c6292667",
    "table7": "23fcea5787812f9f",
    "table8": "864ed27c6a390465",
    "fig3": "794e27a66bc7a77a",
    "appendix-a": "64a2ae26738625d1",
    "tta": "324fb7ef8e354a0b",
    "crossed": "ed36da5f30798801",
    "growth": "44eeb34aff186715",
}
"""SHA-256 (16 digits) of every built-in study's plan at laptop scale and of the addresses of its
runs, as they were before the first of these settings was added."""

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
    assert {*LAPTOP} <= {*STUDIES}


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
