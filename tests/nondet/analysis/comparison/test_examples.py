"""What scores of single examples add to a comparison."""

from dataclasses import replace

import numpy as np
import pytest

from factories.scores import on_examples, seeded
from nondet import compare_scores
from nondet.analysis import stats
from nondet.analysis.comparison.examples import AlignedExamples, align_examples
from nondet.analysis.comparison.result import Decision
from nondet.analysis.comparison.scores import Examples, Scores

RUNS, EXAMPLES = 8, 60


def answers(seed: int, rate: float = 0.7) -> np.ndarray:
    return (np.random.default_rng(seed).random((RUNS, EXAMPLES)) < rate).astype(float)


CLUSTERS = np.array([f"c{j // 4}" for j in range(EXAMPLES)])
IDS = [f"e{j}" for j in range(EXAMPLES)]
LABELS = np.array(["cat", "dog", "elk"])[np.arange(EXAMPLES) % 3]


def align(a: Scores, b: Scores) -> AlignedExamples:
    found = align_examples(a.runs, b.runs, "")
    assert isinstance(found, AlignedExamples)
    return found


def test_examples_give_intervals_over_test_sets():
    a, b = answers(1), answers(2, 0.8)
    found = compare_scores(
        on_examples("A", a, clusters=CLUSTERS, percent=True), on_examples("B", b, percent=True)
    )
    examples = found.tasks[0].examples
    assert (examples.count, examples.clusters) == (EXAMPLES, 15)
    expected = stats.two_way_difference(100 * a, 100 * b, True, CLUSTERS)
    assert examples.two_way.interval == pytest.approx(expected.interval)
    assert examples.error == pytest.approx(
        100 * stats.clustered_error(b.mean(0) - a.mean(0), CLUSTERS)
    )
    assert examples.sampling == pytest.approx(stats.sampling_share(b - a).share)
    assert found.tasks[0].a.sampling == pytest.approx(stats.sampling_share(a).share)
    assert "the share of test-set sampling takes examples for independent" in examples.notes


def test_sides_that_are_not_paired_are_compared_on_the_same_examples():
    a, b = answers(1), answers(2)[:5]
    found = compare_scores(on_examples("A", a), on_examples("B", b), pair_by="none")
    examples = found.tasks[0].examples
    assert examples.sampling is None
    assert examples.two_way == stats.two_way_difference(a, b, False)


def test_a_gain_on_few_examples_may_not_hold_on_others():
    a = np.tile(answers(1)[0], (RUNS, 1))
    b = a.copy()
    wrong = np.flatnonzero(a[0] == 0)
    for i, row in enumerate(b):  # all runs of B get the same two examples right, one a third
        row[wrong[: 2 + i % 2]] = 1
    found = compare_scores(on_examples("A", a), on_examples("B", b))
    assert found.verdict.decision is Decision.BETTER
    assert found.tasks[0].examples.two_way.interval.low < 0
    assert "another test set could turn the difference around" in found.notes


def test_classes_are_corrected_for_their_number():
    a, b = answers(1), answers(2)
    b[:, LABELS == "elk"] = 1
    found = compare_scores(on_examples("A", a, labels=LABELS), on_examples("B", b, labels=LABELS))
    classes = found.tasks[0].classes
    assert [row.label for row in classes] == ["cat", "dog", "elk"]
    assert [row.count for row in classes] == [20] * 3
    assert classes[2].mean_b == 1
    assert classes[2].test.p == 2**-7
    assert classes[2].adjusted == pytest.approx(3 * 2**-7)
    of_dogs = (side[:, LABELS == "dog"].mean(1) for side in (a, b))
    theirs = stats.paired_difference(*of_dogs, np.random.default_rng(0))
    assert classes[1].difference == theirs


def test_examples_in_another_order_are_aligned():
    a, b = answers(1), answers(2)
    order = np.random.default_rng(3).permutation(EXAMPLES)
    ids = [f"e{j}" for j in order]
    found = align(on_examples("A", a), on_examples("B", b[:, order], ids, labels=LABELS[order]))
    assert (found.a == a).all()
    assert (found.b == b).all()
    assert (found.labels == LABELS).all()
    assert found.notes == ()


