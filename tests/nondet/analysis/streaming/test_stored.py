"""Test the measures of stored language models, from training to the numbers of a table."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import nondet_ext
from factories.texts import CONFIG, random_text
from nondet import metrics
from nondet.analysis.streaming import stored
from nondet.analysis.streaming.stored import StoredModel, stored_measures
from nondet.execute.jobs import dataset_facts
from nondet.store import Store
from nondet.store.verification import verify
from nondet.studies.job import Job
from nondet.studies.seeds import Onset, Seeds
from nondet.training.determinism import deterministic
from nondet.training.loop import make_training, train
from nondet.training.recorders import make_recorders

CONFIGURATION = replace(CONFIG, epochs=1)
TEXT = random_text(test=1100)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return a store, its three runs with different initial weights, and their logits."""
    store = Store(tmp_path_factory.mktemp("language") / "study")
    store.runs.mkdir(parents=True)
    logits = []
    for seed in (2, 3, 4):
        seeds = Seeds(init=seed)
        recorders = make_recorders({"weights"}, CONFIGURATION, seeds, Onset(), TEXT)
        result = train(CONFIGURATION, seeds, TEXT, recorders=recorders)
        job = Job(CONFIGURATION, seeds)
        store.save(job, result, {}, 1.0, dataset_facts(TEXT))
        with deterministic(1):
            training = make_training(CONFIGURATION, seeds, TEXT)
            while training.step < training.total_steps:
                training.advance()
            model = training.model.eval()
            given = torch.cat([torch.zeros(1, dtype=torch.int64), TEXT.test[:-1]])
            state, parts = None, []
            with torch.no_grad():
                for segment in given.split(1024):
                    output = model(segment[:, None], state)
                    state = output.state
                    parts.append(output.logits[:, 0])
        logits.append(torch.cat(parts).numpy())
    runs = [store.load(Job(CONFIGURATION, Seeds(init=seed)), {"weights"}) for seed in (2, 3, 4)]
    return store, runs, np.stack(logits)


def test_a_stored_run_describes_its_text(trained):
    run = trained[1][0]
    assert run.record["dataset"] == {"made": "up", "end_of_sentence": "0"}
    assert run.logits is None
    assert run.history[-1]["valid_cross_entropy"] > 0
    assert set(run.records) == {"weights"}


def test_logits_are_reproduced_bit_for_bit(trained):
    _, runs, logits = trained
    for run, expected in zip(runs, logits, strict=True):
        source = StoredModel(run, TEXT.test.numpy())
        assert (source.tokens, source.types) == expected.shape
        for _ in range(2):
            assert np.concatenate(list(source.blocks())).tobytes() == expected.tobytes()


def test_other_logits_give_a_warning(trained):
    run = trained[1][0]
    weights = {name: x.copy() for name, x in run.records["weights"].items()}
    weights["decoder.bias"][0] += 1e-3
    changed = replace(run, records={"weights": weights})
    with pytest.warns(UserWarning, match="computed here are not bit for bit those of its training"):
        list(StoredModel(changed, TEXT.test.numpy()).blocks())


def test_measures_equal_those_in_memory(trained, tmp_path):
    _, runs, logits = trained
    store = Store(tmp_path / "study")
    labels = TEXT.test.numpy()
    found = stored_measures(store, runs, labels)
    np.testing.assert_array_equal(found.correlation, metrics.correlation_matrix(logits))
    np.testing.assert_array_equal(found.disagreement, metrics.disagreement_matrix(logits))
    np.testing.assert_allclose(
        found.cross_entropies, metrics.cross_entropy(logits, labels), rtol=1e-12
    )
    np.testing.assert_array_equal(found.accuracies, metrics.accuracy(logits, labels))
    chances = np.exp(logits.astype(np.float64))
    chances /= chances.sum(axis=2, keepdims=True)
    right = chances[:, np.arange(len(labels)), labels]
    for i in range(3):
        for j in range(3):
            together = np.exp(-np.log((right[i] + right[j]) / 2).mean())
            change = together - (found.perplexities[i] + found.perplexities[j]) / 2
            assert found.ensemble_perplexity[i, j] == pytest.approx(change, abs=1e-9)
    hidden = [list(StoredModel(run, labels).hidden()) for run in runs]
    for tap in ("embedding", "layer1", "layer2"):
        cka = nondet_ext.CKA()
        for blocks in zip(*hidden, strict=True):
            cka.update([torch.from_numpy(block[tap]) for block in blocks])
        np.testing.assert_allclose(found.cka[tap], cka.compute(), atol=1e-6)


def test_measures_are_computed_once(trained, tmp_path, monkeypatch):
    _, runs, _ = trained
    store, labels = Store(tmp_path / "study"), TEXT.test.numpy()
    first = stored_measures(store, runs, labels)
    calls = []
    measure = stored.measure
    monkeypatch.setattr(stored, "measure", lambda *a, **k: calls.append(1) or measure(*a, **k))
    again = stored_measures(store, runs, labels)
    assert calls == []
    for name, value in vars(first).items():
        np.testing.assert_equal(getattr(again, name), value)
    assert len(list(store.measures.iterdir())) == 1
    stored_measures(store, runs[:2], labels)  # other runs have their own measures
    assert calls == [1]
    for folder in store.measures.iterdir():
        (folder / "measures.safetensors").write_bytes(b"damaged")
    np.testing.assert_array_equal(
        stored_measures(store, runs, labels).correlation, first.correlation
    )
    assert calls == [1, 1]
    stored_measures(store, runs, labels)
    assert calls == [1, 1]


def test_damaged_measures_are_reported(trained, tmp_path):
    _, runs, _ = trained
    store = Store(tmp_path / "study")
    stored_measures(store, runs[:2], TEXT.test.numpy())
    [place] = store.measures.iterdir()
    (store.measures / f"{place.name}.scratch").mkdir()
    assert not [one for one in verify(store.root).problems if "measures in" in one]
    (place / "measures.json").write_text("{}")
    [problem] = [one for one in verify(store.root).problems if "measures in" in one]
    assert "measures.json does not match its SHA-256" in problem
    (place / "measures.json").unlink()
    (place / "other").write_text("")
    [problem] = [one for one in verify(store.root).problems if "measures in" in one]
    assert "SHA256SUMS does not list other" in problem


def test_an_interrupted_computation_resumes(trained, tmp_path, monkeypatch):
    _, runs, _ = trained
    store, labels = Store(tmp_path / "study"), TEXT.test.numpy()
    computed, compute = [], StoredModel.blocks

    def blocks(self):
        if len(computed) == 2:
            raise KeyboardInterrupt
        computed.append(self.run.job.seeds.init)
        return compute(self)

    monkeypatch.setattr(StoredModel, "blocks", blocks)
    with pytest.raises(KeyboardInterrupt):
        stored_measures(store, runs, labels)
    monkeypatch.setattr(StoredModel, "blocks", lambda self: computed.append(0) or compute(self))
    found = stored_measures(store, runs, labels)
    assert computed == [2, 3, 0]  # only the third was missing
    expected = stored_measures(Store(tmp_path / "other"), runs, labels)
    np.testing.assert_array_equal(found.correlation, expected.correlation)
    assert not list(store.measures.glob("*.scratch"))


def test_a_store_that_cannot_be_written_has_measures(trained, tmp_path, monkeypatch):
    _, runs, _ = trained
    (tmp_path / "study").write_text("no folder")
    found = stored_measures(Store(tmp_path / "study"), runs, TEXT.test.numpy())
    assert found.correlation.shape == (3, 3)
