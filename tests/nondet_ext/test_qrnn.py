"""Compare the quasi-recurrent layer with its equations (Bradbury et al. 2017)."""

import numpy as np
import pytest
import torch

import nondet_ext

T, B, INPUTS, HIDDEN = 6, 3, 4, 5


def arguments(window, gates, seed=0):
    rng = np.random.default_rng([seed, window, gates])
    return (
        rng.standard_normal((T, B, INPUTS)),
        rng.standard_normal((gates * HIDDEN, window * INPUTS)),
        rng.standard_normal(gates * HIDDEN),
        rng.standard_normal((B, HIDDEN)),
        rng.standard_normal((B, INPUTS)),
    )


def by_hand(x, weight, bias, hidden, previous, forget=lambda f: f):
    """Return h and the last state in float64, computed text by text and step by step."""
    gates, window = len(weight) // HIDDEN, weight.shape[1] // INPUTS
    h = np.empty((len(x), B, HIDDEN))
    last = np.empty((B, HIDDEN))
    for b in range(B):
        cell = hidden[b]
        before = previous[b]
        for t in range(len(x)):
            seen = x[t, b] if window == 1 else np.concatenate([x[t, b], before])
            parts = np.split(weight @ seen + bias, gates)
            f = forget(1 / (1 + np.exp(-parts[1])))
            cell = f * cell + (1 - f) * np.tanh(parts[0])
            h[t, b] = cell / (1 + np.exp(-parts[2])) if gates == 3 else cell
            before = x[t, b]
        last[b] = cell
    return h, last


@pytest.mark.parametrize("window", [1, 2])
@pytest.mark.parametrize("gates", [2, 3])
def test_equations(window, gates):
    x, weight, bias, hidden, previous = arguments(window, gates)
    tensors = [torch.from_numpy(each) for each in (x, weight, bias)]
    got = nondet_ext.qrnn(
        *tensors,
        hidden=torch.from_numpy(hidden),
        previous=torch.from_numpy(previous) if window == 2 else None,
        window=window,
        output_gate=gates == 3,
    )
    for mine, theirs in zip(got, by_hand(x, weight, bias, hidden, previous), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-12)
    begun = nondet_ext.qrnn(*tensors, window=window, output_gate=gates == 3)
    zeros = np.zeros_like(hidden), np.zeros_like(previous)
    np.testing.assert_allclose(begun[0], by_hand(x, weight, bias, *zeros)[0], rtol=1e-12)


def test_without_bias():
    x, weight, _, hidden, previous = arguments(1, 3)
    got, _ = nondet_ext.qrnn(torch.from_numpy(x), torch.from_numpy(weight))
    bias = np.zeros(len(weight))
    expected, _ = by_hand(x, weight, bias, 0 * hidden, previous)
    np.testing.assert_allclose(got, expected, rtol=1e-12)


@pytest.mark.parametrize("window", [1, 2])
def test_segments_go_on(window):
    x, weight, bias, hidden, previous = (torch.from_numpy(a) for a in arguments(window, 3))
    named = {"window": window}
    before = previous if window == 2 else None
    whole, last = nondet_ext.qrnn(x, weight, bias, hidden=hidden, previous=before, **named)
    first, state = nondet_ext.qrnn(x[:2], weight, bias, hidden=hidden, previous=before, **named)
    before = x[1] if window == 2 else None
    second, end = nondet_ext.qrnn(x[2:], weight, bias, hidden=state, previous=before, **named)
    np.testing.assert_allclose(torch.cat([first, second]), whole, rtol=1e-12)
    np.testing.assert_allclose(end, last, rtol=1e-12)


def test_gradients():
    x, weight, bias, hidden, previous = (
        torch.from_numpy(a).requires_grad_() for a in arguments(2, 3)
    )
    assert torch.autograd.gradcheck(
        lambda x, weight, bias, hidden, previous: nondet_ext.qrnn(
            x, weight, bias, hidden=hidden, previous=previous, window=2
        ),
        (x, weight, bias, hidden, previous),
    )


