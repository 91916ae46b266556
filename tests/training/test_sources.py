"""The sources of nondeterminism are separate: moving one seed moves what it should and nothing
else.
"""

from dataclasses import replace

import pytest
import torch

from nondet import train as training
from nondet.seeds import HELD, SOURCES, Seeds


@pytest.fixture
def artefacts(monkeypatch, config, digits):
    """What a training really draws: a function of the seeds, giving the bits under the name of
    their source.
    """

    def collect(seeds, model="linear"):
        drawn = {source: [] for source in SOURCES}

        def spy(source, name, keep):
            original = getattr(training, name)

            def recorded(*arguments):
                value = original(*arguments)
                drawn[source].append(keep(value))
                return value

            monkeypatch.setattr(training, name, recorded)

        with monkeypatch.context():
            spy(
                "init",
                "build_model",
                lambda model: [t.clone() for t in model.state_dict().values()],
            )
            spy("shuffle", "epoch_order", lambda order: [order])
            spy("augment", "shift", lambda images: [images])
            spy(
                "bit",
                "change_one_ulp",
                lambda record: [torch.tensor([record.index, record.direction])],
            )
            training.train(replace(config, model=model), seeds, digits)
        monkeypatch.undo()
        return {
            source: b"".join(t.numpy().tobytes() for tensors in parts for t in tensors)
            for source, parts in drawn.items()
        }

    return collect


@pytest.mark.parametrize("moved", SOURCES)
def test_moving_one_seed_moves_no_other_source(artefacts, moved):
    base = Seeds(bit=5)
    first, second = artefacts(base), artefacts(replace(base, **{moved: 1234}))
    for source in SOURCES:
        has_draws = source not in ("stochastic", "lowlevel")
        assert bool(first[source]) == has_draws
        assert (first[source] != second[source]) == (source == moved and has_draws), source


def test_held_bit_changes_nothing(artefacts):
    assert artefacts(Seeds())["bit"] == b""
    assert Seeds().bit == HELD


def test_model_does_not_touch_order_or_augmentation(artefacts):
    linear, hidden = artefacts(Seeds(bit=5)), artefacts(Seeds(bit=5), model="hidden")
    assert linear["init"] != hidden["init"]
    assert linear["shuffle"] == hidden["shuffle"]
    assert linear["augment"] == hidden["augment"]


def test_equal_seeds_of_different_sources_draw_differently():
    from nondet.data import epoch_order

    a, b = (epoch_order(1000, Seeds().key(source), 0, "cpu") for source in ("shuffle", "augment"))
    assert not torch.equal(a, b)
