from dataclasses import replace

import numpy as np
import pytest
import torch

from factories.races import different, race
from factories.threads import threads_of_torch
from nondet.data import batch, epoch_order
from nondet.models import build_model
from nondet.studies.seeds import Onset, Seeds
from nondet.studies.specs import PerturbationSpec
from nondet.training.determinism import deterministic
from nondet.training.evaluation import weights_sha256
from nondet.training.images import ImageTraining
from nondet.training.loop import train
from nondet.training.result import DivergedError
from nondet.training.schedules import lr_at


def first_batch(config, digits):
    """Return the augmented images and the labels of the first step with held seeds."""
    order = epoch_order(len(digits.train_labels), Seeds().key("shuffle"), 0, "cpu")
    chosen = order[: config.batch_size]
    images = batch(digits, chosen, Seeds().key("augment"), 0, config.crop_padding, flip=config.flip)
    return images, digits.train_labels[chosen]


@pytest.mark.parametrize(("drop_last", "steps"), [(True, 21), (False, 22)])
def test_training_is_momentum_sgd(config, digits, drop_last, steps):
    """Compare schedule, momentum, weight decay, slower biases and batches with NumPy in float64.

    A last batch that is kept has 3 images.
    """
    seeds = Seeds()
    result = train(replace(config, drop_last=drop_last), seeds, digits)
    losses = []
    model = build_model("linear", (1, 8, 8), 10, seeds.key("init"))
    w, b = (p.detach().double().numpy().copy() for p in (model.fc.weight, model.fc.bias))
    velocity_w, velocity_b = np.zeros_like(w), np.zeros_like(b)
    n, size = 1347, 64
    for epoch in range(2):
        images = batch(digits, torch.arange(n), seeds.key("augment"), epoch, 1, False)
        images = images.flatten(1).double().numpy()
        order = epoch_order(n, seeds.key("shuffle"), epoch, "cpu").numpy()
        for number in range(steps):
            chosen = order[number * size : (number + 1) * size]
            x, y = images[chosen], digits.train_labels.numpy()[chosen]
            z = x @ w.T + b
            p = np.exp(z - z.max(axis=1, keepdims=True))
            p /= p.sum(axis=1, keepdims=True)
            losses.append(-np.log(p[np.arange(len(y)), y]).sum())
            p[np.arange(len(y)), y] -= 1
            step_size = 0.4 * (epoch * steps + number) / (3 * steps)
            velocity_w = 0.9 * velocity_w + p.T @ x / len(y) + 5e-3 * w
            velocity_b = 0.9 * velocity_b + p.sum(axis=0) / len(y) + 5e-3 * b
            w -= step_size * velocity_w
            b -= 0.1 * step_size * velocity_b
    expected = digits.normalized(digits.test_images).flatten(1).double().numpy() @ w.T + b
    # 42 float32 steps on weights below 2 stay far below 1e-4; leaving out any of the parts above
    # gives errors of 1e-2 and more.
    np.testing.assert_allclose(result.logits, expected, atol=1e-4)
    seen = n if not drop_last else 21 * size
    assert result.history[-1].train_loss == pytest.approx(sum(losses[steps:]) / seen, abs=1e-5)


@pytest.mark.parametrize("mode", ["seeded", "off"])
def test_labels_are_smoothed_as_torch_does(config, digits, mode):
    """Compare one step with autograd through torch's own loss."""
    config = replace(config, label_smoothing=0.3, warmup_epochs=0, momentum=0.0, weight_decay=0.0)
    config = replace(config, lowlevel=mode)
    training = ImageTraining(config, Seeds(), digits)
    with deterministic():
        images, labels = first_batch(config, digits)
        plain = build_model("linear", (1, 8, 8), 10, Seeds().key("init"))
        torch.nn.functional.cross_entropy(plain(images), labels, label_smoothing=0.3).backward()
        expected = plain.fc.weight.detach() - 0.4 * plain.fc.weight.grad
        training.advance()
    # Eight partial sums in another order: a few units in the last place of values below 1.
    torch.testing.assert_close(training.model.fc.weight.detach(), expected, rtol=0, atol=1e-6)


def test_history_has_one_line_per_epoch(config, digits):
    result = train(replace(config, epochs=3), Seeds(), digits)
    assert [epoch.epoch for epoch in result.history] == [1, 2, 3]
    assert len({epoch.weights_sha256 for epoch in result.history}) == 3
    assert result.history[2].learning_rate == lr_at(replace(config, epochs=3), 62, 21)
    predicted = result.logits.argmax(axis=1)
    assert result.history[-1].test_accuracy == np.mean(predicted == digits.test_labels.numpy())


