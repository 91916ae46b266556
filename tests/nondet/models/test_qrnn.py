"""The quasi-recurrent language model: its equations, its masks, its initial weights."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from factories.texts import QUIET, SPEC
from nondet.models import (
    QRNNLanguageModel,
    build_language_model,
    set_step_key,
    stochastic_layers,
)
from nondet.models.dropout import EmbeddingDropout, LockedDropout, WeightDropout, Zoneout
from nondet.models.initialize import initialize
from nondet.studies.seeds import Seeds
from nondet.studies.specs import LanguageSpec
from nondet_ext import philox_normal, philox_uniform

KEY = Seeds(init=3).key("init")
DRAWS = Seeds(stochastic=5).key("stochastic")
TYPES = 11
TOKENS = torch.arange(12).view(6, 2) * 7 % TYPES


def build(spec=QUIET, **settings):
    return build_language_model(replace(spec, **settings), TYPES, KEY)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def reference_logits(model, tokens, window):
    """Compute the logits in float64, token by token (Bradbury et al. 2017, eq. 3 and 4)."""
    weights = {name: x.double().numpy() for name, x in model.state_dict().items()}
    embedding, layers = weights["encoder.weight"], model.spec.layers
    logits = np.empty((*tokens.shape, TYPES))
    for column in range(tokens.shape[1]):
        cells = [0.0] * layers
        before = np.zeros(model.spec.embedding)
        for t in range(len(tokens)):
            x = embedding[tokens[t, column]]
            for layer in range(layers):
                seen = x
                if layer == 0 and window == 2:
                    seen, before = np.concatenate([x, before]), x
                gates = weights[f"layers.{layer}.gates.weight"] @ seen
                gates = gates + weights[f"layers.{layer}.gates.bias"]
                z, f, o = np.split(gates, 3)
                f = sigmoid(f)
                cells[layer] = f * cells[layer] + (1 - f) * np.tanh(z)
                x = sigmoid(o) * cells[layer]
            logits[t, column] = embedding @ x + weights["decoder.bias"]
    return logits


@pytest.mark.parametrize("window", [1, 2])
@pytest.mark.parametrize("layers", [1, 3])
def test_equations(window, layers):
    model = build(window=window, layers=layers).eval()
    with torch.no_grad():
        model.decoder.bias.copy_(torch.linspace(-1, 1, TYPES))
        for layer in model.layers:
            layer.gates.weight.mul_(3)
        output = model(TOKENS)
    assert output.logits.shape == (6, 2, TYPES)
    np.testing.assert_allclose(
        output.logits, reference_logits(model, TOKENS.numpy(), window), atol=1e-6
    )


@pytest.mark.parametrize("window", [1, 2])
def test_segments_go_on_where_the_one_before_ended(window):
    model = build(window=window).eval()
    whole = model(TOKENS)
    state, parts = None, []
    for segment in TOKENS.split([1, 3, 2]):
        output = model(segment, state)
        state = output.state
        parts.append(output.logits)
    np.testing.assert_allclose(torch.cat(parts).detach(), whole.logits.detach(), atol=1e-6)
    assert [x.shape for x in state] == [x.shape for x in model.initial_state(2)]
    for mine, theirs in zip(state, whole.state, strict=True):
        np.testing.assert_allclose(mine.detach(), theirs.detach(), atol=1e-6)


def test_hidden_states_are_what_the_layers_give():
    model = build(SPEC).eval()
    found, state = model.hidden_states(TOKENS)
    assert list(found) == list(model.taps) == ["embedding", "layer1", "layer2"]
    assert torch.equal(found["embedding"], model.encoder(TOKENS))
    output = model(TOKENS)
    assert torch.equal(found["layer2"], output.raw)
    assert torch.equal(output.raw, output.dropped)
    assert all(map(torch.equal, state, output.state))
    assert found["layer1"].shape == (6, 2, 16)


def test_the_decoder_is_the_embedding():
    """The embedding's gradient is the sum of both uses, and there is no second weight."""
    model = build()
    assert sum(x.shape == (TYPES, 12) for x in model.state_dict().values()) == 1
    model(TOKENS).logits.square().sum().backward()
    tied = model.encoder.weight.grad.clone()
    model.zero_grad()
    embedded, decoding = model.encoder.weight.detach().clone().requires_grad_(), None
    decoding = model.encoder.weight.detach().clone().requires_grad_()
    x = embedded[TOKENS]
    state = model.initial_state(2)
    for number, layer in enumerate(model.layers):
        x, _ = layer(x, state[number], state[-1] if number == 0 else None)
    (x @ decoding.T + model.decoder.bias).square().sum().backward()
    np.testing.assert_allclose(tied, embedded.grad + decoding.grad, rtol=1e-5, atol=1e-6)
    assert embedded.grad.abs().sum() > 0


