import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import swa_utils

from nondet.models import build_model
from nondet.studies.config import RunConfig
from nondet.studies.seeds import Seeds
from nondet.training.averaging import Averaging, make_averaging, recompute_statistics
from nondet_ext import philox_normal

STEPS_PER_EPOCH = 3
KINDS = ["swa", "ema", "aggressive", "aggressive-aside"]
ASIDE = ["swa", "ema", "aggressive-aside"]


def small_model():
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(108, 2))
    with torch.no_grad():
        for p, x in enumerate(model.parameters()):
            x.copy_(philox_normal(tuple(x.shape), seed=12, counter=(p,)))
    return model


def move(model, step):
    """Change the weights, as an optimizer's step would."""
    with torch.no_grad():
        for p, x in enumerate(model.parameters()):
            x.add_(philox_normal(tuple(x.shape), seed=11, counter=(step, p)))


def flat(model):
    return np.concatenate([x.detach().numpy().ravel() for x in model.parameters()])


def everything(model):
    tensors = [*model.parameters(), *model.buffers()]
    return [x.detach().numpy().tobytes() for x in tensors], [m.training for m in model.modules()]


def run(kind, steps, start=0, model=None):
    """Return the model, the average, and the weights after every step, (steps, weights) float64."""
    model = build_model("linear", (1, 4, 4), 3, Seeds().key("init")) if model is None else model
    averaging = Averaging(model, kind, start, decay=0.9)
    trained = []
    for step in range(1, steps + 1):
        move(model, step)
        averaging.update(model, step, STEPS_PER_EPOCH)
        trained.append(flat(model))
    return model, averaging, np.array(trained, dtype=np.float64)


def mean_of(averaging):
    state = averaging.state()
    return np.concatenate([x.numpy().ravel() for n, x in state.items() if n.startswith("mean.")])


@pytest.mark.parametrize("start", [0, 2])
@pytest.mark.parametrize("kind", ASIDE)
def test_averages_are_those_of_a_naive_loop(kind, start):
    _, averaging, w = run(kind, 12, start)
    w = w[start * STEPS_PER_EPOCH :]
    if kind == "swa":
        expected = w[STEPS_PER_EPOCH - 1 :: STEPS_PER_EPOCH].mean(axis=0)
    elif kind == "aggressive-aside":
        expected = w.mean(axis=0)
    else:
        expected = w[0]
        for weights in w[1:]:
            expected = 0.9 * expected + 0.1 * weights
    np.testing.assert_allclose(mean_of(averaging), expected, rtol=0, atol=1e-14)


def test_nothing_is_averaged_before_the_start_and_swa_waits_for_an_epochs_end():
    for kind, start, steps, count in [
        ("ema", 2, 6, 0), ("ema", 2, 7, 1), ("swa", 1, 5, 0), ("swa", 1, 6, 1), ("swa", 0, 8, 2),
    ]:  # fmt: skip
        assert int(run(kind, steps, start)[1].state()["count"]) == count


def test_the_aggressive_mean_becomes_the_trained_weights():
    model = build_model("linear", (1, 4, 4), 3, Seeds().key("init"))
    w = flat(model)
    _, _, trained = run("aggressive", 8, model=model)
    draws = [
        np.concatenate(
            [
                philox_normal(tuple(x.shape), seed=11, counter=(step, p)).numpy().ravel()
                for p, x in enumerate(model.parameters())
            ]
        )
        for step in range(1, 9)
    ]
    w = w.astype(np.float64)
    for m, draw in enumerate(draws):
        w = (m * w + (w + draw)) / (m + 1)
        # The trained weights are rounded to float32 at every step.
        np.testing.assert_allclose(trained[m], w, rtol=0, atol=4e-6)


@pytest.mark.parametrize("kind", ["aggressive-aside", "ema"])
def test_averages_are_torchs(kind):
    model = build_model("linear", (1, 4, 4), 3, Seeds().key("init"))
    functions = {"ema": swa_utils.get_ema_multi_avg_fn(0.9)}
    theirs = swa_utils.AveragedModel(model, multi_avg_fn=functions.get(kind))
    ours = Averaging(model, kind, decay=0.9)
    for step in range(1, 13):
        move(model, step)
        ours.update(model, step, STEPS_PER_EPOCH)
        theirs.update_parameters(model)
    with ours.averaged_weights(model):
        # torch averages in float32: a few roundings a step of numbers below 16.
        np.testing.assert_allclose(flat(model), flat(theirs.module), rtol=0, atol=2e-5)


def test_a_mean_over_many_steps_does_not_drift():
    """In float32 a running mean of n weights has an error of about n roundings, or stops moving."""
    model = nn.Linear(1, 1, bias=False)
    averaging = Averaging(model, "aggressive-aside")
    values = (1 + philox_normal(20_000, seed=5)).numpy()
    for step, value in enumerate(values, start=1):
        model.weight.data.fill_(float(value))
        averaging.update(model, step, 1)
    expected = values.astype(np.float64).mean()
    assert abs(mean_of(averaging)[0] - expected) < 1e-12