def test_evaluation_as_often_as_asked_and_at_the_end(config, digits):
    config = replace(config, epochs=5)
    often, rarely = (
        train(replace(config, evaluate_every=every), Seeds(), digits) for every in (1, 2)
    )
    evaluated = [epoch.test_accuracy is not None for epoch in rarely.history]
    assert evaluated == [False, True, False, True, True]
    for a, b in zip(often.history, rarely.history, strict=True):
        assert a.weights_sha256 == b.weights_sha256
        assert b.test_accuracy in (None, a.test_accuracy)


def test_snapshots_are_the_models_at_the_ends_of_the_cycles(config, digits):
    config = replace(config, epochs=6, schedule="snapshots", cycles=3, warmup_epochs=1)
    result = train(config, Seeds(), digits)
    assert result.snapshots.shape == (3, 450, 10)
    assert result.snapshots[2].tobytes() == result.logits.tobytes()
    for snapshot, epoch in zip(result.snapshots, (2, 4, 6), strict=True):
        right = np.mean(snapshot.argmax(axis=1) == digits.test_labels.numpy())
        assert result.history[epoch - 1].test_accuracy == right
    assert train(replace(config, schedule="cosine"), Seeds(), digits).snapshots is None


@pytest.mark.parametrize("model", ["linear", "hidden", "resnet6-w8"])
def test_equal_seeds_give_equal_bits_and_others_do_not(config, digits, model):
    config = replace(config, model=model, epochs=1, dropout=0.1)
    first, second = (train(config, Seeds(lowlevel=3), digits) for _ in range(2))
    others = [
        train(config, Seeds(**{"lowlevel": 3, source: 2}), digits)
        for source in ("init", "shuffle", "augment", "stochastic", "lowlevel", "bit")
    ]
    assert first.logits.tobytes() == second.logits.tobytes()
    hashes = [result.history[-1].weights_sha256 for result in (first, second, *others)]
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 7


@pytest.mark.parametrize("settings", [{"lowlevel": "off"}, {"lowlevel": "exact"}])
def test_low_level_seed_matters_only_where_orders_are_drawn(config, digits, settings):
    config = replace(config, epochs=1, **settings)
    first, second = (train(config, Seeds(lowlevel=seed), digits) for seed in (1, 2))
    assert first.logits.tobytes() == second.logits.tobytes()


def test_a_race_does_not_repeat(config, few_digits):
    config = replace(config, model="hidden", epochs=1, lowlevel="atomic")

    def end(seeds):
        return train(config, seeds, few_digits).history[-1].weights_sha256

    race(lambda: end(Seeds(lowlevel=2)), calls=20)
    assert len(different(lambda: end(Seeds()), 2)) == 1


def test_weights_hash_sees_every_bit():
    model = build_model("resnet14-w8", (1, 8, 8), 10, Seeds().key("init"))
    before = weights_sha256(model)
    with torch.no_grad():
        for tensor in (model.fc.bias, model.blocks[3].bn2.running_var):
            tensor.view(torch.int32)[-1] ^= 1
            assert weights_sha256(model) != before
            tensor.view(torch.int32)[-1] ^= 1
    assert weights_sha256(model) == before


@pytest.mark.parametrize(
    ("target", "tensor"),
    [
        ("weights", "conv1.weight"),
        ("momentum", "blocks.0.conv1.weight.momentum_buffer"),
        ("statistics", "bn1.running_mean"),
        ("gradient", "conv1.weight"),
        ("pixel", "images"),
    ],
)
def test_the_perturbation_separates_two_trainings_at_its_step(config, digits, target, tensor):
    spec = PerturbationSpec(target=target, step=2, tensor=tensor, index=5, change="bit", bit=22)
    config = replace(config, model="resnet6-w8", batch_size=128, perturbation=spec)
    both = (Seeds(), Seeds(bit=3))
    twins = [ImageTraining(config, seeds, digits, Onset(bit=1)) for seeds in both]
    change = twins[0].steps_per_epoch + 2
    with deterministic():
        for step in range(1, change + 2):
            for twin in twins:
                twin.advance()
            a, b = (twin.named_tensors() for twin in twins)
            same = all(torch.equal(a[name], b[name]) for name in a)
            assert same == (step <= change), step
    [record] = twins[1].perturbations
    assert (record.target, record.tensor, record.index, record.step) == (target, tensor, 5, change)
    assert int(record.old_bits, 16) ^ int(record.new_bits, 16) == 1 << 22
    assert twins[0].perturbations == []


