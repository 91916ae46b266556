"""Test that runs which cannot be measured are refused before anything is computed."""

from dataclasses import replace

import numpy as np
import pytest

from factories.trained_language import SHORT, store_runs
from nondet.analysis.streaming import stored
from nondet.analysis.streaming.models import StoredModel, check_models
from nondet.analysis.streaming.stored import stored_measures
from nondet.store import Failure, Store, StoreError

TEST = SHORT.test.numpy()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return store_runs(tmp_path_factory.mktemp("language") / "study", (2, 3), SHORT)


@pytest.fixture(autouse=True)
def computes_nothing(monkeypatch):
    def measure(*_, **__):
        raise AssertionError("computed")

    monkeypatch.setattr(stored, "measure", measure)


def with_weights(run, **changes):
    weights = {name.replace(".", "_"): x for name, x in run.records["weights"].items()}
    names = {name.replace(".", "_"): name for name in run.records["weights"]}
    weights = {names.get(name, name): x for name, x in (weights | changes).items() if x is not None}
    return replace(run, records={"weights": weights})


def with_tokens(run, **changes):
    return replace(run, tokens=replace(run.tokens, **changes))


def with_record(run, **changes):
    return replace(run, record={**run.record, **changes})


def with_dataset(run, value):
    return with_record(run, dataset={"end_of_sentence": value})


def nan_in(array):
    changed = array.copy()
    changed.flat[-1] = np.nan
    return changed


BIAS = np.zeros(9, np.float32)

REFUSED = {
    "no weights": (lambda run: replace(run, records={}), "its weights are not stored"),
    "no bias": (lambda run: with_weights(run, decoder_bias=None), "decoder.bias"),
    "flat": (lambda run: with_weights(run, decoder_bias=BIAS[0]), "decoder.bias"),
    "no types": (lambda run: with_weights(run, decoder_bias=BIAS[:0]), "decoder.bias"),
    "types": (lambda run: with_weights(run, decoder_bias=BIAS[:5]), "encoder.weight"),
    "missing": (lambda run: with_weights(run, encoder_weight=None), "encoder.weight"),
    "more": (lambda run: with_weights(run, other=BIAS), "other"),
    "shape": (lambda run: with_weights(run, layers_1_gates_bias=BIAS), r"layers\.1\.gates\.bias"),
    "dtype": (
        lambda run: with_weights(run, decoder_bias=BIAS.astype(np.float64)),
        "decoder.bias are float64",
    ),
    "integers": (
        lambda run: with_weights(run, decoder_bias=BIAS.astype(np.uint16)),
        "decoder.bias are uint16",
    ),
    "not finite": (lambda run: with_weights(run, decoder_bias=nan_in(BIAS)), "not finite"),
    "no tokens": (lambda run: replace(run, tokens=None), "no finished run of a language model"),
    "failed": (
        lambda run: replace(run, failure=Failure("diverged", 1, 1)),
        "no finished run of a language model",
    ),
    "length": (
        lambda run: with_tokens(run, log_probabilities=run.tokens.log_probabilities[:-1]),
        r"log_probabilities are float64 \[59\].* \[60\]",
    ),
    "shape of tokens": (
        lambda run: with_tokens(run, predicted=run.tokens.predicted[:, None]),
        r"predicted are int32 \[60, 1\]",
    ),
    "dtype of tokens": (
        lambda run: with_tokens(run, predicted=run.tokens.predicted.astype(np.float32)),
        "predicted are float32",
    ),
    "range": (
        lambda run: with_tokens(run, predicted=run.tokens.predicted + np.int32(9)),
        r"its predictions must lie in \[0, 9\)",
    ),
    "negative": (
        lambda run: with_tokens(run, predicted=run.tokens.predicted - np.int32(9)),
        r"its predictions must lie in \[0, 9\)",
    ),
    "NaN": (
        lambda run: with_tokens(run, log_probabilities=nan_in(run.tokens.log_probabilities)),
        "log_probabilities hold values that are not finite",
    ),
    "no data set": (lambda run: with_record(run, dataset=None), "end_of_sentence.* None"),
    "list": (lambda run: with_record(run, dataset=["0"]), "end_of_sentence.* None"),
    "no end": (lambda run: with_record(run, dataset={}), "end_of_sentence.* None"),
    "text": (lambda run: with_dataset(run, "first"), "end_of_sentence must be a number"),
    "true": (lambda run: with_dataset(run, True), "end_of_sentence must be a number"),
    "float": (lambda run: with_dataset(run, 0.0), "end_of_sentence must be a number"),
    "digits": (lambda run: with_dataset(run, "٣"), "end_of_sentence must be a number"),
    "below": (lambda run: with_dataset(run, "-1"), "end_of_sentence must be a number"),
    "above": (lambda run: with_dataset(run, "9"), "end_of_sentence must be below 9"),
    "long": (lambda run: with_dataset(run, "9" * 5000), "end_of_sentence must be below 9"),
    "no hashes": (lambda run: with_record(run, hashes=None), "hashes.predictions"),
    "null hash": (lambda run: with_record(run, hashes={"predictions": None}), "hashes.predictions"),
    "short hash": (lambda run: with_record(run, hashes={"predictions": "a"}), "hashes.predictions"),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("position", [0, 1])
def test_runs_that_cannot_be_measured_are_named(trained, tmp_path, case, position):
    change, message = REFUSED[case]
    runs = list(trained)
    runs[position] = change(runs[position])
    store = Store(tmp_path / "study")
    address = runs[position].job.address
    with pytest.raises(StoreError, match=f"run {address} cannot be measured: .*{message}"):
        stored_measures(store, runs, TEST)
    assert not store.measures.exists()


def test_runs_with_other_vocabularies_are_refused(trained):
    weights = trained[1].records["weights"]
    fewer = with_weights(
        trained[1],
        decoder_bias=weights["decoder.bias"][:8],
        encoder_weight=weights["encoder.weight"][:8],
    )
    fewer = with_tokens(fewer, predicted=np.zeros(60, np.int32))
    text = np.minimum(TEST, 7)
    address = fewer.job.address
    with pytest.raises(StoreError, match=f"run {address} .* has 8 types, that of run .* 9"):
        check_models([trained[0], fewer], text)


@pytest.mark.parametrize("change", [np.float64, np.int32])
def test_texts_of_another_form_are_refused(trained, change):
    with pytest.raises(StoreError, match="the test text must be at least 4 tokens"):
        check_models(trained, TEST.astype(change))


def test_texts_that_do_not_fit_are_refused(trained):
    with pytest.raises(StoreError, match="the test text must be at least 4 tokens"):
        check_models(trained, TEST[:3])
    with pytest.raises(StoreError, match="the test text must be at least 4 tokens"):
        check_models(trained, TEST[:, None])
    for shift in (9, -9):
        with pytest.raises(StoreError, match=r"the test text must lie in \[0, 9\)"):
            check_models(trained, TEST + shift)
    with pytest.raises(StoreError, match=f"run {trained[0].job.address} .* must be float64"):
        check_models(trained, TEST[:-1])


@pytest.mark.parametrize("value", [0, "0", "8", 8])
def test_the_end_of_sentence_is_a_number_or_its_digits(trained, value):
    check_models([with_dataset(run, value) for run in trained], TEST)
    assert StoredModel(with_dataset(trained[0], value), TEST).end_of_sentence == int(value)