def test_examples_that_a_run_lacks_are_left_out_and_counted():
    a, b = answers(1), answers(2)
    a[2, 5] = np.nan
    found = align(on_examples("A", a), on_examples("B", b[:, 1:], [f"e{j}" for j in range(1, 60)]))
    assert found.a.shape == found.b.shape == (RUNS, 58)
    assert np.isfinite(found.a).all()
    assert found.notes[0] == "2 of 60 examples are left out: not every run has one"


def test_a_score_that_is_no_mean_over_examples_is_noted():
    a, b = on_examples("A", answers(1)), on_examples("B", answers(2))
    runs = [replace(run, values={"": run.values[""] + 0.1}) for run in a.runs]
    found = align(replace(a, runs=runs), b)
    assert found.notes[0].startswith("the score of a run is not the mean over these examples")


def test_examples_of_some_runs_are_not_used():
    a = on_examples("A", answers(1))
    b = seeded("B", answers(2).mean(1))
    found = compare_scores(a, b)
    assert found.tasks[0].examples is None
    assert found.tasks[0].classes == ()
    assert found.tasks[0].notes[0].startswith("8 of 16 runs have no scores of examples")


def test_other_test_sets_are_refused():
    ids = [f"other {j}" for j in range(EXAMPLES)]
    message = r"no example is on both sides \(A has 'e0', B 'other 0'\): .* different test sets"
    with pytest.raises(ValueError, match=message):
        compare_scores(on_examples("A", answers(1)), on_examples("B", answers(2), ids))


@pytest.mark.parametrize("pair_by", [None, "none"])
def test_examples_of_one_side_alone_count_for_neither(pair_by):
    a, b = answers(1), answers(2)
    a[:, 50:] = 0  # which B was not asked
    a[3, 7] = np.nan
    kept = np.arange(50)
    found = compare_scores(
        on_examples("A", a), on_examples("B", b[:, kept], [f"e{j}" for j in kept]), pair_by=pair_by
    )
    (task,) = found.tasks
    assert task.a.values == pytest.approx(np.nanmean(a[:, kept], axis=1))
    assert task.b.values == pytest.approx(b[:, kept].mean(1))
    assert "10 of 60 examples are left out: A alone has them" in found.notes
    assert not any("B alone" in note for note in found.notes)


def test_few_common_examples_are_not_used():
    ids = ["e0", *(f"other {j}" for j in range(1, EXAMPLES))]
    found = compare_scores(on_examples("A", answers(1)), on_examples("B", answers(2), ids))
    assert found.tasks[0].examples is None
    assert "fewer than two examples in common" in found.tasks[0].notes[0]


def test_a_score_that_is_no_mean_over_examples_stays_as_it_is():
    a, b = on_examples("A", answers(1)), on_examples("B", answers(2)[:, 1:], IDS[1:])
    runs = [replace(run, values={"": run.values[""] + 0.1}) for run in a.runs]
    found = compare_scores(replace(a, runs=runs), b)
    assert found.tasks[0].a.values == pytest.approx([run.values[""] for run in runs])


def test_runs_without_examples_have_no_note():
    found = compare_scores(seeded("A", range(6)), seeded("B", range(6)))
    assert found.tasks[0].examples is None
    assert found.tasks[0].notes == ()


def test_one_cluster_is_none():
    same = np.full(EXAMPLES, "c")
    found = compare_scores(
        on_examples("A", answers(1), clusters=same), on_examples("B", answers(2))
    )
    examples = found.tasks[0].examples
    assert examples.clusters is None
    assert examples.two_way == stats.two_way_difference(answers(1), answers(2), True)
    assert "all examples are in one cluster, so clusters are not used" in examples.notes


@pytest.mark.parametrize("name", ["clusters", "labels"])
def test_runs_that_disagree_on_an_example_are_an_error(name):
    other = LABELS.copy()
    other[4] = "cow"
    a = on_examples("A", answers(1), **{name: LABELS})
    b = on_examples("B", answers(2), **{name: other})
    message = f"B, run 0: example 'e4' has {name[:-1]} 'cow', but 'dog' in an earlier run"
    with pytest.raises(ValueError, match=message):
        compare_scores(a, b)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ((np.array(["a", "b"]), np.zeros(3)), "vectors of one length"),
        ((np.array(["a", "a"]), np.zeros(2)), "example 'a' has more than one score"),
        ((np.array(["a", "b"]), np.zeros(2), np.zeros(3)), "clusters must have one entry"),
    ],
)
def test_examples_are_vectors_with_names_of_their_own(arrays, message):
    with pytest.raises(ValueError, match=message):
        Examples(*arrays)
