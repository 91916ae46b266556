"""Test the measures of stored language models, from training to the numbers of a table."""

import fcntl
import hashlib
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

import nondet_ext
from factories.trained_language import CONFIGURATION, TEXT, store_runs
from nondet import metrics
from nondet.analysis.streaming import stored
from nondet.analysis.streaming.models import StoredModel
from nondet.analysis.streaming.stored import stored_measures
from nondet.json_files import format_checksummed, parse_checksummed
from nondet.store import Store, StoreError
from nondet.store.folder import write_folder
from nondet.store.measures import ARRAYS, RECORD, format_measures, read_measures
from nondet.store.verification import verify
from nondet.studies.job import Job
from nondet.studies.seeds import Seeds
from nondet.training.determinism import deterministic
from nondet.training.loop import make_training

LABELS = TEXT.test.numpy()
SEEDS = (2, 3, 4)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return a store, its three runs with different initial weights, and their logits."""
    store = Store(tmp_path_factory.mktemp("language") / "study")
    runs = store_runs(store.root, SEEDS)
    logits = []
    for seed in SEEDS:
        with deterministic(1):
            training = make_training(CONFIGURATION, Seeds(init=seed), TEXT)
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
    return store, runs, np.stack(logits)


@pytest.fixture
def study(trained, tmp_path):
    """Return a copy of the store without measures, and its runs."""
    store = Store(shutil.copytree(trained[0].root, tmp_path / "copy"))
    shutil.rmtree(store.measures, ignore_errors=True)
    return store, [store.load(Job(CONFIGURATION, Seeds(init=seed)), {"weights"}) for seed in SEEDS]


@pytest.fixture
def computed(monkeypatch):
    """Return a list that has an element for every computation of measures."""
    calls, measure = [], stored.measure
    monkeypatch.setattr(stored, "measure", lambda *a, **k: calls.append(1) or measure(*a, **k))
    return calls


def same(found, expected):
    for name, value in vars(expected).items():
        np.testing.assert_equal(getattr(found, name), value)


def problems(store):
    """Return what `verify` says about measures."""
    return [one for one in verify(store.root).problems if str(store.measures) in one]


def in_environment(run, **changes):
    environment = {**run.record["environment"], **changes}
    return replace(run, record={**run.record, "environment": environment})


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
    labels = LABELS
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


def test_measures_are_computed_once(study, computed):
    store, runs = study
    first = stored_measures(store, runs, LABELS)
    assert first.notes == ()
    same(stored_measures(store, runs, LABELS), first)
    assert computed == [1]
    assert len(list(store.measures.iterdir())) == 1
    stored_measures(store, runs[:2], LABELS)  # other runs have their own measures
    assert computed == [1, 1]
    assert problems(store) == []


DAMAGE = {
    "arrays": lambda place: (place / ARRAYS).write_bytes(b"damaged"),
    "record": lambda place: (place / RECORD).write_text("{}"),
    "missing": lambda place: (place / RECORD).unlink(),
    "list": lambda place: (place / RECORD).write_text("[" * 100_000),
    "file": lambda place: (shutil.rmtree(place), place.write_text("")),
    "empty": lambda place: (shutil.rmtree(place), place.mkdir()),
    "taps": lambda place: other_taps(place),
}


def other_taps(place):
    """Write undamaged measures without the taps of the model."""
    found = read_measures(place)
    arrays = {name: x for name, x in found.arrays.items() if not name.startswith("cka.")}
    shutil.rmtree(place)
    files = format_measures(replace(found, taps=(), arrays=arrays))
    write_folder(place, files)


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_measures_are_told_and_computed_again(study, computed, damage):
    store, runs = study
    first = stored_measures(store, runs[:2], LABELS)
    [place] = store.measures.iterdir()
    DAMAGE[damage](place)
    if damage != "taps":
        [problem] = problems(store)
        assert f"the measures in {place} are damaged" in problem
    same(stored_measures(store, runs[:2], LABELS), first)
    assert computed == [1, 1]
    assert problems(store) == []
    same(stored_measures(store, runs[:2], LABELS), first)
    assert computed == [1, 1]
    assert list(store.measures.iterdir()) == [place]


def test_exchanged_measures_of_two_rows_are_told_and_computed_again(study, computed):
    store, runs = study
    rows = [runs[:2], runs[1:]]
    expected = [stored_measures(store, row, LABELS) for row in rows]
    one, other = store.measures.iterdir()
    one.rename(store.measures / "aside")
    other.rename(one)
    (store.measures / "aside").rename(other)
    assert len(problems(store)) == 2
    for row, first in zip(rows, expected, strict=True):
        same(stored_measures(store, row, LABELS), first)
    assert len(computed) == 4
    assert problems(store) == []


def test_measures_of_another_row_are_computed_again_in_spite_of_renewed_sums(study, computed):
    """Arrays of another row in a record of this one, with all sums renewed, are not used."""
    store, runs = study
    first = stored_measures(store, runs[:2], LABELS)
    [place] = store.measures.iterdir()
    stored_measures(store, runs[1:], LABELS)
    [other] = set(store.measures.iterdir()) - {place}
    record = parse_checksummed((place / RECORD).read_bytes())
    arrays = (other / ARRAYS).read_bytes()
    record["files"][ARRAYS] = hashlib.sha256(arrays).hexdigest()
    shutil.rmtree(place)
    files = {RECORD: format_checksummed(record), ARRAYS: arrays}
    write_folder(place, files)
    assert len(problems(store)) == 1
    same(stored_measures(store, runs[:2], LABELS), first)
    assert len(computed) == 3


def test_other_predictions_and_texts_have_their_own_measures(study, computed):
    store, runs = study
    stored_measures(store, runs, LABELS)
    hashes = {**runs[0].record["hashes"], "predictions": "0" * 64}
    other = replace(runs[0], record={**runs[0].record, "hashes": hashes})
    stored_measures(store, [other, *runs[1:]], LABELS)
    assert len(computed) == 2
    [problem] = problems(store)
    assert f"of other predictions of run {other.job.address}" in problem
    text = LABELS.copy()
    text[-1] = (text[-1] + 1) % 9
    stored_measures(store, runs, text)
    assert len(computed) == 3


def test_measures_of_runs_trained_elsewhere_are_computed_here_and_say_so(study, computed):
    store, runs = study
    elsewhere = [in_environment(run, torch_cpu_capability="another") for run in runs]
    found = stored_measures(store, elsewhere, LABELS)
    [note] = found.notes
    assert "3 of 3 runs" in note
    assert "torch_cpu_capability: another there, " in note
    same(stored_measures(store, elsewhere, LABELS), found)
    assert computed == [1]
    same(stored_measures(store, runs, LABELS), replace(found, notes=()))  # they are of here
    assert computed == [1]
    assert problems(store) == []
    [note] = stored_measures(store, [elsewhere[0], *runs[1:]], LABELS).notes
    assert "1 of 3 runs" in note


def test_measures_made_where_the_runs_were_trained_are_used_everywhere(
    study, computed, monkeypatch
):
    store, runs = study
    first = stored_measures(store, runs, LABELS)
    here = stored.environment_of
    monkeypatch.setattr(
        stored, "environment_of", lambda s: {**here(s), "torch_cpu_capability": "another"}
    )
    same(stored_measures(store, runs, LABELS), first)
    assert computed == [1]
    mixed = [in_environment(runs[0], torch_cpu_capability="third"), *runs[1:]]
    assert len(stored_measures(store, mixed, LABELS).notes) == 2
    assert computed == [1, 1]
    assert len(list(store.measures.iterdir())) == 2
    mixed = [*runs[:2], in_environment(runs[2], torch_cpu_capability="third")]
    assert len(stored_measures(store, mixed, LABELS).notes) == 2
    assert computed == [1, 1]
    assert problems(store) == []


@pytest.mark.parametrize("environment", [None, [], "x", {"packages": []}, {"nondet_ext": 1}])
def test_runs_with_a_strange_environment_are_measured_and_say_so(study, environment):
    store, runs = study
    strange = [replace(run, record={**run.record, "environment": environment}) for run in runs[:2]]
    [note] = stored_measures(store, strange, LABELS).notes
    assert "not recorded there" in note


class InterruptedAt:
    """Interrupts a computation when it begins with the given part."""

    def __init__(self, what):
        self.what = what

    def __call__(self, done, total, what):
        if what.startswith(self.what):
            raise KeyboardInterrupt


PARTS = ["logits of model 2", "logits of model 3", "correlation: vector 2", "cka.embedding"]


@pytest.mark.parametrize("what", PARTS)
def test_an_interrupted_computation_resumes(trained, study, monkeypatch, what):
    store, runs = study
    expected = stored_measures(trained[0], trained[1], LABELS)
    with pytest.raises(KeyboardInterrupt):
        stored_measures(store, runs, LABELS, progress=InterruptedAt(what))
    assert problems(store) == []
    models, compute = [], StoredModel.blocks
    monkeypatch.setattr(
        StoredModel, "blocks", lambda self: models.append(self.run.job) or compute(self)
    )
    same(stored_measures(store, runs, LABELS), expected)
    assert len(models) == {PARTS[0]: 2, PARTS[1]: 1}.get(what, 0)
    assert not list(store.measures.glob("*.scratch"))


def interrupt(store, runs):
    """Interrupt a computation with all models staged, and return its scratch folder."""
    with pytest.raises(KeyboardInterrupt):
        stored_measures(store, runs, LABELS, progress=InterruptedAt("cka.embedding"))
    [scratch] = store.measures.glob("*.scratch")
    return scratch


def test_a_computation_begun_in_another_environment_is_begun_anew(trained, study, monkeypatch):
    store, runs = study
    expected = stored_measures(trained[0], trained[1], LABELS)
    here = stored.environment_of
    monkeypatch.setattr(stored, "environment_of", lambda s: {**here(s), "torch_threads": 7})
    interrupt(store, runs)
    monkeypatch.setattr(stored, "environment_of", here)
    told = []
    same(stored_measures(store, runs, LABELS, progress=lambda *step: told.append(step)), expected)
    assert told[0][2].startswith("logits of model 1")


def test_exchanged_scratch_folders_are_told_and_begun_anew(study):
    store, runs = study
    one, other = interrupt(store, runs[:2]), None
    stored_measures(Store(store.root.parent / "x"), runs[:2], LABELS)
    aside = one.rename(one.with_name("aside"))
    other = interrupt(store, runs[1:])
    other.rename(one)
    aside.rename(other)
    assert len([one for one in problems(store) if "belongs to other runs" in one]) == 2
    stored_measures(store, runs[:2], LABELS)
    stored_measures(store, runs[1:], LABELS)
    assert problems(store) == []
    assert not list(store.measures.glob("*.scratch"))


def test_a_copied_study_resumes(trained, study):
    """Ranks of files that were copied are computed again; the files themselves are used."""
    store, runs = study
    expected = stored_measures(trained[0], trained[1], LABELS)
    scratch = interrupt(store, runs)
    for part in scratch.glob("*/tile*"):
        part.unlink()
    told = InterruptedAt("multiplying")
    with pytest.raises(KeyboardInterrupt):
        stored_measures(
            store, runs, LABELS, progress=lambda *s: told(s[0], s[1], s[2].partition(": ")[2])
        )
    copy = Store(shutil.copytree(store.root, store.root.parent / "moved"))
    steps = []
    same(stored_measures(copy, runs, LABELS, progress=lambda *s: steps.append(s[2])), expected)
    assert not any(step.startswith("logits") for step in steps)
    assert any(step.startswith("correlation: vector 1") for step in steps)


def test_a_store_that_cannot_be_written_has_measures(trained, study, tmp_path, monkeypatch):
    _, runs, _ = trained
    (tmp_path / "study").write_text("no folder")
    found = stored_measures(Store(tmp_path / "study"), runs, LABELS)
    assert found.correlation.shape == (3, 3)
    store, runs = study
    interrupt(store, runs)

    def refuse(*_, **__):
        raise PermissionError

    monkeypatch.setattr(stored, "write_folder", refuse)
    with monkeypatch.context() as patch:
        patch.setattr(stored.tempfile, "TemporaryFile", refuse)
        same(stored_measures(store, runs, LABELS), found)
    assert len(list(store.measures.iterdir())) == 1  # the scratch folder is as it was


def test_a_computation_in_another_process_is_told(study):
    store, runs = study
    scratch = interrupt(store, runs)
    with (scratch / "streaming" / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(StoreError, match="in use by another process"):
            stored_measures(store, runs, LABELS)


def test_runs_whose_weights_are_of_others_are_named(study):
    store, runs = study
    other = replace(runs[1], records=runs[2].records)
    address = other.job.address
    with (
        pytest.raises(StoreError, match=f"log_probabilities of run {address} must be those of"),
        pytest.warns(UserWarning, match=f"logits of run {address} .* not bit for bit"),
    ):
        stored_measures(store, [runs[0], other], LABELS)


@pytest.mark.parametrize("memory", [1000, "1 kB"])
def test_too_little_memory_is_told(study, memory):
    store, runs = study
    with pytest.raises(StoreError, match="memory"):
        stored_measures(store, runs, LABELS, memory=memory)