def test_gradients_reach_every_parameter():
    model = build(SPEC).train()
    set_step_key(stochastic_layers(model), DRAWS, 3)
    model(TOKENS).logits.square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


# -- stochastic operations -----------------------------------------------------------------------


def uniform(shape, step, number):
    return philox_uniform(shape, seed=DRAWS.seed, stream=DRAWS.stream, counter=(step, number))


def drawn(layer, step=4, number=2):
    layer.train()
    layer.set_step_key(DRAWS, step, number)
    return layer


def test_locked_masks_are_the_same_at_every_step_of_the_text():
    x = torch.ones(5, 3, 4)
    found = drawn(LockedDropout(0.3))(x)
    expected = (uniform((1, 3, 4), 4, 2) >= 0.3).float() / np.float32(0.7)
    assert torch.equal(found, expected.expand(5, 3, 4))
    assert len(found.unique()) == 2


def test_whole_types_are_dropped():
    x = torch.ones(6, 2, 3)
    found = drawn(EmbeddingDropout(0.4))(x, TOKENS, TYPES)
    kept = (uniform((TYPES, 1), 4, 2) >= 0.4).float() / np.float32(0.6)
    for t in range(6):
        for b in range(2):
            assert torch.equal(found[t, b], kept[TOKENS[t, b]].expand(3))
    assert len(found.unique()) == 2


def test_elements_of_weights_are_dropped():
    weight = torch.ones(9, 4)
    found = drawn(WeightDropout(0.5))(weight)
    assert torch.equal(found, (uniform((9, 4), 4, 2) >= 0.5).float() * 2)


@pytest.mark.parametrize("kind", [LockedDropout, WeightDropout])
def test_masks_differ_by_step_layer_and_seed(kind):
    x = torch.ones(4, 50)
    base = drawn(kind(0.5))(x)
    assert torch.equal(base, drawn(kind(0.5))(x))
    for step, number in ((5, 2), (4, 3)):
        assert not torch.equal(base, drawn(kind(0.5), step, number)(x))
    other = kind(0.5).train()
    other.set_step_key(Seeds(stochastic=6).key("stochastic"), 4, 2)
    assert not torch.equal(base, other(x))
    assert torch.equal(drawn(kind(0.5)).eval()(x), x)
    with pytest.raises(RuntimeError, match="set_step_key must be called first"):
        kind(0.5).train()(x)


def test_the_window_sees_the_dropped_input_of_the_segment_before():
    model = build(window=2, dropout_input=0.5).train()
    set_step_key(stochastic_layers(model), DRAWS, 0)
    output = model(TOKENS)
    dropped = model.input_dropout(model.encoder(TOKENS))
    assert not torch.equal(dropped, model.encoder(TOKENS))
    assert torch.equal(output.state[-1], dropped[-1])


def test_states_are_zoned_out_by_the_draws_of_their_layer():
    """The forget gates are almost closed, so that a state survives only by zoneout."""
    layer = build(layers=1, window=1, zoneout=0.4).layers[0].train()
    with torch.no_grad():
        layer.gates.weight.zero_()
        layer.gates.bias.zero_()
        layer.gates.bias[12:24] = -100.0
        layer.gates.bias[24:] = 100.0
        layer.zoneout.set_step_key(DRAWS, 4, 2)
        cell = torch.arange(1.0, 25.0).view(2, 12)
        output, last = layer(torch.zeros(3, 2, 12), cell, None)
    kept = uniform((3, 2, 12), 4, 2) < 0.4
    expected = cell
    for t in range(3):
        expected = torch.where(kept[t], expected, torch.zeros(()))
        assert torch.equal(output[t], expected)
    assert torch.equal(last, expected)
    with torch.no_grad():
        expectation, _ = layer.eval()(torch.zeros(1, 2, 12), cell, None)
    np.testing.assert_allclose(expectation[0], 0.4 * cell, rtol=1e-6)