@pytest.mark.parametrize("kind", KINDS)
def test_a_loaded_state_goes_on_bit_for_bit(kind):
    for stop in (0, 1, 4, 7):
        whole, averaging, _ = run(kind, 9, 1)
        stopped, first, _ = run(kind, stop, 1)
        saved = {name: x.clone() for name, x in first.state().items()}
        _, second, _ = run(kind, 9, 0)  # values that loading has to replace
        second.start = 1
        second.load(saved)
        for step in range(stop + 1, 10):
            move(stopped, step)
            second.update(stopped, step, STEPS_PER_EPOCH)
        assert mean_of(second).tobytes() == mean_of(averaging).tobytes()
        assert flat(stopped).tobytes() == flat(whole).tobytes()
        assert int(second.state()["count"]) == int(averaging.state()["count"])
        assert all(torch.equal(x, first.state()[name]) for name, x in saved.items())


@pytest.mark.parametrize("kind", ASIDE)
def test_the_model_has_the_rounded_average_and_every_bit_is_restored(kind):
    model = small_model()
    _, averaging, _ = run(kind, 6, model=model)
    batches = [philox_normal((8, 1, 8, 8), seed=2, counter=(i,)) for i in range(3)]
    model.train()
    before = everything(model)
    with averaging.averaged_weights(model, batches):
        assert flat(model).tobytes() == mean_of(averaging).astype(np.float32).tobytes()
        mean = torch.stack([model[0](x).mean((0, 2, 3)) for x in batches]).mean(0)
        np.testing.assert_allclose(model[1].running_mean, mean.detach(), atol=1e-5)
        assert everything(model) != before
    assert everything(model) == before
    with pytest.raises(KeyError), averaging.averaged_weights(model, batches):
        raise KeyError
    assert everything(model) == before


def test_without_another_average_the_model_is_left_unchanged():
    model = small_model()
    for kind, steps in (("swa", 2), ("aggressive", 5)):
        _, averaging, _ = run(kind, steps, model=model)
        before = everything(model)
        with averaging.averaged_weights(model, iter(())):
            assert everything(model) == before


def test_statistics_are_the_batches_means():
    """Compare with torch's update_bn for equal batches, and with a plain mean for others."""
    x = philox_normal((20, 1, 8, 8), seed=3)
    ours, theirs = small_model(), small_model()
    theirs.load_state_dict(ours.state_dict())
    swa_utils.update_bn(x.split(5), theirs)
    recompute_statistics(ours, x.split(5))
    for one, two in zip(ours[1].buffers(), theirs[1].buffers(), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-6)
    assert ours[1].momentum == 0.1

    recompute_statistics(ours, x.split(16))
    with torch.no_grad():
        y = ours[0](x).double().transpose(0, 1)
    parts = y[:, :16].flatten(1), y[:, 16:].flatten(1)
    variance = 0.8 * parts[0].var(dim=1) + 0.2 * parts[1].var(dim=1)
    np.testing.assert_allclose(ours[1].running_var, variance, rtol=1e-5)
    np.testing.assert_allclose(ours[1].running_mean, y.flatten(1).mean(dim=1), atol=1e-6)


def test_statistics_need_a_batch_only_where_there_are_some():
    with pytest.raises(ValueError, match="batches is empty; batch-norm statistics need"):
        recompute_statistics(small_model(), [])
    recompute_statistics(nn.Linear(2, 2), [])


def test_a_state_that_does_not_fit_is_refused_and_changes_nothing():
    _, averaging, _ = run("ema", 4)
    state = {name: x.clone() for name, x in averaging.state().items()}
    for bad, message in (
        ({k: x for k, x in state.items() if k != "count"}, "lacks, or should not have: count"),
        (state | {"mean.other": torch.zeros(1)}, "should not have: mean.other"),
        (state | {"mean.fc.bias": torch.zeros(4, dtype=torch.float64)}, r"expected .*\(3,\)"),
        (state | {"mean.fc.bias": torch.zeros(3)}, "is torch.float32 of shape"),
    ):
        with pytest.raises(ValueError, match=message):
            averaging.load(bad | {"mean.fc.weight": state["mean.fc.weight"] + 1})
        assert all(torch.equal(x, state[name]) for name, x in averaging.state().items())


def test_the_configuration_decides():
    model = small_model()
    common = {"dataset": "digits", "model": "linear", "epochs": 5, "batch_size": 8, "lr": 0.1}
    assert make_averaging(model, RunConfig(**common)) is None
    config = RunConfig(**common, averaging="ema", averaging_start=3, ema_decay=0.5)
    made = make_averaging(model, config)
    assert (made.kind, made.start, made.decay) == ("ema", 3, 0.5)
