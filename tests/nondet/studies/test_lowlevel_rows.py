"""Two low-level seeds give two trainings in every row of the built-in studies that varies them.

With one or two partial sums they would not: floating-point addition commutes.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch

from nondet.data import make_dataset
from nondet.execute.shapes import SHAPES
from nondet.studies.catalog import STUDIES, find_study
from nondet.studies.seeds import Seeds
from nondet.training.determinism import deterministic
from nondet.training.images import ImageTraining

VARYING = {
    *(f"table{number}" for number in (1, 3, 5, 6, 7, 8)),
    *("quick", "fig1", "fig2", "appendix-a", "tta", "crossed"),
}
"""The studies in which the low-level seed varies."""

STEPS = 3  # the first step of a warm-up has the rate 0


def lowlevel_configs(study):
    """Return the configurations of the rows of a study in which the low-level seed decides."""
    plan = find_study(study).plan("laptop")
    rows = [(row, config) for config in plan.configs for row in plan.rows_of(config)]
    configs = {row.config(config) for row, config in rows if "lowlevel" in row.varies}
    return {config for config in configs if config.lowlevel != "atomic"}  # a race has no seed


def images_like(name):
    """Return a data set of noise, a few batches, in the shape of a built-in one."""
    shape = SHAPES[name]
    numbers = np.random.default_rng(5)
    pixels = torch.from_numpy(numbers.integers(0, 17, (140, *shape.image), np.uint8))
    labels = torch.arange(140) % shape.classes
    return make_dataset(name, shape.classes, pixels[:130], labels[:130], pixels[130:], labels[130:])


def weights(config, seed):
    with deterministic(1):
        training = ImageTraining(config, Seeds(lowlevel=seed), images_like(config.dataset))
        for _ in range(STEPS):
            training.advance()
    return [tensor.clone() for tensor in training.model.parameters()]


def test_the_studies_that_vary_the_low_level_seed_are_known():
    assert {study for study in STUDIES if lowlevel_configs(study)} == VARYING


@pytest.mark.parametrize("study", sorted(VARYING))
def test_another_low_level_seed_is_another_training(study):
    # Neither is read within these steps, and rows that differ in nothing else are tried once.
    brief = {"epochs": 20, "cycles": 1, "averaging_start": 0, "evaluate_every": 20}
    for config in {replace(config, **brief) for config in lowlevel_configs(study)}:
        first, second = weights(config, 2), weights(config, 3)
        assert not all(map(torch.equal, first, second)), config
        assert all(map(torch.equal, first, weights(config, 2))), config


def test_two_partial_sums_commute():
    config = next(iter(lowlevel_configs("table1")))
    two = replace(config, chunks=2)
    assert all(map(torch.equal, weights(two, 2), weights(two, 3)))