def test_zoneout_keeps_the_states_that_its_draws_name():
    x, weight, bias, hidden, previous = arguments(1, 3)
    tensors = [torch.from_numpy(each) for each in (x, weight, bias)]
    zoned = {"zoneout": 0.4, "key": (7, 3), "counter": (5, 2)}
    got, last = nondet_ext.qrnn(*tensors, hidden=torch.from_numpy(hidden), training=True, **zoned)
    draws = nondet_ext.philox_uniform((T, B, HIDDEN), seed=7, stream=3, counter=(5, 2)).numpy()
    kept = iter((draws < 0.4).transpose(1, 0, 2).reshape(-1, HIDDEN))  # text by text
    expected = by_hand(x, weight, bias, hidden, previous, lambda f: np.where(next(kept), 1.0, f))
    np.testing.assert_allclose(got, expected[0], rtol=1e-12)
    np.testing.assert_allclose(last, expected[1], rtol=1e-12)
    mean, _ = nondet_ext.qrnn(*tensors, hidden=torch.from_numpy(hidden), **zoned)
    expected = by_hand(x, weight, bias, hidden, previous, lambda f: 1 - 0.6 * (1 - f))
    np.testing.assert_allclose(mean, expected[0], rtol=1e-12)
    assert not np.allclose(got, mean)


def test_every_dtype():
    x, weight, bias, hidden, _ = arguments(1, 3)
    exact, _ = by_hand(x, weight, bias, hidden, np.zeros((B, INPUTS)))
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        tensors = [torch.from_numpy(each).to(dtype) for each in (x, weight, bias)]
        got, last = nondet_ext.qrnn(*tensors, hidden=torch.from_numpy(hidden).to(dtype))
        assert got.dtype == last.dtype == dtype
        # States are below 2 in absolute value and have a few dozen roundings.
        assert (got.double() - torch.from_numpy(exact)).abs().max() < 60 * torch.finfo(dtype).eps


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"x": torch.ones(6, 4)}, r"x must have shape \(T, B, I\) with T at least 1, got \(6, 4\)"),
        ({"x": torch.ones(0, 3, 4)}, "x must have shape"),
        ({"weight": torch.ones(16, 4)}, r"weight must have shape \(3 H, 4\), got \(16, 4\)"),
        ({"weight": torch.ones(15, 5)}, r"weight must have shape \(3 H, 4\), got \(15, 5\)"),
        ({"window": 2}, r"weight must have shape \(3 H, 8\), got \(15, 4\)"),
        ({"window": 3}, r"window must be in \[1, 2\], got 3"),
        ({"previous": torch.ones(3, 4)}, "previous is given, but a window of 1"),
        ({"zoneout": 1.0}, r"zoneout must lie in \[0, 1\), got 1.0"),
        ({"zoneout": 0.1, "training": True}, r"key must be \(seed, stream\) in training"),
        ({"hidden": torch.ones(3, 4)}, r"hidden must have shape \(3, 5\) to go with x"),
        ({"bias": torch.ones(14)}, r"bias must have shape \(15,\) to go with weight, got \(14,\)"),
        ({"hidden": torch.ones(3, 5, device="meta")}, "hidden must be on cpu as x is, got meta"),
    ],
)
def test_bad_arguments_are_named(changed, message):
    given = {"x": torch.ones(6, 3, 4), "weight": torch.ones(15, 4), **changed}
    with pytest.raises(ValueError, match=message):
        nondet_ext.qrnn(**given)


@pytest.mark.parametrize("name", ["weight", "bias", "hidden", "previous"])
def test_one_dtype(name):
    shapes = {"weight": (15, 8), "bias": 15, "hidden": (3, 5), "previous": (3, 4)}
    given = {each: torch.ones(shape) for each, shape in shapes.items()}
    given[name] = given[name].double()
    with pytest.raises(TypeError, match=f"{name} must be torch.float32 as .* got torch.float64"):
        nondet_ext.qrnn(torch.ones(6, 3, 4), window=2, **given)


def test_previous_must_fit():
    with pytest.raises(ValueError, match=r"previous must have shape \(3, 4\) to go with x"):
        nondet_ext.qrnn(torch.ones(6, 3, 4), torch.ones(15, 8), window=2, previous=torch.ones(3, 5))