def test_weight_augmentation_changes_only_the_gradient(config, digits):
    """Compare a linear model's gradient with that at the original weights."""
    config = replace(config, weight_offset=0.05, warmup_epochs=0, momentum=0.0, weight_decay=0.0)
    training = ImageTraining(replace(config, lowlevel="off"), Seeds(stochastic=4), digits)
    plain = build_model("linear", (1, 8, 8), 10, Seeds().key("init"))
    before = plain.fc.weight.detach().clone()
    with deterministic():
        images, labels = first_batch(config, digits)
        training.advance()
        moved = (before - training.model.fc.weight.detach()) / 0.4
        torch.nn.functional.cross_entropy(plain(images), labels).backward()
    assert not torch.allclose(moved, plain.fc.weight.grad, atol=1e-4)
    # Other gradients, of the same size: offsets of 0.05 against weights of 0.125.
    assert (moved - plain.fc.weight.grad).norm() < 0.5 * plain.fc.weight.grad.norm()
    again = train(config, Seeds(stochastic=4), digits)
    assert again.logits.tobytes() == train(config, Seeds(stochastic=4), digits).logits.tobytes()
    assert again.logits.tobytes() != train(config, Seeds(stochastic=5), digits).logits.tobytes()


@pytest.mark.parametrize("averaging", ["swa", "ema", "aggressive", "aggressive-aside"])
def test_averaging_changes_the_evaluated_weights_but_not_the_trained_ones(
    config, digits, averaging
):
    config = replace(config, model="resnet6-w8", batch_size=256, epochs=2)
    averaged = train(replace(config, averaging=averaging), Seeds(), digits)
    plain = train(config, Seeds(), digits)
    assert averaged.logits.tobytes() != plain.logits.tobytes()
    same = [
        a.weights_sha256 == b.weights_sha256
        for a, b in zip(averaged.history, plain.history, strict=True)
    ]
    assert same == [averaging != "aggressive"] * 2


@pytest.mark.parametrize("threads", [1, 2])
def test_the_callers_number_of_threads_changes_no_bit(config, digits, threads):
    with threads_of_torch(threads):
        result = train(replace(config, model="hidden"), Seeds(), digits)
        assert torch.get_num_threads() == threads
    expected = train(replace(config, model="hidden"), Seeds(), digits)
    assert result.logits.tobytes() == expected.logits.tobytes()


def test_deterministic_restores_the_settings():
    torch.use_deterministic_algorithms(False)
    threads = torch.get_num_threads()
    with deterministic(threads + 1):
        assert torch.get_num_threads() == threads + 1
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.is_deterministic_algorithms_warn_only_enabled()
    assert torch.get_num_threads() == threads
    with pytest.raises(KeyError), deterministic():
        raise KeyError
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.utils.deterministic.fill_uninitialized_memory


def test_operations_without_a_deterministic_algorithm_raise():
    # One of the few operations on torch's list that run on a CPU.
    x = torch.zeros(4).put_(torch.tensor([0, 1]), torch.ones(2), accumulate=False)
    with deterministic(), pytest.raises(RuntimeError, match="deterministic"):
        x.put_(torch.tensor([0, 0]), torch.ones(2), accumulate=False)


def test_divergence_is_an_error(config, digits):
    with pytest.raises(DivergedError, match="the training loss is nan in epoch 1") as caught:
        train(replace(config, lr=1e30), Seeds(), digits)
    assert (caught.value.epoch, caught.value.step, caught.value.history) == (1, 21, [])


def test_predictions_that_are_not_finite_are_an_error(config, digits, monkeypatch):
    def infinite(model, dataset):
        return np.full((450, 10), np.inf, np.float32)

    monkeypatch.setattr("nondet.training.images.predict", infinite)
    with pytest.raises(DivergedError, match="predictions are not finite in epoch 1"):
        train(config, Seeds(), digits)


def test_a_trained_resnet_reads_digits(config, digits):
    config = replace(config, model="resnet10-w8", epochs=12, evaluate_every=12)
    assert train(config, Seeds(), digits).history[-1].test_accuracy >= 0.97


def test_settings_that_do_not_fit_are_refused(config, digits):
    with pytest.raises(ValueError, match="batch_size is 2000; the data set has 1347"):
        train(replace(config, batch_size=2000), Seeds(), digits)
    late = replace(config, perturbation=PerturbationSpec(step=42))
    with pytest.raises(ValueError, match=r"perturbation.step is 42 .* has 42 steps"):
        train(late, Seeds(bit=2), digits)
    train(late, Seeds(), digits)
    with pytest.raises(RuntimeError, match="0 of 42 steps are done"):
        ImageTraining(config, Seeds(), digits).result()
    done = ImageTraining(config, Seeds(), digits)
    done.advance()
    hidden = ImageTraining(replace(config, model="hidden"), Seeds(), digits)
    with pytest.raises(ValueError, match="the checkpoint does not fit"):
        hidden.restore(done.state())
