"""The sources of nondeterminism are separate: changing a seed changes the draws of its own source
and of no other.
"""

from dataclasses import replace

import pytest
import torch

import nondet_ext
from nondet import lowlevel
from nondet.models import stochastic_layers
from nondet.studies.seeds import HELD, SOURCES, Seeds
from nondet.training import images
from nondet.training.determinism import deterministic
from nondet.training.images import ImageTraining

PARTIALS = nondet_ext.philox_normal((8, 1000), seed=1)


@pytest.fixture
def draws(monkeypatch, config, digits):
    """A function from seeds to everything that a training draws, by source."""

    def collect(seeds, **settings):
        drawn = {source: [] for source in SOURCES}
        batch, set_order = images.batch, lowlevel.set_order
        run = ImageTraining(replace(config, dropout=0.5, **settings), seeds, digits)
        drawn["init"] = [tensor.clone() for tensor in run.model.state_dict().values()]

        looks = torch.zeros(run.config.epochs, *digits.train_images.shape)

        def recorded_batch(dataset, examples, key, epoch, *arguments):
            moved = batch(dataset, examples, key, epoch, *arguments)
            drawn["shuffle"].append(examples)
            # By example: the image, whatever its position in the batch.
            looks[epoch][examples] = moved
            return moved

        def recorded_mask(layer, inputs, output):
            if layer.training:
                # A 0 after a ReLU need not be the mask's, so the mask is applied to ones.
                drawn["stochastic"].append(layer.forward(torch.ones(output.shape)) == 0)

        def recorded_order(layers, order, seed, step):
            set_order(layers, order, seed, step)
            drawn["lowlevel"].append(
                nondet_ext.accumulate(
                    PARTIALS, order=order, seed=(seed, step) if order == "seeded" else None
                )
            )

        with monkeypatch.context() as patch:
            patch.setattr(images, "batch", recorded_batch)
            patch.setattr(lowlevel, "set_order", recorded_order)
            for layer in stochastic_layers(run.model):
                layer.register_forward_hook(recorded_mask)
            with deterministic():
                while run.step < run.total_steps:
                    run.advance()
        drawn["augment"] = [looks]
        drawn["bit"] = [
            torch.tensor([record.index, record.direction]) for record in run.perturbations
        ]
        return drawn

    return collect


def differs(source, first, second):
    a, b = first[source], second[source]
    if source == "augment":
        # The last, smaller batch of an epoch is left out, and other examples with it.
        [x], [y] = a, b
        seen = x.flatten(2).any(2) & y.flatten(2).any(2)
        return not torch.equal(x[seen], y[seen])
    return len(a) != len(b) or not all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("moved", SOURCES)
def test_changing_one_seed_changes_no_other_source(draws, moved):
    base = Seeds(bit=5, lowlevel=5)
    first, second = draws(base), draws(replace(base, **{moved: 1234}))
    for source in SOURCES:
        assert first[source], source
        assert differs(source, first, second) == (source == moved), source


def test_every_step_has_masks_and_orders_of_its_own(draws):
    drawn = draws(Seeds(lowlevel=5))
    for source in ("stochastic", "lowlevel"):
        assert len({tensor.numpy().tobytes() for tensor in drawn[source]}) == 2 * 21, source


def test_held_bit_changes_nothing(draws):
    assert draws(Seeds())["bit"] == []
    assert Seeds().bit == HELD


def test_model_does_not_touch_order_augmentation_or_bits(draws):
    linear, hidden = draws(Seeds(bit=5)), draws(Seeds(bit=5), model="hidden")
    assert differs("init", linear, hidden)
    for source in ("shuffle", "augment", "lowlevel"):
        assert not differs(source, linear, hidden), source


def test_equal_seeds_of_different_sources_draw_differently():
    from nondet.data import epoch_order

    a, b = (epoch_order(1000, Seeds().key(source), 0, "cpu") for source in ("shuffle", "augment"))
    assert not torch.equal(a, b)
