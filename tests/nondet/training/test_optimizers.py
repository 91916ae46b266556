from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from nondet.models import build_model
from nondet.studies.config import RunConfig
from nondet.studies.seeds import philox_key
from nondet.training.optimizers import load_named_state, make_optimizer, named_state, set_lr

CONFIG = RunConfig("digits", "linear", 2, 8, lr=0.1, momentum=0.8, weight_decay=0.03)
KINDS = ["sgd", "plain", "nesterov", "adam", "adamw"]
RATES = [0.0, 0.05, 0.1, 0.07, 0.02, 0.01]


def config_of(kind):
    """Return the configuration of a kind; "plain" is SGD without momentum, which has no state."""
    if kind == "plain":
        return replace(CONFIG, momentum=0.0)
    return replace(CONFIG, optimizer=kind)


def small_model():
    model = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))
    numbers = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=numbers))
    return model


def gradients(model, step):
    numbers = torch.Generator().manual_seed(100 + step)
    return [torch.randn(x.shape, generator=numbers) for x in model.parameters()]


def run(model, optimizer, steps):
    for step in steps:
        for parameter, gradient in zip(model.parameters(), gradients(model, step), strict=True):
            parameter.grad = gradient
        set_lr(optimizer, RATES[step])
        optimizer.step()


def reference(kind, w, grads, rates, scale):
    """Apply the papers' update rules in float64."""
    c, w = config_of(kind), w.astype(np.float64)
    m, v = np.zeros_like(w), np.zeros_like(w)
    scaled = [rate * scale for rate in rates]
    for t, (g, lr) in enumerate(zip(grads, scaled, strict=True), start=1):
        if kind == "adamw":
            w = w - lr * c.weight_decay * w
        else:
            g = g + c.weight_decay * w
        if kind.startswith("adam"):
            m = c.momentum * m + (1 - c.momentum) * g
            v = c.adam_beta2 * v + (1 - c.adam_beta2) * g * g
            m_hat, v_hat = m / (1 - c.momentum**t), v / (1 - c.adam_beta2**t)
            w = w - lr * m_hat / (np.sqrt(v_hat) + c.adam_eps)
        else:
            m = c.momentum * m + g
            w = w - lr * (g + c.momentum * m if kind == "nesterov" else m)
    return w


@pytest.mark.parametrize("kind", KINDS)
def test_steps_are_those_of_the_papers(kind):
    model, start = small_model(), small_model()
    run(model, make_optimizer(model, config_of(kind)), range(6))
    for i, (found, first) in enumerate(zip(model.parameters(), start.parameters(), strict=True)):
        scale = 1.0 if first.dim() > 1 else CONFIG.bias_lr_scale
        grads = [gradients(model, step)[i].double().numpy() for step in range(6)]
        expected = reference(kind, first.detach().numpy(), grads, RATES, scale)
        # Six float32 steps with a few roundings of numbers below 4 each; a part left out is off by
        # 1e-4 and more.
        np.testing.assert_allclose(found.detach().numpy(), expected, atol=2e-6)


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("stop", [0, 1, 5])
@pytest.mark.parametrize("kind", KINDS)
def test_a_loaded_state_goes_on_bit_for_bit(kind, stop, fused):
    config = config_of(kind)

    def fresh():
        model = small_model()
        optimizer = make_optimizer(model, config)
        for group in optimizer.param_groups:
            assert group["fused"]
            group["fused"] = fused
        return model, optimizer

    whole, optimizer = fresh()
    run(whole, optimizer, range(6))

    stopped, optimizer = fresh()
    run(stopped, optimizer, range(stop))
    saved = {name: x.clone() for name, x in named_state(optimizer, stopped).items()}
    # The resumed optimizer has made other steps, which must leave nothing behind.
    resumed, other = fresh()
    run(resumed, other, (5, 4))
    resumed.load_state_dict(stopped.state_dict())
    given = {name: x.clone() for name, x in saved.items()}
    load_named_state(other, resumed, given)
    run(resumed, other, range(stop, 6))
    assert all(torch.equal(x, saved[name]) for name, x in given.items())
    for one, two in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert one.detach().numpy().tobytes() == two.detach().numpy().tobytes()


