"""Which runs are compared with which is decided without a look at scores, and said."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from factories.scores import on_tasks, seeded
from nondet.analysis.comparison.pairing import pair_runs
from nondet.analysis.comparison.scores import ScoredRun, Scores

TASKS = ("",)


def test_runs_are_paired_by_their_seeds():
    found = pair_runs(seeded("A", [1, 2, 3], "xyz"), seeded("B", [4, 5, 6], "zxy"), TASKS)
    assert (found.key, found.paired) == ("seed", True)
    assert found.a.tolist() == [0, 1, 2]
    assert found.b.tolist() == [1, 2, 0]
    assert found.left_out == ()
    assert found.words == "paired by seed, which every run of both sides has for itself: 3 pairs"


def test_runs_without_a_partner_are_named():
    found = pair_runs(seeded("A", [1, 2, 3], "xyz"), seeded("B", [4, 5], "wx"), TASKS)
    assert found.a.tolist() == found.b.tolist()[::-1] == [0] or found.a.tolist() == [0]
    assert found.b.tolist() == [1]
    assert found.left_out == (
        "A.csv, line 3 (A) has no partner with seed y",
        "A.csv, line 4 (A) has no partner with seed z",
        "B.csv, line 2 (B) has no partner with seed w",
    )


def test_a_failed_run_leaves_with_its_partner():
    found = pair_runs(seeded("A", [1, 2, 3], failed=[1]), seeded("B", [4, 5, np.nan]), TASKS)
    assert found.a.tolist() == found.b.tolist() == [0]
    assert found.left_out == (
        "A.csv, line 3 (A) failed: out of memory",
        "B.csv, line 4 (B) has no finite score",
        "B.csv, line 3 (B) is left out because its partner failed",
        "A.csv, line 4 (A) is left out because its partner failed",
    )


def test_runs_need_a_score_on_every_task():
    a = on_tasks("A", {"x": [1, 2], "y": [3, np.inf]})
    found = pair_runs(a, on_tasks("B", {"x": [1, 2], "y": [3, 4]}), ("x", "y"))
    assert found.a.tolist() == [0]
    assert found.left_out[0] == "A, run 1 (A) has no finite score on y"


def test_runs_without_seeds_are_not_paired():
    found = pair_runs(Scores.of("A", [1, 2, 3]), seeded("B", [4, 5], failed=[0]), TASKS)
    assert (found.key, found.paired) == (None, False)
    assert found.a.tolist() == [0, 1, 2]
    assert found.b.tolist() == [1]
    assert found.words == "not paired: A, run 0 (A) has no seed; 3 and 1 runs"
    assert found.left_out == ("B.csv, line 2 (B) failed: out of memory",)


@pytest.mark.parametrize(
    ("seeds", "why"),
    [
        ("xx", "seed x of B is on both B.csv, line 2 and B.csv, line 3"),
        ("vw", "no seed is on both sides"),
    ],
)
def test_seeds_that_do_not_pair_are_not_used(seeds, why):
    found = pair_runs(seeded("A", [1, 2], "xy"), seeded("B", [4, 5], seeds), TASKS)
    assert found.words == f"not paired: {why}; 2 and 2 runs"


def test_pairs_can_be_asked_for_by_a_key_or_not_at_all():
    a, b = Scores.of("A", [1, 2, 3]), Scores.of("B", [4, 5])
    found = pair_runs(a, b, TASKS, "position")
    assert found.b.tolist() == found.a.tolist() == [0, 1]
    assert found.words == "paired by position, as asked: 2 pairs"
    alone = pair_runs(seeded("A", [1, 2]), seeded("B", [4, 5]), TASKS, "none")
    assert alone.words == "not paired: as asked; 2 and 2 runs"


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("fold", r"cannot be paired by 'fold': A.csv, line 2 \(A\) has no fold"),
        ("seed", "seed 7 of B is on both B.csv, line 2 and B.csv, line 3"),
    ],
)
def test_a_key_that_does_not_pair_is_an_error(key, message):
    with pytest.raises(ValueError, match=message):
        pair_runs(seeded("A", [1, 2]), seeded("B", [4, 5], "77"), TASKS, key)


def test_a_failed_run_and_its_repeat_are_duplicates():
    """Who may repeat a failed run under its seed may pick the better of two."""
    a = seeded("A", [1, 2, 3], [0, 1, 1], failed=[1])
    with pytest.raises(ValueError, match="seed 1 of A is on both"):
        pair_runs(a, seeded("B", [1, 2]), TASKS, "seed")


@given(
    st.lists(st.integers(0, 6), unique=True),
    st.lists(st.integers(0, 6), unique=True),
    st.lists(st.floats(-1, 1), min_size=14, max_size=14),
)
def test_scores_play_no_part(left, right, values):
    a = seeded("A", [0.0] * len(left), left)
    b = seeded("B", [0.0] * len(right), right)
    found = pair_runs(a, b, TASKS)
    others = [
        replace(side, runs=[replace(run, values={"": v}) for run, v in zip(side.runs, values)])  # noqa: B905
        for side in (a, b)
    ]
    again = pair_runs(*others, TASKS)
    assert (found.words, found.left_out) == (again.words, again.left_out)
    assert found.a.tolist() == again.a.tolist()
    assert found.b.tolist() == again.b.tolist()


def test_every_run_takes_part_or_is_named():
    a, b = seeded("A", range(6), failed=[0, 3]), seeded("B", range(4), [5, 4, 3, 9], failed=[0])
    found = pair_runs(a, b, TASKS)
    for side, kept in ((a, found.a), (b, found.b)):
        for i, run in enumerate(side.runs):
            named = sum(f"{run.label} ({side.name})" in line for line in found.left_out)
            assert named == (0 if i in kept else 1), run


def test_no_runs_are_no_pairs():
    found = pair_runs(Scores("A", []), Scores("B", [ScoredRun("b", {"": 1.0})]), TASKS)
    assert len(found.a) == 0
    assert len(found.b) == 1