def test_every_kind_is_numbered():
    model = build(SPEC)
    kinds = [type(layer).__name__ for layer in stochastic_layers(model)]
    assert kinds == [
        "EmbeddingDropout",
        "LockedDropout",
        *["WeightDropout", "Zoneout"] * 2,
        *["LockedDropout"] * 2,
    ]
    assert stochastic_layers(build()) == []
    assert isinstance(stochastic_layers(build(zoneout=0.1))[0], Zoneout)


@pytest.mark.parametrize(
    ("changed", "where"),
    [
        ({"dropout_embedding": 0.5}, "logits"),
        ({"dropout_input": 0.5}, "logits"),
        ({"dropout_hidden": 0.5}, "raw"),
        ({"dropout_weight": 0.5}, "raw"),
        ({"zoneout": 0.5}, "raw"),
        ({"dropout_output": 0.5}, "dropped"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_each_probability_is_felt_in_training_alone(changed, where):
    plain, model = build(), build(**changed)
    set_step_key(stochastic_layers(model), DRAWS, 0)
    mine, theirs = model.train()(TOKENS), plain(TOKENS)
    assert not torch.equal(getattr(mine, where), getattr(theirs, where))
    if where == "dropped":
        assert torch.equal(mine.raw, theirs.raw)
    if changed.get("zoneout") is None:
        assert torch.equal(model.eval()(TOKENS).logits, plain.eval()(TOKENS).logits)


# -- initial weights -----------------------------------------------------------------------------


def test_initial_weights_are_draws_by_number():
    model = build(layers=2)
    for number, (name, parameter) in enumerate(model.named_parameters()):
        if name == "decoder.bias":
            assert parameter.abs().sum() == 0
            continue
        draws = philox_uniform(
            tuple(parameter.shape), seed=KEY.seed, stream=KEY.stream, counter=(number,)
        )
        inputs = {"encoder": 100, "layers.0": 24, "layers.1": 16}
        fan = next(value for start, value in inputs.items() if name.startswith(start))
        reach = 0.1 if fan == 100 else fan**-0.5
        np.testing.assert_allclose(
            parameter.detach(), (2 * draws.numpy() - 1) * reach, rtol=1e-6, atol=1e-9
        )


def test_initial_weights_depend_on_the_key_alone():
    one, again, other = (
        build_language_model(SPEC, TYPES, Seeds(init=seed).key("init")) for seed in (3, 3, 4)
    )
    for name, parameter in one.state_dict().items():
        assert torch.equal(parameter, again.state_dict()[name])
        assert torch.equal(parameter, other.state_dict()[name]) == (name == "decoder.bias")


def test_plain_embeddings_stay_normal():
    model = torch.nn.Sequential(torch.nn.Embedding(7, 5))
    initialize(model, KEY)
    expected = philox_normal((7, 5), seed=KEY.seed, stream=KEY.stream, counter=(0,))
    assert torch.equal(model[0].weight, expected)


def test_the_paper_s_size():
    """Widths 256 and 512, 3 layers, 10,000 words: over half of the parameters are the embedding."""
    with torch.device("meta"):
        model = QRNNLanguageModel(LanguageSpec(), 10_000)
    sizes = {name: x.numel() for name, x in model.named_parameters()}
    gates = 3 * 512 * (2 * 256 + 1) + 3 * 512 * (512 + 1) + 3 * 256 * (512 + 1)
    assert sum(sizes.values()) == 10_000 * 256 + 10_000 + gates


def test_no_types_are_refused():
    with pytest.raises(ValueError, match="vocabulary_size is 0; it must be at least 1"):
        build_language_model(SPEC, 0, KEY)
