"""The setting `lowlevel` decides in which order a training adds its gradients."""

from dataclasses import replace

import pytest
import torch

from nondet import lowlevel
from nondet.models import build_model
from nondet.studies.config import RunConfig
from nondet.studies.seeds import HELD, Seeds
from nondet.training.determinism import deterministic
from nondet.training.lowlevel_source import LowLevelSource
from nondet_ext import philox_normal

CONFIG = RunConfig("digits", "hidden", epochs=1, batch_size=64, lr=0.1)
OWN = 2
assert OWN != HELD


def gradient(setting, seed, step):
    """Return the weight gradient of one step of the same model on the same images, as bytes."""
    model = build_model("hidden", (1, 8, 8), 10, Seeds().key("init"))
    source = LowLevelSource(model, replace(CONFIG, lowlevel=setting))
    images, labels = philox_normal((64, 1, 8, 8), seed=1), torch.arange(64) % 10
    with deterministic(), source.applied(seed, step):
        source.cross_entropy(model(images), labels, seed, step).backward()
    return model.fc1.weight.grad.numpy().tobytes()


def test_a_seeded_order_follows_seed_and_step_unless_the_seed_is_held():
    own = gradient("seeded", OWN, 3)
    assert own == gradient("seeded", OWN, 3)
    assert own not in (gradient("seeded", OWN + 1, 3), gradient("seeded", OWN, 4))
    assert gradient("seeded", HELD, 3) == gradient("seeded", HELD, 4) != own
    # The fixed order of a held seed does not depend on the setting.
    assert gradient("atomic", HELD, 3) == gradient("seeded", HELD, 3)


@pytest.mark.parametrize("setting", ["off", "exact"])
def test_other_orders_are_the_same_for_every_seed_and_step(setting):
    assert gradient(setting, OWN, 3) == gradient(setting, HELD, 4)


def test_exact_sums_are_exact_even_if_the_seed_is_held():
    assert gradient("exact", HELD, 3) != gradient("seeded", HELD, 3)


def test_a_seed_of_its_own_lets_the_vendors_kernels_race():
    model = build_model("hidden", (1, 8, 8), 10, Seeds().key("init"))
    config = replace(CONFIG, lowlevel="vendor", device="cuda")
    source = LowLevelSource(model, config)
    assert lowlevel.layers(model) == []
    for seed, races in ((OWN, True), (HELD, False)):
        with deterministic(), source.applied(seed, 0):
            assert torch.backends.cudnn.benchmark == races
            assert torch.are_deterministic_algorithms_enabled() != races
