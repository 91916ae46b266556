"""Scores from .npz, .npy and .safetensors files."""

import pickle

import numpy as np
import pytest
import safetensors.numpy
from scipy.special import log_softmax

from nondet.analysis.score_files.options import ReadOptions
from nondet.analysis.score_files.reading import read_scores

LABELS = np.array([0, 1, 2, 1])
PREDICTIONS = np.array([[0, 1, 2, 1], [0, 0, 2, 2]])


def read(path, **options):
    return read_scores(str(path), ReadOptions(**options))


def message_of(path):
    try:
        read(path)
    except ValueError as error:
        return str(error)
    return ""


def save(path, **arrays):
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    else:
        path.write_bytes(safetensors.numpy.save(arrays))
    return path


def values_of(scores):
    return [run.values[""] for run in scores.runs]


@pytest.fixture(params=["a.npz", "a.safetensors", "named-otherwise.txt"])
def path(request, tmp_path):
    return tmp_path / request.param


def test_predictions(path):
    scores = read(save(path, predictions=PREDICTIONS, labels=LABELS, seeds=np.array([5, 7])))
    assert scores.score == "accuracy"
    assert scores.percent
    assert values_of(scores) == [1.0, 0.5]
    assert [run.keys["seed"] for run in scores.runs] == ["5", "7"]
    examples = scores.runs[1].examples[""]
    assert examples.scores.tolist() == [1, 0, 1, 0]
    assert examples.labels.tolist() == ["0", "1", "2", "1"]
    assert examples.ids.tolist() == ["0", "1", "2", "3"]


def test_logits(path):
    logits = np.random.default_rng(1).normal(size=(3, 4, 3)).astype(np.float32)
    logits[1, 2, 0] = np.nan
    save(path, logits=logits, labels=LABELS)
    scores = read(path)
    right = logits.argmax(2) == LABELS
    assert values_of(scores)[::2] == [right[0].mean(), right[2].mean()]
    assert [run.label for run in scores.failed] == [f"{path.name}, run 1"]
    entropy = read(path, score="cross_entropy")
    assert not entropy.higher_is_better
    wanted = -log_softmax(logits[0].astype(np.float64), axis=1)[np.arange(4), LABELS]
    assert entropy.runs[0].examples[""].scores == pytest.approx(wanted, rel=1e-12)
    with pytest.raises(ValueError, match="has no score 'f1'; known: 'accuracy', 'cross_entropy'"):
        read(path, score="f1")


def test_one_run_may_lack_its_dimension(path):
    assert values_of(read(save(path, predictions=PREDICTIONS[1], labels=LABELS))) == [0.5]


def test_scores_of_runs_and_examples(path):
    assert values_of(read(save(path, scores=np.array([1.5, 2.5])))) == [1.5, 2.5]
    scores = read(save(path, scores=np.array([[1.0, 0], [1, np.nan]]), clusters=np.array([4, 4])))
    assert values_of(scores) == [0.5, 1.0]
    assert scores.runs[0].examples[""].clusters.tolist() == ["4", "4"]


def test_ids_of_text(tmp_path):
    path = save(tmp_path / "a.npz", scores=np.ones((1, 2)), ids=np.array(["x", "y"]))
    assert read(path).runs[0].examples[""].ids.tolist() == ["x", "y"]
    path = save(tmp_path / "b.npz", scores=np.ones((1, 2)), ids=np.array(["x", "x"]))
    with pytest.raises(ValueError, match=r"b\.npz: example 'x' has more than one score"):
        read(path)


def test_an_array_alone(tmp_path):
    np.save(tmp_path / "a.npy", np.array([1.0, 2.0]))
    assert values_of(read(tmp_path / "a.npy")) == [1.0, 2.0]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"other": LABELS}, r"no array named scores, predictions, logits; it has other \(4,\)"),
        ({"predictions": PREDICTIONS}, "has predictions but no array named labels"),
        ({"predictions": PREDICTIONS * 0.5, "labels": LABELS}, "predictions must be integers"),
        ({"predictions": PREDICTIONS, "labels": LABELS[:3]}, "predict 4 examples, labels 3"),
        ({"logits": PREDICTIONS * 0.5, "labels": LABELS[:3]}, "predict 2 examples, labels 3"),
        ({"logits": np.ones((1, 4, 2)), "labels": LABELS}, r"labels must lie in \[0, 2\)"),
        ({"scores": np.ones((2, 3, 4))}, r"scores must be numbers, \(runs,\) or \(runs, exam"),
        ({"scores": np.ones((0, 3))}, "scores must be numbers"),
        ({"scores": np.array([1, -1e300])}, r"scores must lie between -1e\+100 and 1e\+100; got"),
        ({"scores": np.ones(3), "seeds": LABELS}, "seeds must have one entry for each run, 3"),
    ],
)
def test_errors_name_the_array(path, arrays, message):
    save(path, **arrays)
    with pytest.raises(ValueError, match=message) as error:
        read(path)
    assert str(path) in str(error.value)


class Exploding:
    def __reduce__(self):
        return (pytest.fail, ("it was unpickled",))


def test_nothing_is_unpickled(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, scores=np.array([Exploding()], dtype=object))
    with pytest.raises(
        ValueError, match=r"a\.npz: holds Python objects, which are not read; arrays"
    ):
        read(path)
    path = tmp_path / "b.npz"
    path.write_bytes(pickle.dumps(Exploding()))
    with pytest.raises(ValueError, match=r"b\.npz"):
        read(path)


def test_cut_and_damaged_files(path):
    save(path, predictions=PREDICTIONS, labels=LABELS)
    data = path.read_bytes()
    for length in range(1, len(data), 7):
        path.write_bytes(data[:length])
        with pytest.raises(ValueError, match=path.name):
            read(path)
    for place in range(0, len(data), 3):
        path.write_bytes(data[:place] + bytes([data[place] ^ 0x55]) + data[place + 1 :])
        message = message_of(path)
        assert not message or path.name in message  # some changes do no harm
