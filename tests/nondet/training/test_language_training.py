"""The training of language models: its arithmetic, its sources of nondeterminism, its bits."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from factories.texts import CONFIG, QUIET, SPEC, random_text, text_of
from nondet.execute.resume import difference_of
from nondet.models import build_language_model, set_step_key, stochastic_layers
from nondet.studies.seeds import HELD, Onset, Seeds
from nondet.studies.specs import LanguageSpec, PerturbationSpec
from nondet.training.determinism import deterministic
from nondet.training.language import LanguageTraining
from nondet.training.loop import make_training, train
from nondet.training.recorders import Weights
from nondet.training.result import DivergedError
from nondet.training.segments import segment_lengths
from nondet.training.text_evaluation import predict_tokens
from nondet_ext import philox_normal, philox_uniform


@pytest.fixture(scope="module")
def text():
    return random_text()


def finished(config, seeds, text, onset=None):
    with deterministic(1):
        training = make_training(config, seeds, text, onset)
        while training.step < training.total_steps:
            training.advance()
    return training


def test_a_tiny_text_is_learned_by_heart():
    tokens = ([1, 2, 3, 4, 5, 3, 0] * 40)[:240]
    text = text_of(tokens, tokens[:35], tokens[:35], 6)
    result = train(replace(CONFIG, epochs=30, language=QUIET), Seeds(), text)
    # What follows a 3 depends on what came before it: 4 or 0.
    assert result.history[0].test_cross_entropy > 1.0
    assert result.history[-1].train_loss < 0.05
    assert -result.tokens.log_probabilities[7:].mean() < 0.05
    assert result.tokens.predicted[7:].tolist() == tokens[7:35]


def test_a_step_is_plain_sgd_on_one_segment(text):
    """Compare two steps with autograd: columns, carried state, learning rates, clipping."""
    spec = replace(QUIET, activation_reg=2.0, temporal_reg=1.0, clip=0.05, dropout_output=0.4)
    config = replace(
        CONFIG, optimizer="sgd", momentum=0.0, lr=0.7, weight_decay=0.01, language=spec
    )
    with deterministic(1):
        training = LanguageTraining(config, Seeds(), text)
        training.advance()
        training.advance()
        model = build_language_model(spec, 9, Seeds().key("init"), "cpu").train()
        columns = torch.stack([text.train[k * 100 : (k + 1) * 100] for k in range(4)], 1)
        state = model.initial_state(4)
        for step, begin in enumerate((0, 10)):
            set_step_key(stochastic_layers(model), Seeds().key("stochastic"), step)
            inputs, targets = columns[begin : begin + 10], columns[begin + 1 : begin + 11]
            output = model(inputs, tuple(x.detach() for x in state))
            state = output.state
            chances = output.logits.double().log_softmax(2)
            loss = -chances.gather(2, targets[..., None]).mean()
            loss = loss + 2.0 * (output.dropped**2).mean()
            loss = loss + ((output.raw[1:] - output.raw[:-1]) ** 2).mean()
            model.zero_grad()
            loss.backward()
            norm = math.sqrt(sum(float(p.grad.double().square().sum()) for p in model.parameters()))
            assert norm > 0.05  # else nothing is clipped
            with torch.no_grad():
                for p in model.parameters():
                    p -= 0.7 * (p.grad * (0.05 / norm) + 0.01 * p)
    for mine, theirs in zip(training.model.parameters(), model.parameters(), strict=True):
        np.testing.assert_allclose(mine.detach(), theirs.detach(), atol=2e-6)


def test_rates_follow_the_lengths_of_the_segments(text):
    config = replace(CONFIG, lr=0.02, language=replace(SPEC, bptt=20))
    seen = []
    training = LanguageTraining(config, Seeds(), text)
    with deterministic(1):
        while training.epochs_done == 0:
            training.advance()
            seen.append(training.optimizer.param_groups[0]["lr"])
    lengths = segment_lengths(config.language, 99, Seeds().key("stochastic"), 0)
    assert len(set(lengths)) > 1
    assert seen == [0.02 * length / 20 for length in lengths]


def test_every_epoch_begins_with_a_state_of_zeros_and_carries_it_on(text):
    training = LanguageTraining(replace(CONFIG, epochs=2, language=QUIET), Seeds(), text)
    begun, ended, forward = [], [], training.model.forward

    def watched(tokens, state=None):
        output = forward(tokens, state)
        if training.model.training:
            begun.append([x.clone() for x in state])
            ended.append([x.detach().clone() for x in output.state])
        return output

    training.model.forward = watched
    with deterministic(1):
        while training.step < training.total_steps:
            training.advance()
    assert len(begun) == 20
    for step, states in enumerate(begun):
        if step in (0, 10):
            assert not any(x.any() for x in states)
        else:
            assert all(map(torch.equal, states, ended[step - 1]))
            assert all(x.any() for x in states)


def test_perplexity_of_a_case_by_hand():
    """All weights are 0 but the decoder's biases, so that the model predicts fixed frequencies."""
    text = random_text()
    training = LanguageTraining(replace(CONFIG, language=QUIET), Seeds(), text)
    with torch.no_grad():
        for parameter in training.model.parameters():
            parameter.zero_()
        [bias] = [p for p in training.model.parameters() if p.shape == (9,)]
        bias.copy_(torch.log(torch.arange(1, 10, dtype=torch.float32)))
    found = predict_tokens(training.model, text.test, text.end_of_sentence)
    expected = np.log((text.test.numpy() + 1) / 45)
    np.testing.assert_allclose(found.log_probabilities, expected, rtol=1e-6)
    perplexity = math.exp(-found.log_probabilities.mean())
    by_hand = math.prod(45 / (int(token) + 1) for token in text.test) ** (1 / 40)
    assert perplexity == pytest.approx(by_hand, rel=1e-6)
    assert found.predicted.tolist() == [8] * 40