@pytest.mark.parametrize("kind", KINDS)
def test_state_by_name(kind):
    model = small_model()
    optimizer = make_optimizer(model, config_of(kind))
    assert named_state(optimizer, model) == {}
    run(model, optimizer, range(2))
    slots = {"plain": [], "adam": ["step", "exp_avg", "exp_avg_sq"]}
    slots["adamw"] = slots["adam"]
    expected = [
        f"{name}.{slot}"
        for name, _ in model.named_parameters()
        for slot in slots.get(kind, ["momentum_buffer"])
    ]
    state = named_state(optimizer, model)
    assert list(state) == expected
    for tensor in state.values():  # live: changing them changes the optimizer
        tensor.add_(1)
    assert all(torch.equal(x, state[name]) for name, x in named_state(optimizer, model).items())


def test_bits_of_a_state_survive():
    model = small_model()
    optimizer = make_optimizer(model, CONFIG)
    run(model, optimizer, [0])
    state = {name: x.clone() for name, x in named_state(optimizer, model).items()}
    state["0.bias.momentum_buffer"].view(torch.int32).copy_(
        torch.tensor([-(2**31), 0x7F800001, 0x7FC01234, 1], dtype=torch.int32)
    )
    load_named_state(optimizer, model, state)
    for name, tensor in named_state(optimizer, model).items():
        assert torch.equal(tensor.view(torch.int32), state[name].view(torch.int32))


@pytest.mark.parametrize("kind", ["sgd", "adam"])
@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("9.weight.{}", torch.zeros(4, 5), "the state has '9.weight"),
        ("0.weight.other", torch.zeros(4, 5), "the state has '0.weight.other'"),
        ("0.weight.{}", torch.zeros(5, 4), r"shape \(5, 4\); expected torch.float32 .*\(4, 5\)"),
        ("0.weight.{}", torch.zeros(4, 5, dtype=torch.float64), "is torch.float64 of"),
    ],
)
def test_a_state_that_does_not_fit_is_refused_and_changes_nothing(kind, name, tensor, message):
    model = small_model()
    optimizer = make_optimizer(model, config_of(kind))
    run(model, optimizer, [1])
    before = {key: x.clone() for key, x in named_state(optimizer, model).items()}
    bad = before | {name.format("exp_avg" if kind == "adam" else "momentum_buffer"): tensor}
    with pytest.raises(ValueError, match=message):
        load_named_state(optimizer, model, {k: x + 1 for k, x in bad.items()})
    after = named_state(optimizer, model)
    assert all(torch.equal(x, after[key]) for key, x in before.items())


def test_a_state_with_a_part_of_its_slots_is_refused():
    model = small_model()
    optimizer = make_optimizer(model, config_of("adam"))
    with pytest.raises(ValueError, match=r"the state of '0\.weight' lacks step, exp_avg_sq"):
        load_named_state(optimizer, model, {"0.weight.exp_avg": torch.zeros(4, 5)})
    assert named_state(optimizer, model) == {}


def test_another_kind_of_optimizer_is_refused():
    model = small_model()
    with pytest.raises(TypeError, match="optimizer is a Adagrad; known: SGD, Adam, AdamW"):
        named_state(torch.optim.Adagrad(model.parameters()), model)


def scales(name, scope, image=(3, 32, 32)):
    """Return the number of one-dimensional parameters by the factor on their learning rate."""
    model = build_model(name, image, 10, philox_key("init", 1))
    optimizer = make_optimizer(model, replace(CONFIG, bias_lr_scale=0.1, bias_lr_scope=scope))
    found = {
        group["lr_scale"]: sum(x.numel() for x in group["params"] if x.dim() <= 1)
        for group in optimizer.param_groups
    }
    held = sum(len(group["params"]) for group in optimizer.param_groups)
    assert held == len(list(model.parameters()))
    return found


@pytest.mark.parametrize(
    ("model", "full"),
    [
        ("resnet6", 0),
        ("resnet14", 16 + 32),
        ("resnet18", 64 + 128 + 256),
        ("vgg11", 64 + 128 + 2 * 256 + 4 * 512),
        ("shufflenet-x0.5", 0),
        ("hidden-conv", 0),
    ],
)
def test_published_code_trains_some_batch_norm_scales_at_the_full_rate(model, full):
    """The numbers are those of the parameters whose names hold neither "bias" nor "bn" there."""
    ours, theirs = scales(model, "vectors"), scales(model, "published")
    assert ours[1.0] == 0
    assert theirs == {1.0: full, 0.1: ours[0.1] - full}
