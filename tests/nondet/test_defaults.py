"""Test that the defaults of torch change neither data sets nor models nor trainings."""

from dataclasses import replace

import pytest
import torch

import nondet
from digests.test_defaults import default
from factories.texts import CONFIG, random_text
from nondet.data import TextDataset
from nondet.defaults import plain_defaults
from nondet.models import build_model
from nondet.names import MODELS, is_language_model
from nondet.training.evaluation import weights_sha256

VALUES = pytest.mark.parametrize("value", ["meta", torch.float64], ids=str)


def test_plain_defaults_are_left_as_they_were():
    with default("meta"), plain_defaults():
        assert torch.zeros(1).device.type == "cpu"
    with default(torch.float64):
        with plain_defaults():
            assert torch.zeros(1).dtype == torch.float32
        assert torch.zeros(1).dtype == torch.float64
    assert torch.zeros(1).dtype == torch.float32


@VALUES
@pytest.mark.parametrize("mode", ["off", "seeded", "exact"])
def test_training_of_images(config, value, mode):
    config = replace(config, lowlevel=mode, epochs=1)
    plain = nondet.train(config, nondet.Seeds(), nondet.load_dataset("digits"))
    with default(value):
        dataset = nondet.load_dataset("digits")
        found = nondet.train(config, nondet.Seeds(), dataset)
    assert found.history == plain.history
    assert found.logits.tobytes() == plain.logits.tobytes()


@VALUES
def test_training_of_text(value):
    config = replace(CONFIG, epochs=1)
    plain = nondet.train(config, nondet.Seeds(), random_text())
    text = random_text()
    with default(value):
        found = nondet.train(config, nondet.Seeds(), text)
    assert isinstance(text, TextDataset)
    assert found.history == plain.history


@VALUES
@pytest.mark.parametrize("name", [name for name in MODELS if not is_language_model(name)])
def test_models(name, value):
    key = nondet.Seeds().key("init")
    plain = build_model(name, (3, 32, 32), 10, key)
    with default(value):
        found = build_model(name, (3, 32, 32), 10, key)
    assert weights_sha256(found) == weights_sha256(plain)
    assert all(each.device.type == "cpu" for each in found.state_dict().values())