def test_every_token_is_predicted_from_all_before_it(text, monkeypatch):
    """Blocks pass the state on: their length changes only rounding."""
    model = LanguageTraining(CONFIG, Seeds(), text).model
    whole = predict_tokens(model, text.test, text.end_of_sentence)
    monkeypatch.setattr("nondet.training.text_evaluation.EVALUATION_TOKENS", 7)
    pieces = predict_tokens(model, text.test, text.end_of_sentence)
    np.testing.assert_allclose(pieces.log_probabilities, whole.log_probabilities, atol=1e-5)
    other = torch.cat([text.test[:20], text.test[20:].flip(0)])
    changed = predict_tokens(model, other, text.end_of_sentence)
    assert changed.log_probabilities[:20] == pytest.approx(pieces.log_probabilities[:20], abs=1e-5)


def test_equal_seeds_end_in_equal_bits(text):
    seeds = Seeds(init=3, stochastic=4, bit=5)
    ends = [finished(CONFIG, seeds, text).state() for _ in range(2)]
    assert difference_of(*ends) is None


def test_every_source_varies_what_is_its_own(text):
    base = finished(CONFIG, Seeds(), text)

    def first(seeds, config=CONFIG):
        return [p.detach() for p in LanguageTraining(config, seeds, text).model.parameters()]

    for seeds in (Seeds(init=2), Seeds(stochastic=2), Seeds(bit=2)):
        other = finished(CONFIG, seeds, text)
        assert difference_of(base.state(), other.state()) is not None
        equal = all(map(torch.equal, first(seeds), first(Seeds())))
        assert equal == (seeds.init == HELD)
        assert (other.epoch_ends == base.epoch_ends) == (seeds.stochastic == HELD)
        assert len(other.perturbations) == (seeds.bit != HELD)
    # Without masks and drawn lengths nothing is stochastic; there is no order to shuffle.
    quiet = replace(CONFIG, language=QUIET)
    for seeds in (Seeds(stochastic=2), Seeds(shuffle=2), Seeds(augment=2), Seeds(lowlevel=2)):
        held = finished(quiet, Seeds(), text).state()
        assert (
            difference_of(
                replace_identity(held), replace_identity(finished(quiet, seeds, text).state())
            )
            is None
        )


