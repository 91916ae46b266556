"""One pass, repeated with everything equal, shows whether gradients differ, and if they could."""

from dataclasses import replace

import pytest
import torch

from factories import vendor_stand_in
from nondet.studies.config import RunConfig
from nondet.studies.seeds import HELD, Seeds, held
from nondet.training import repetition
from nondet.training.determinism import deterministic
from nondet.training.images import ImageTraining
from nondet.training.repetition import repeat, repeat_pass
from nondet_ext import next_up

CONFIG = RunConfig("digits", "hidden-conv", 3, 64, 0.1, warmup_epochs=2, dropout=0.1)


@pytest.fixture
def racing(monkeypatch):
    vendor_stand_in.install(monkeypatch.setattr)
    return replace(CONFIG, lowlevel="vendor")


@pytest.fixture
def steady(monkeypatch):
    vendor_stand_in.install(monkeypatch.setattr, "fixed")
    return replace(CONFIG, lowlevel="vendor")


def test_digests_are_equal_for_equal_bits_alone():
    tensors = [torch.zeros(3), torch.ones(2)]
    results = iter(
        [
            tensors,
            [x.clone() for x in tensors],
            [-tensors[0], tensors[1]],  # -0.0
            [tensors[0], next_up(tensors[1])],
            tensors[::-1],
            tensors[:1],
            tensors,
        ]
    )
    digests, last = repeat(lambda: next(results), 7)
    first, again, *others, end = digests
    assert first == again == end
    assert len({first, *others}) == 5
    assert last is tensors
    assert repeat(lambda: tensors, 0)[0] == ()


def test_a_step_that_never_varies_gives_one_digest_and_one_that_does_many():
    counts = iter(range(100))
    assert len(set(repeat(lambda: [torch.ones(3)], 20)[0])) == 1
    assert len(set(repeat(lambda: [torch.full((3,), float(next(counts)))], 20)[0])) == 20


def test_a_pass_with_kernels_that_race_gives_several_gradients(racing, few_digits):
    found = repeat_pass(racing, few_digits, 200)
    assert len(found.digests) == 200
    assert len(set(found.digests)) > 1
    assert found.obstacle == ""


def test_a_pass_without_a_race_gives_one_gradient_though_it_could_have_raced(steady, few_digits):
    found = repeat_pass(steady, few_digits, 5)
    assert len(set(found.digests)) == 1
    assert found.obstacle == ""
    # Everything is equal in another process as well: weights, images, draws.
    assert repeat_pass(steady, few_digits, 1).digests == found.digests[:1]


def test_the_gradients_are_those_after_a_held_step(steady, few_digits):
    """Initial residual branches have scales of 0, behind which all gradients are 0."""
    config = replace(steady, model="resnet6-w8", lowlevel="off", warmup_epochs=0)
    with deterministic():
        training = ImageTraining(config, Seeds(), few_digits)
        at_first = training.gradients(0, Seeds())
        training.optimizer.step()
        after = training.gradients(0, Seeds())
    assert any(not x.any() for x in at_first)
    assert all(x.any() for x in after)
    weights = []

    def compute(compute, passes):
        gradients = compute()
        weights.extend(x.any().item() for x in gradients)
        return ("0" * 16,) * passes, gradients

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(repetition, "repeat", compute)
        repeat_pass(replace(steady, model="resnet6-w8"), few_digits, 2)
    assert weights
    assert all(weights)


@pytest.mark.parametrize(("drop_last", "batches"), [(True, [0]), (False, [0, 4])])
def test_a_smaller_last_batch_is_part_of_a_pass(
    steady, few_digits, monkeypatch, drop_last, batches
):
    config = replace(steady, batch_size=72, drop_last=drop_last)  # 320 are 4 * 72 + 32
    numbers, compute = [], ImageTraining.gradients

    def gradients(self, number, seeds):
        numbers.append((number, seeds.lowlevel != HELD))
        assert replace(seeds, lowlevel=HELD) == held()
        return compute(self, number, seeds)

    monkeypatch.setattr(ImageTraining, "gradients", gradients)
    repeat_pass(config, few_digits, 2)
    assert numbers == [(0, False), *[(number, True) for number in batches * 2]]


def test_a_batch_of_all_data_is_one_batch(steady, few_digits):
    config = replace(steady, batch_size=1000, drop_last=False)
    assert len(set(repeat_pass(config, few_digits, 2).digests)) == 1


def test_the_gradients_are_those_of_the_first_step(few_digits):
    config = replace(CONFIG, lowlevel="seeded", warmup_epochs=0)
    with deterministic():
        training = ImageTraining(config, Seeds(), few_digits)
        training.advance()
        step = [x.grad.clone() for x in training.model.parameters()]
        again = ImageTraining(config, Seeds(), few_digits)
        found = again.gradients(0, Seeds())
        other = again.gradients(0, Seeds(lowlevel=2))
    assert all(map(torch.equal, found, step))
    assert not all(map(torch.equal, other, step))


def obstacle(config, data):
    found = repeat_pass(config, data, 2)
    assert len(set(found.digests)) == 1
    return found.obstacle


def test_what_keeps_a_pass_from_racing_is_named(steady, few_digits, monkeypatch):
    linear = replace(steady, model="linear")
    assert obstacle(linear, few_digits) == (
        "the model has no convolution, which cuDNN would compute"
    )
    assert obstacle(replace(steady, lowlevel="off"), few_digits) == (
        "torch's deterministic algorithms were on during the backward pass"
    )
    monkeypatch.setattr(torch.backends.cudnn, "enabled", False)
    assert "cuDNN is switched off" in obstacle(steady, few_digits)
    monkeypatch.undo()
    vendor_stand_in.install(monkeypatch.setattr, "fixed")
    monkeypatch.setattr(torch.backends.cudnn, "is_available", lambda: False)
    assert obstacle(steady, few_digits) == "torch has no cuDNN here"


@pytest.mark.parametrize(
    ("gradient", "reason"),
    [
        ([torch.zeros(3), -torch.zeros(2)], "the gradients are zero"),
        ([torch.ones(3), torch.tensor([1.0, torch.nan])], "the gradients are not finite"),
        ([torch.ones(3), torch.tensor([torch.inf])], "the gradients are not finite"),
        ([torch.zeros(3), torch.ones(1)], ""),
    ],
)
def test_gradients_in_which_no_order_shows_are_named(
    steady, few_digits, monkeypatch, gradient, reason
):
    monkeypatch.setattr(
        repetition, "repeat", lambda compute, passes: (("00",) * passes, compute() and gradient)
    )
    assert repeat_pass(steady, few_digits, 3).obstacle == reason
