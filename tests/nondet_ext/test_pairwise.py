"""Compare the comparisons of all pairs of models with double loops over their definitions."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import nondet_ext
from nondet_ext import DegenerateInputWarning
from references import pairwise as reference

SPACES = ["logits", "probabilities"]
# (models, examples, classes): size 1; more models than a side of a block of threads; sizes that are
# no multiple of a vector; more classes than fit into shared memory.
SHAPES = [(1, 1, 1), (1, 9, 3), (4, 33, 1), (5, 37, 4), (19, 7, 3), (3, 6, 70)]
INTEGERS = [torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8]


def some_logits(models: int, examples: int, classes: int, scale: float = 3.0) -> np.ndarray:
    rng = np.random.default_rng(models * examples + classes)
    shared = rng.standard_normal((1, examples, classes))
    own = rng.standard_normal((models, examples, classes))
    return scale * (own + shared)


def some_labels(examples: int, classes: int) -> np.ndarray:
    return np.random.default_rng(examples).integers(0, classes, examples)


def expect_deltas(logits: torch.Tensor, labels: np.ndarray) -> None:
    """Check both deltas in both spaces against the reference; accuracies must be exact."""
    values = logits.double().numpy()
    truth = torch.from_numpy(labels)
    for space in SPACES:
        accuracy = nondet_ext.ensemble_delta(logits, truth, "accuracy", space)
        assert accuracy.dtype == torch.float64
        expected = reference.accuracy_delta(values, labels, space)
        np.testing.assert_array_equal(accuracy.numpy(), expected)

        entropy = nondet_ext.ensemble_delta(logits, truth, "cross_entropy", space)
        expected = reference.cross_entropy_delta(values, labels, space)
        bound = reference.cross_entropy_bound(values)
        np.testing.assert_allclose(entropy.numpy(), expected, rtol=0, atol=bound)
        assert torch.equal(entropy, entropy.T)
        assert not entropy.diagonal().any()


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_deltas(shape):
    expect_deltas(torch.from_numpy(some_logits(*shape)), some_labels(*shape[1:]))


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_deltas_of_narrow_logits(dtype):
    # In bfloat16 many logits are equal.
    expect_deltas(torch.from_numpy(some_logits(6, 50, 4)).to(dtype), some_labels(50, 4))


@pytest.mark.usefixtures("cpu_isa")
@pytest.mark.parametrize("examples", [1023, 1024, 1025, 3000])
def test_deltas_around_tiles_of_examples(examples):
    expect_deltas(torch.from_numpy(some_logits(3, examples, 2)), some_labels(examples, 2))


@pytest.mark.usefixtures("cpu_isa")
@pytest.mark.parametrize("shape", [(3, 4, 9000), (9, 2, 4100)], ids=str)
def test_classes_in_blocks(shape):
    expect_deltas(torch.from_numpy(some_logits(*shape)), some_labels(*shape[1:]))
    # Labels at the first and last class of the blocks.
    edges = np.array([0, shape[2] - 1, 4096 % shape[2], 2048])[: shape[1]]
    expect_deltas(torch.from_numpy(some_logits(*shape)), edges)


@pytest.mark.usefixtures("backend")
def test_the_lowest_of_equal_classes_is_predicted():
    # The sums of the two models are (2, 2, 1), (1, 2, 2) and (0, -0, 0).
    logits = torch.tensor(
        [
            [[2.0, 0.0, 0.0], [0.0, 1.0, 2.0], [0.0, -0.0, -0.0]],
            [[0.0, 2.0, 1.0], [1.0, 1.0, 0.0], [0.0, -0.0, 0.0]],
        ]
    )
    predicted = [0, 1, 0]
    for label in range(3):
        labels = torch.full((3,), label)
        own = [[0, 2, 0], [1, 0, 0]]
        right = sum(p == label for p in predicted)
        single = [sum(p == label for p in row) for row in own]
        got = nondet_ext.ensemble_delta(logits, labels)[0, 1].item()
        assert got == (2 * right - sum(single)) / 6


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("scale", [150.0, 700.0, 3e4, 1e9])
@pytest.mark.parametrize("shape", [(5, 12, 3), (3, 5, 40)], ids=str)
def test_models_that_disagree_beyond_the_range_of_exponentials(scale, shape):
    logits = some_logits(*shape, scale)
    expect_deltas(torch.from_numpy(logits), some_labels(*shape[1:]))


@pytest.mark.usefixtures("backend")
def test_underflow_beside_ordinary_values():
    # Only the pair (0, 2) underflows, at one example in the middle of others.
    logits = some_logits(3, 9, 2)
    logits[0, 4], logits[1, 4], logits[2, 4] = (2000.0, 0.0), (0.0, 0.0), (0.0, 2000.0)
    expect_deltas(torch.from_numpy(logits), some_labels(9, 2))


@pytest.mark.usefixtures("cpu_isa")
def test_underflow_where_classes_come_in_blocks():
    logits = np.zeros((3, 2, 9000))
    logits[0, :, 0] = logits[1, :, 8999] = logits[2, :, 4500] = 5000.0
    expect_deltas(torch.from_numpy(logits), np.array([0, 4500]))


@settings(max_examples=40, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 20), st.integers(1, 6)),
    order=st.permutations(range(3)),
    seed=st.integers(0, 2**32 - 1),
    wide=st.booleans(),
)
def test_deltas_of_any_logits(shape, order, seed, wide):
    # Small multiples of 1/2 give many ties; `wide` gives gaps up to the limits of exponentials.
    rng = np.random.default_rng(seed)
    logits = rng.integers(-4, 5, shape) / 2 * (rng.choice([1, 400], shape) if wide else 1)
    # The same logical tensor with any order of its dimensions in memory.
    inverse = tuple(np.argsort(order))
    strided = torch.from_numpy(np.ascontiguousarray(logits.transpose(order))).permute(inverse)
    expect_accuracy_and_entropy(strided, rng.integers(0, shape[2], shape[1]))


def expect_accuracy_and_entropy(logits: torch.Tensor, labels: np.ndarray) -> None:
    """Check the accuracy in the space of logits, where ties are exact, and the cross-entropy in
    both spaces.
    """
    values, truth = logits.numpy(), torch.from_numpy(labels)
    got = nondet_ext.ensemble_delta(logits, truth)
    np.testing.assert_array_equal(got, reference.accuracy_delta(values, labels, "logits"))
    for space in SPACES:
        got = nondet_ext.ensemble_delta(logits, truth, "cross_entropy", space)
        expected = reference.cross_entropy_delta(values, labels, space)
        bound = reference.cross_entropy_bound(values)
        np.testing.assert_allclose(got, expected, rtol=0, atol=bound)


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("block_bytes", [1, 8 * 30 * 4 * 5, 1 << 28])
def test_a_metric_of_ones_own(monkeypatch, space, block_bytes):
    monkeypatch.setattr(nondet_ext.pairwise, "_BLOCK_BYTES", block_bytes)
    logits, labels = some_logits(6, 30, 4), some_labels(30, 4)
    sizes = []

    def accuracy(outputs: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        assert outputs.dtype == torch.float64
        assert outputs.shape[1:] == (30, 4)
        sizes.append(len(outputs))
        return (outputs.argmax(-1) == truth).float().mean(-1)

    got = nondet_ext.ensemble_delta(
        torch.from_numpy(logits).float(), torch.from_numpy(labels), accuracy, space
    )
    expected = reference.accuracy_delta(logits, labels, space)
    np.testing.assert_allclose(got, expected, rtol=0, atol=2.0**-22)
    assert sum(sizes) == 21
    assert max(sizes) == {1: 1, 8 * 30 * 4 * 5: 5, 1 << 28: 21}[block_bytes]
    assert not got.diagonal().any()


RANGES = [(0, 2), (-3, 9), (-200, 100), (0, 70_000), (-(2**31), 2**31), (-(2**63), 2**63 - 1)]


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("low_high", RANGES, ids=str)
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (18, 40)], ids=str)
def test_disagreement(low_high, shape):
    rng = np.random.default_rng(shape[1])
    few = rng.integers(*low_high, 7)  # so that some are equal
    few[:2] = low_high[0], low_high[1] - 1
    predictions = rng.choice(few, shape)
    got = nondet_ext.disagreement(torch.from_numpy(predictions))
    np.testing.assert_array_equal(got, reference.disagreement(predictions))


@pytest.mark.usefixtures("backend")
def test_disagreement_over_chunks_of_examples():
    predictions = np.random.default_rng(2).integers(0, 2, (2, 4100))
    got = nondet_ext.disagreement(torch.from_numpy(predictions))
    np.testing.assert_array_equal(got, reference.disagreement(predictions))


@pytest.mark.usefixtures("cpu_isa")
@pytest.mark.parametrize("distinct", [2, 1000, 100_000, 2**40])
def test_disagreement_of_many_examples(distinct):
    # Almost all agree, so counters of 8 bits would overflow unless they are added up in time.
    rng = np.random.default_rng(5)
    predictions = np.tile(rng.integers(0, distinct, 70_003), (3, 1))
    predictions[1, ::1009] += 1
    predictions[2, 70_002] += 1
    got = nondet_ext.disagreement(torch.from_numpy(predictions))
    np.testing.assert_array_equal(got, reference.disagreement(predictions))


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_disagreement_of_every_dtype_and_stride(dtype):
    info = torch.iinfo(dtype)
    values = torch.tensor([info.min, info.max, 0, 1, 2], dtype=dtype)
    chosen = torch.from_numpy(np.random.default_rng(1).integers(0, 5, (21, 6)))
    got = nondet_ext.disagreement(values[chosen].T)
    np.testing.assert_array_equal(got, reference.disagreement(values[chosen].T.numpy()))


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("num_classes", [None, 8])
def test_churn_and_error_overlap(num_classes):
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 5, 61)
    labels[labels == 3] = 2  # class 3 is absent
    labels[0] = 4
    predictions = np.where(rng.random((7, 61)) < 0.6, labels, rng.integers(0, 9, (7, 61)))
    predictions[2] = predictions[5] = labels
    wanted = torch.from_numpy(predictions), torch.from_numpy(labels)
    absent = "3" if num_classes is None else "3, 5, 6, 7"
    with pytest.warns(DegenerateInputWarning, match=f"no example has the label {absent};"):
        got = nondet_ext.churn(*wanted, num_classes)
    np.testing.assert_array_equal(got, reference.churn(predictions, labels, num_classes or 5))
    with pytest.warns(DegenerateInputWarning, match="model 2, 5 makes no error"):
        overlap = nondet_ext.error_overlap(*wanted)
    np.testing.assert_array_equal(overlap, reference.error_overlap(predictions, labels))