def replace_identity(state):
    return replace(state, record={**state.record, "identity": None})


@pytest.mark.parametrize(
    "changed",
    [
        {"variable_bptt": True},
        {"dropout_embedding": 0.3},
        {"dropout_input": 0.3},
        {"dropout_hidden": 0.3},
        {"dropout_output": 0.3},
        {"dropout_weight": 0.3},
        {"zoneout": 0.3},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_one_seed_is_shared_by_all_stochastic_operations(text, changed):
    config = replace(CONFIG, epochs=1, language=replace(QUIET, **changed))
    assert config.language.stochastic
    ends = [finished(config, Seeds(stochastic=seed), text).state() for seed in (2, 2, 3)]
    assert difference_of(ends[0], ends[1]) is None
    weights = [{k: v for k, v in end.tensors.items() if k.startswith("weights")} for end in ends]
    assert any(not torch.equal(x, weights[2][name]) for name, x in weights[0].items())


def test_late_sources_share_their_beginning(text):
    held = finished(CONFIG, Seeds(), text)
    late = finished(CONFIG, Seeds(stochastic=2), text, Onset(stochastic=2))
    assert [x.weights_sha256 for x in late.history[:2]] == [
        x.weights_sha256 for x in held.history[:2]
    ]
    assert late.history[2].weights_sha256 != held.history[2].weights_sha256
    assert late.epoch_ends[:2] == held.epoch_ends[:2]


@pytest.mark.parametrize("averaging", ["none", "ema", "triggered"])
def test_stopping_anywhere_changes_no_bit(text, averaging, monkeypatch):
    """Also within an epoch, where the network's state is carried on, and after averaging began."""
    if averaging == "triggered":  # a validation loss that rises, as weights grow
        monkeypatch.setattr(
            "nondet.training.language.mean_loss",
            lambda model, *_: sum(float(p.detach().abs().sum()) for p in model.parameters()),
        )
    config = replace(CONFIG, averaging=averaging, language=replace(SPEC, trigger=1), epochs=4)
    seeds, onset = Seeds(init=2, stochastic=2, bit=2), Onset(stochastic=1, bit=1)
    whole = finished(config, seeds, text, onset)
    assert averaging != "triggered" or 0 < whole.averaging.count < whole.total_steps
    begin, end = whole.epoch_ends[1:3]
    for stop in (1, begin - 1, begin, begin + 1, (begin + end) // 2, whole.total_steps - 1):
        with deterministic(1):
            first = make_training(config, seeds, text, onset)
            while first.step < stop:
                first.advance()
            second = make_training(config, seeds, text, onset)
            second.restore(first.state())
            while second.step < second.total_steps:
                second.advance()
        assert difference_of(whole.state(), second.state()) is None
        assert second.result().predictions_sha256 == whole.result().predictions_sha256


def best(config):
    return replace(config, language=replace(config.language, tested="best"))


def late_and_bad(**changed):
    """Return a configuration whose validation loss is lowest before the last epoch."""
    return replace(CONFIG, epochs=4, optimizer="sgd", momentum=0.0, lr=30.0, **changed)


@pytest.mark.parametrize("averaging", ["none", "ema"])
def test_the_best_epoch_can_be_the_result(text, averaging):
    """The oracle is a training of as many epochs, which with a constant rate is the same."""
    config = late_and_bad(averaging=averaging)
    last, chosen = (train(each, Seeds(), text) for each in (config, best(config)))
    losses = [epoch.valid_cross_entropy for epoch in chosen.history]
    number = losses.index(min(losses)) + 1
    assert number < config.epochs, losses  # else there would be nothing to see
    shorter = train(replace(config, epochs=number), Seeds(), text)
    assert chosen.tokens.logits_sha256 == shorter.tokens.logits_sha256
    assert chosen.tokens.logits_sha256 != last.tokens.logits_sha256
    assert chosen.history == last.history


def test_the_weights_on_record_are_those_of_the_best_epoch(text):
    config = best(late_and_bad())
    result = train(config, Seeds(), text, recorders=[Weights()])
    model = build_language_model(config.language, 9, Seeds().key("init"), "cpu")
    arrays = result.records["weights"]
    model.load_state_dict({name: torch.from_numpy(x) for name, x in arrays.items()})
    again = predict_tokens(model, text.test, text.end_of_sentence)
    assert again.logits_sha256 == result.tokens.logits_sha256


@pytest.mark.parametrize("step", [1, 15, 30])
def test_a_resumed_training_has_the_same_best_epoch(text, step):
    config = best(late_and_bad())
    expected = finished(config, Seeds(), text)
    with deterministic(1):
        stopped = make_training(config, Seeds(), text)
        while stopped.step < step:
            stopped.advance()
        state = stopped.state()
        resumed = make_training(config, Seeds(), text)
        resumed.restore(state)
        while resumed.step < resumed.total_steps:
            resumed.advance()
    assert difference_of(expected.state(), resumed.state()) is None
    shas = [each.result().tokens.logits_sha256 for each in (expected, resumed)]
    assert shas[0] == shas[1]


def test_a_state_without_the_best_epoch_is_refused(text):
    config = best(late_and_bad())
    with deterministic(1):
        training = finished(replace(config, epochs=1), Seeds(), text)
        state = training.state()
        tensors = {k: x for k, x in state.tensors.items() if not k.startswith("best.")}
        with pytest.raises(ValueError, match=r"it lacks best\."):
            make_training(config, Seeds(), text).restore(replace(state, tensors=tensors))


def test_a_state_of_another_network_is_refused(text):
    training = LanguageTraining(CONFIG, Seeds(), text)
    other = LanguageTraining(replace(CONFIG, batch_size=5), Seeds(), text)
    with pytest.raises(ValueError, match=r"'state\.0' is .* of shape \(5, 16\)"):
        training.restore(other.state())


def test_averaging_begins_when_validation_stops_improving(text, monkeypatch):
    config = replace(CONFIG, averaging="triggered", epochs=6, language=replace(SPEC, trigger=2))
    losses = iter([5.0, 4.0, 4.5, 4.4, 4.6, 4.0])
    monkeypatch.setattr("nondet.training.language.mean_loss", lambda *_: next(losses))
    training = LanguageTraining(config, Seeds(), text)
    weights = []
    with deterministic(1):
        while training.step < training.total_steps:
            training.advance()
            if training.epochs_done >= 5 and training.step > training.epoch_ends[4]:
                weights.append([p.detach().double().clone() for p in training.model.parameters()])
            # 4.6 in epoch 5 is the first above the best of all but the last two before: 4.0.
            assert training.triggered == (training.epochs_done >= 5)
    assert training.averaging.count == len(weights) > 2
    means = [torch.stack(column).mean(0) for column in zip(*weights, strict=True)]
    with training.evaluation_model() as model:
        for mean, parameter in zip(means, model.parameters(), strict=True):
            np.testing.assert_allclose(parameter.detach(), mean, atol=1e-6)


def test_history_has_the_validation_loss(text):
    result = train(replace(CONFIG, epochs=2, evaluate_every=2), Seeds(), text)
    assert [epoch.test_cross_entropy is None for epoch in result.history] == [True, False]
    assert all(0 < epoch.valid_cross_entropy < 3 for epoch in result.history)
    assert result.logits is None
    assert result.predictions.keys() == {"log_probabilities", "predicted"}
    accuracy = (result.tokens.predicted == text.test.numpy()).mean()
    assert result.history[-1].test_accuracy == accuracy
    assert result.history[-1].test_cross_entropy == -result.tokens.log_probabilities.mean()


def test_training_loss_is_the_mean_over_tokens(text):
    """Without learning it is the loss of the whole text, whatever the lengths of the segments."""
    spec = replace(QUIET, variable_bptt=True, activation_reg=2.0)
    config = replace(CONFIG, epochs=1, optimizer="sgd", lr=0.0, language=spec)
    training = finished(config, Seeds(), text)
    columns = torch.stack([text.train[k * 100 : (k + 1) * 100] for k in range(4)], 1)
    with torch.no_grad():
        chances = training.model.eval()(columns[:-1]).logits.double().log_softmax(2)
    expected = -float(chances.gather(2, columns[1:, :, None]).mean())
    assert training.history[0].train_loss == pytest.approx(expected, rel=1e-6)


def test_a_training_that_diverges_says_when(text):
    config = replace(CONFIG, optimizer="sgd", lr=1e300, language=replace(QUIET, clip=0.0))
    with pytest.raises(DivergedError, match="in epoch 1"):
        train(config, Seeds(), text)


@pytest.mark.parametrize("steps", [1, 4, 5, 69, 70, 71, 1000])
@pytest.mark.parametrize("variable", [False, True])
def test_segments_are_the_whole_epoch(steps, variable):
    spec = LanguageSpec(variable_bptt=variable)
    lengths = segment_lengths(spec, steps, Seeds().key("stochastic"), 3)
    assert sum(lengths) == steps
    assert min(lengths) >= 1
    assert all(length >= 5 for length in lengths[:-1])


def test_lengths_are_the_draws_of_their_epoch():
    key = Seeds(stochastic=7).key("stochastic")
    lengths = segment_lengths(LanguageSpec(bptt=20), 100_000, key, 2)
    count = len(lengths)
    uniform = philox_uniform((20_000,), seed=7, stream=key.stream, counter=(2, 0, 2)).numpy()
    normal = philox_normal((20_000,), seed=7, stream=key.stream, counter=(2, 0, 3)).numpy()
    for i in range(count - 1):
        mean = 10.0 if uniform[i] < 0.05 else 20.0
        assert lengths[i] == max(5, math.trunc(mean + 5 * float(normal[i])))
    assert abs(np.mean(lengths) - 19.1) < 0.3
    assert lengths != segment_lengths(LanguageSpec(bptt=20), 100_000, key, 3)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"lowlevel": "seeded"}, "lowlevel is 'seeded', which the training of a language model"),
        ({"flip": True}, "flip is True"),
        ({"schedule": "snapshots", "cycles": 1, "warmup_epochs": 0}, "schedule is 'snapshots'"),
        ({"averaging": "swa"}, "averaging is 'swa'"),
        ({"dropout": 0.1}, r"dropout is 0\.1"),
        (
            {"perturbation": PerturbationSpec(target="pixel")},
            r"perturbation\.target is 'pixel', of which a language model has nothing",
        ),
        (
            {"perturbation": PerturbationSpec(target="statistics")},
            r"perturbation\.target is 'statistics', of which a language model has nothing",
        ),
        ({"language": None, "averaging": "triggered"}, "averaging is 'triggered', which only"),
    ],
)
def test_settings_of_images_are_refused(changed, message):
    with pytest.raises(ValueError, match=message):
        replace(CONFIG, **changed)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"layers": 0}, r"language\.layers is 0; it must be at least 1"),
        ({"bptt": 2.5}, r"language\.bptt is 2\.5; it must be an integer"),
        ({"window": 3}, r"language\.window is 3; known: 1, 2"),
        ({"zoneout": 1.0}, r"language\.zoneout is 1\.0; it must lie in \[0, 1\)"),
        ({"clip": -1}, r"language\.clip is -1; it must be a finite number, not negative"),
        ({"clip": -1.0}, r"language\.clip is -1\.0; it must be a finite number, not negative"),
        ({"activation_reg": math.nan}, r"language\.activation_reg is nan"),
    ],
)
def test_language_settings_are_checked(changed, message):
    with pytest.raises((ValueError, TypeError), match=message):
        LanguageSpec(**changed)


def test_texts_and_images_are_not_mixed_up(text, digits, config):
    with pytest.raises(ValueError, match="language is not given, but the data set"):
        make_training(replace(CONFIG, language=None), Seeds(), text)
    with pytest.raises(ValueError, match="language is given, but the data set"):
        make_training(CONFIG, Seeds(), digits)
    with pytest.raises(ValueError, match="batch_size is 300; the 400 tokens of the training text"):
        make_training(replace(CONFIG, batch_size=300), Seeds(), text)
