from dataclasses import replace

import numpy as np
import pytest
import torch

from nondet.data import epoch_order, random_shifts, shift
from nondet.models import build_model
from nondet.perturb import change_one_ulp, first_layer_weight
from nondet.seeds import Seeds
from nondet.train import DivergedError, deterministic, learning_rate, train, weights_sha256


def test_learning_rate_by_hand():
    rates = [learning_rate(step, 10, epochs=6, warmup_epochs=2, highest=0.4) for step in range(61)]
    assert rates[0] == 0
    assert rates[5] == pytest.approx(0.1)
    assert rates[20] == 0.4
    # The cosine counts epochs from 0, so that it takes over below the highest rate.
    assert rates[30] == pytest.approx(0.2)
    assert rates[40] == pytest.approx(0.1)
    assert rates[50] == pytest.approx(0.2 * (1 - np.sqrt(3) / 2))
    assert rates[60] == 0
    assert rates[21] == pytest.approx(0.4 * 0.5 * (1 + np.cos(np.pi * 2.1 / 6)))


def test_learning_rate_without_warm_up_starts_at_the_highest():
    assert learning_rate(0, 10, epochs=6, warmup_epochs=0, highest=0.4) == 0.4


def test_training_is_momentum_sgd(config, digits):
    """Against twenty lines of float64: schedule, momentum, weight decay, slower biases, batches."""
    seeds = Seeds()
    result = train(config, seeds, digits)
    model = build_model("linear", (1, 8, 8), 10, seeds.key("init"))
    w, b = (p.detach().double().numpy().copy() for p in (model.fc.weight, model.fc.bias))
    velocity_w, velocity_b = np.zeros_like(w), np.zeros_like(b)
    n, size = 1347, 64
    for epoch in range(2):
        offsets = random_shifts(torch.arange(n), seeds.key("augment"), epoch, 1)
        images = shift(digits.train_images, offsets, digits.background).flatten(1).double().numpy()
        order = epoch_order(n, seeds.key("shuffle"), epoch, "cpu").numpy()
        for number in range(21):
            batch = order[number * size : (number + 1) * size]
            x, y = images[batch], digits.train_labels.numpy()[batch]
            z = x @ w.T + b
            p = np.exp(z - z.max(axis=1, keepdims=True))
            p /= p.sum(axis=1, keepdims=True)
            p[np.arange(size), y] -= 1
            rate = 0.4 * (epoch * 21 + number) / 63
            velocity_w = 0.9 * velocity_w + p.T @ x / size + 5e-4 * w
            velocity_b = 0.9 * velocity_b + p.sum(axis=0) / size + 5e-4 * b
            w -= rate * velocity_w
            b -= 0.1 * rate * velocity_b
    expected = digits.test_images.flatten(1).double().numpy() @ w.T + b
    # 42 float32 steps on weights below 2: far from 1e-4, while any of the parts above left out is
    # off by 1e-2 and more.
    np.testing.assert_allclose(result.logits, expected, atol=1e-4)


def test_history_has_one_line_per_epoch(config, digits):
    result = train(replace(config, epochs=3), Seeds(), digits)
    assert [epoch.epoch for epoch in result.history] == [1, 2, 3]
    assert len({epoch.weights_sha256 for epoch in result.history}) == 3
    assert result.history[2].learning_rate == learning_rate(62, 21, 3, 3, 0.4)
    predicted = result.logits.argmax(axis=1)
    assert result.history[-1].test_accuracy == np.mean(predicted == digits.test_labels.numpy())


@pytest.mark.parametrize("model", ["linear", "hidden", "resnet14-w8"])
def test_equal_seeds_give_equal_bits_and_others_do_not(config, digits, model):
    config = replace(config, model=model, epochs=1)
    first, second = (train(config, Seeds(), digits) for _ in range(2))
    others = [
        train(config, Seeds(**{source: 2}), digits) for source in ("init", "shuffle", "augment")
    ]
    assert first.logits.tobytes() == second.logits.tobytes()
    hashes = [result.history[-1].weights_sha256 for result in (first, second, *others)]
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 4


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
    ("model", "layer"),
    [("linear", "fc.weight"), ("hidden", "fc1.weight"), ("resnet14-w8", "conv1.weight")],
)
def test_one_ulp_moves_one_weight_of_the_first_layer_to_its_neighbour(model, layer):
    first = build_model(model, (1, 8, 8), 10, Seeds().key("init"))
    changed = build_model(model, (1, 8, 8), 10, Seeds().key("init"))
    record = change_one_ulp(changed, Seeds(bit=9).key("bit"))
    assert record.parameter == first_layer_weight(changed)[0] == layer
    weight = dict(changed.named_parameters())[layer]
    old = dict(first.named_parameters())[layer].detach().flatten().numpy()
    new = weight.detach().flatten().numpy()
    assert np.flatnonzero(old.view(np.int32) != new.view(np.int32)).tolist() == [record.index]
    towards = np.float32(np.inf * record.direction)
    assert new[record.index] == np.nextafter(old[record.index], towards) == record.new_value
    assert record.old_bits == f"0x{old.view(np.uint32)[record.index]:08x}"
    assert record.new_bits == f"0x{new.view(np.uint32)[record.index]:08x}"
    for other, same in zip(first.parameters(), changed.parameters(), strict=True):
        if other.shape != weight.shape:
            assert torch.equal(other, same)


def test_the_changed_weight_and_direction_depend_on_the_seed():
    records = []
    for seed in range(2, 40):
        model = build_model("hidden", (1, 8, 8), 10, Seeds().key("init"))
        records.append(change_one_ulp(model, Seeds(bit=seed).key("bit")))
    assert len({record.index for record in records}) > 30
    assert {record.direction for record in records} == {-1, 1}


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_of_the_caller_reach_no_bit(config, digits, threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        result = train(replace(config, model="hidden"), Seeds(), digits)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    expected = train(replace(config, model="hidden"), Seeds(), digits)
    assert result.logits.tobytes() == expected.logits.tobytes()


def test_deterministic_gives_the_settings_back():
    torch.use_deterministic_algorithms(False)
    threads = torch.get_num_threads()
    with deterministic():
        assert torch.get_num_threads() == 1
        assert torch.are_deterministic_algorithms_enabled()
    assert torch.get_num_threads() == threads
    with pytest.raises(KeyError), deterministic():
        raise KeyError
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()


def test_divergence_is_an_error(config, digits):
    with pytest.raises(DivergedError, match="the training loss is nan in epoch"):
        train(replace(config, lr=1e30), Seeds(), digits)


def test_batch_larger_than_the_data_is_refused(config, digits):
    with pytest.raises(ValueError, match="batch_size is 2000; the data set has 1347"):
        train(replace(config, batch_size=2000), Seeds(), digits)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("epochs", 0, "epochs is 0; it must be at least 1"),
        ("warmup_epochs", -1, "warmup_epochs is -1"),
        ("lr", -0.1, "lr is -0.1; it must not be negative"),
    ],
)
def test_bad_configuration_is_refused(config, field, value, message):
    with pytest.raises(ValueError, match=message):
        replace(config, **{field: value})
