"""Verdicts: what they rest on, their words, and when there is none."""

import numpy as np
import pytest
import scipy.stats

import nondet
from factories.scores import on_tasks, seeded
from nondet import compare_scores, plan_runs
from nondet.analysis.comparison.judging import Question, judge_all
from nondet.analysis.comparison.result import Decision, Verdict
from nondet.analysis.comparison.scores import Scores

BASE = np.array([0.912, 0.915, 0.909, 0.921, 0.917, 0.911, 0.914, 0.918])
GAIN = np.array([0.004, 0.002, 0.003, 0.005, 0.002, 0.004, 0.003, 0.001])


def shares(gain: np.ndarray, **settings: bool) -> tuple[Scores, Scores]:
    a = seeded("A", BASE[: len(gain)], score="accuracy", percent=True, **settings)
    return a, seeded("B", BASE[: len(gain)] + gain, score="accuracy", percent=True, **settings)


def test_a_clear_gain_is_better():
    found = compare_scores(*shares(GAIN))
    assert found.verdict.decision is Decision.BETTER
    assert found.verdict.winner == "B"
    low, high = scipy.stats.ttest_1samp(100 * GAIN, 0).confidence_interval()
    assert found.verdict.sentence == (
        f"B is better: +0.30 points [{low:.2f}, {high:.2f}] (95%), paired over 8 seeds"
    )
    (task,) = found.tasks
    assert task.a.mean == pytest.approx(100 * BASE.mean())
    assert task.b.sd == pytest.approx(100 * (BASE + GAIN).std(ddof=1))
    assert task.difference.interval == pytest.approx((0.3, low, high))
    assert task.simultaneous == task.difference.interval
    assert task.test.p == task.adjusted == 2**-7
    assert task.outperforming.probability == (1, 1, 1)
    assert 0 <= task.dominance < 0.5
    assert found.pairing.words.startswith("paired by seed")


def test_the_sides_swap_with_their_order():
    a, b = shares(GAIN)
    found = compare_scores(b, a)
    assert found.verdict == compare_scores(a, b).verdict
    assert found.tasks[0].difference.interval.value == pytest.approx(-0.3)
    assert found.tasks[0].outperforming.probability.value == 0
    assert found.tasks[0].dominance > 0.5


def test_of_a_loss_the_lower_is_better():
    found = compare_scores(*shares(GAIN, higher_is_better=False))
    assert found.verdict.winner == "A"
    assert found.verdict.sentence.startswith("A is better: -0.30 points [-0.")
    assert found.tasks[0].outperforming.probability.value == 0


def test_scores_that_are_no_shares_have_no_unit():
    a, b = (Scores.of(name, 10 * x) for name, x in (("A", BASE), ("B", BASE + 0.1)))
    assert compare_scores(a, b).verdict.sentence.startswith("B is better: +1.000 [0.958, 1.042] ")
    assert compare_scores(a, b).verdict.sentence.endswith("(95%), 8 and 8 runs, not paired")
    paired = compare_scores(a, b, pair_by="position")
    assert paired.verdict.sentence.endswith("paired over 8 pairs by position")


def test_noise_is_undecided():
    found = compare_scores(*shares(GAIN * [1, -1, 1, -1, 1, -1, -1, 1]))
    assert found.verdict.decision is Decision.UNDECIDED
    assert found.verdict.winner is None
    assert found.verdict.sentence.startswith("undecided: ")
    size = found.tasks[0].power.detectable
    assert found.verdict.sentence.endswith(
        f"these runs find a difference of {size:.2f} points with a probability of 80%"
    )


def test_tied_takes_a_margin_and_never_a_large_p():
    gain = GAIN * [1, -1, 1, -1, 1, -1, -1, 1]
    end = max(np.abs(compare_scores(*shares(gain)).tasks[0].difference.interval[1:]))
    wide = compare_scores(*shares(gain), margin=2 * end)
    assert wide.verdict.decision is Decision.TIED
    assert wide.verdict.sentence.startswith(f"tied: any difference is below {2 * end:.4g} points: ")
    assert compare_scores(*shares(gain), margin=0.99 * end).verdict.decision is not Decision.TIED


def test_tied_takes_the_exact_tests_of_both_ends():
    # Student's interval lies within the margin; 22 of 256 patterns are as extreme at its lower end.
    gain = GAIN * [1, -1, 1, -1, 1, -1, -1, 1]
    end = max(np.abs(compare_scores(*shares(gain)).tasks[0].difference.interval[1:]))
    assert compare_scores(*shares(gain), margin=1.01 * end).verdict.decision is Decision.UNDECIDED


def test_a_gain_within_the_margin_is_tied():
    found = compare_scores(*shares(GAIN), margin=1.0)
    assert found.verdict.decision is Decision.TIED
    assert "+0.30 points" in found.verdict.sentence


def test_few_runs_cannot_tie():
    found = compare_scores(*shares(GAIN[:5]), margin=50.0)
    assert found.verdict.decision is Decision.TOO_FEW


@pytest.mark.parametrize("runs", [3, 4, 5])
def test_runs_whose_exact_test_cannot_reach_the_level_are_too_few(runs):
    found = compare_scores(*shares(GAIN[:runs]))
    assert found.tasks[0].difference.interval.low > 0  # Student's interval alone would claim it
    assert found.verdict.decision is Decision.TOO_FEW
    more = "1 more pair;" if runs == 5 else f"{6 - runs} more pairs;"
    assert more in found.verdict.sentence


def test_four_runs_of_each_side_can_be_judged_and_three_cannot():
    a, b = (Scores.of(name, x) for name, x in (("A", BASE[:4]), ("B", BASE[:4] + 1)))
    assert compare_scores(a, b).verdict.decision is Decision.BETTER
    three = compare_scores(*(Scores.of(s.name, [r.values[""] for r in s.runs[:3]]) for s in (a, b)))
    assert three.verdict.decision is Decision.TOO_FEW
    assert "run 1 more run of each side" in three.verdict.sentence


@pytest.mark.parametrize("runs", [0, 1, 2])
def test_below_three_runs_nothing_is_judged(runs):
    found = compare_scores(*shares(GAIN[:runs])) if runs else None
    if found is None:
        empty = on_tasks("A", {"": [np.nan]}), on_tasks("B", {"": [np.nan]})
        found = compare_scores(*empty)
    assert found.verdict.decision is Decision.TOO_FEW
    assert found.tasks == ()
    assert f"at least {3 - runs} more pair" in found.verdict.sentence


def test_failed_runs_count_as_missing_and_are_named():
    a = seeded("A", [1, 2, 3], failed=[0])
    found = compare_scores(a, seeded("B", [1, 2, 3]))
    assert found.verdict.decision is Decision.TOO_FEW
    assert "2 complete pairs cannot be judged" in found.verdict.sentence
    assert "A.csv, line 2 (A) failed: out of memory" in found.notes
    assert any(note.startswith("1 of 3 runs of A failed") for note in found.notes)


def test_the_missing_runs_for_a_difference_are_said():
    gain = GAIN * [1, -1, 1, -1, 1, -1, -1, 1]
    found = compare_scores(*shares(gain), detect=0.1)
    power = found.tasks[0].power
    assert found.verdict.decision is Decision.TOO_FEW
    assert power.further == power.runs.value - 8 > 0
    assert power.runs.low < power.runs.value < power.runs.high
    assert found.verdict.sentence.startswith(
        f"too few runs: {power.further:.0f} more pairs would show a difference of 0.1 points; now "
    )
    enough = compare_scores(*shares(gain), detect=5)
    assert enough.tasks[0].power.further == 0
    assert enough.verdict.decision is Decision.UNDECIDED


def test_an_interval_that_the_exact_test_does_not_support_is_undecided():
    # One pair loses by little: Student's interval excludes 0, two of 64 patterns are as extreme.
    a, b = (Scores.of(n, x) for n, x in (("A", np.zeros(6)), ("B", [0.9, 1, 1.1, 1, 1, -0.001])))
    found = compare_scores(a, b, pair_by="position")
    assert found.tasks[0].difference.interval.low > 0
    assert found.tasks[0].test.p == 4 / 64
    assert found.verdict.decision is Decision.UNDECIDED
    assert "the exact test does not reject (p = 0.062)" in found.verdict.sentence


def test_an_outlier_widens_the_interval_of_a_certain_sign():
    a, b = (Scores.of(n, x) for n, x in (("A", np.zeros(6)), ("B", [1, 1, 1, 1, 1, 50.0])))
    found = compare_scores(a, b, pair_by="position")
    assert found.tasks[0].test.p == 2**-5
    assert found.verdict.decision is Decision.UNDECIDED
    assert "the interval holds 0" in found.verdict.sentence


def test_equal_scores_are_suspected():
    found = compare_scores(*shares(np.zeros(8)))
    assert found.verdict.decision is Decision.UNDECIDED
    assert found.verdict.sentence.endswith("are these different runs?")


@pytest.mark.parametrize("pair_by", [None, "none"])
@pytest.mark.parametrize("margin", [None, 50.0])
def test_copies_of_a_run_decide_nothing(pair_by, margin):
    sides = [seeded(name, [value] * 8, percent=True) for name, value in (("A", 0.7), ("B", 0.8))]
    found = compare_scores(*sides, pair_by=pair_by, margin=margin)
    assert found.verdict.decision is Decision.UNDECIDED
    assert found.verdict.sentence == (
        "undecided: +10 points [10, 10] (95%); the runs of each side score the same: are they "
        "different runs?"
    )
    assert "all runs of A score the same: are they different?" in found.notes


def test_one_side_may_be_a_constant():
    constant = seeded("A", [0.7] * 8, percent=True)
    found = compare_scores(constant, seeded("B", 0.8 + GAIN / 100, percent=True))
    assert found.verdict.winner == "B"
    assert "all runs of A score the same: are they different?" in found.notes
    assert not any("all runs of B" in note for note in found.notes)


def test_equal_differences_are_written_without_their_rounding():
    a = BASE[:8]
    found = compare_scores(seeded("A", a, percent=True), seeded("B", a + 0.1, percent=True))
    assert "B is better: +10 points [10, 10] (95%)" in found.verdict.sentence


@pytest.mark.parametrize("scale", [1e-90, 1e-13, 1e12, 1e90])
def test_scores_of_any_size_are_written_shortly(scale):
    found = compare_scores(seeded("A", BASE * scale), seeded("B", (BASE + GAIN) * scale))
    value = found.tasks[0].difference.interval.value
    assert f"B is better: +{value:.2e} [" in found.verdict.sentence
    assert len(found.verdict.sentence) < 100


def test_scores_that_are_too_small_or_large_are_refused():
    with pytest.raises(ValueError, match=r"A\.csv, line 3: the score is 1e\+200; scores must lie"):
        seeded("A", [1, 1e200])
    tiny = seeded("A", BASE * 1e-200)
    with pytest.raises(ValueError, match=r"no score of A is larger than .*; scores must reach"):
        compare_scores(tiny, seeded("B", BASE))
    with pytest.raises(ValueError, match="no score of A is larger than"):
        plan_runs(tiny, detect=1e-200)


def tasks_of(gains: dict[str, float]) -> tuple[Scores, Scores]:
    noise = GAIN - GAIN.mean()
    a = on_tasks("A", dict.fromkeys(gains, BASE))
    return a, on_tasks("B", {task: BASE + noise + gain for task, gain in gains.items()})


def test_tasks_share_the_level():
    found = compare_scores(*tasks_of({"x": 0.1, "y": 0.1, "z": 0}))
    assert [t.verdict.decision for t in found.tasks[:2]] == [Decision.BETTER] * 2
    assert found.tasks[0].adjusted == 3 * 2**-7
    low, high = scipy.stats.ttest_1samp(GAIN - GAIN.mean() + 0.1, 0).confidence_interval(
        1 - 0.05 / 3
    )
    assert found.tasks[0].simultaneous[1:] == pytest.approx((low, high))
    assert found.verdict.decision is Decision.UNDECIDED
    assert (
        found.verdict.sentence
        == "B is better on 2 of 3 tasks (x and y); undecided on 1 of 3 tasks (z)"
    )


def test_many_tasks_need_more_pairs():
    found = compare_scores(*tasks_of(dict.fromkeys("abcdefgh", 0.1)))
    assert {t.verdict.decision for t in found.tasks} == {Decision.TOO_FEW}
    assert found.verdict.decision is Decision.TOO_FEW
    assert found.tasks[0].power.least == 9  # 2^-8 is the first below 0.05 / 8


def test_an_interval_ends_at_zero_where_holm_alone_decides():
    # The weak effect is significant by itself, and Holm leaves it alone once the strong is out.
    noise = np.array([1, -1, 0.5, -0.5, 0.2, -0.2, 0.1, -0.1])
    a = on_tasks("A", {"strong": np.zeros(8), "weak": np.zeros(8)})
    weak = noise + 0.58
    b = on_tasks("B", {"strong": noise + 9, "weak": weak})
    found = compare_scores(a, b)
    task = found.tasks[1]
    assert task.difference.interval.low > 0
    bonferroni = scipy.stats.ttest_1samp(weak, 0).confidence_interval(0.975)
    assert bonferroni.low < 0
    assert task.adjusted <= 0.05
    assert task.verdict.decision is Decision.BETTER
    assert task.simultaneous.low == 0


@pytest.mark.parametrize(
    ("verdicts", "decision", "winner"),
    [
        ("BB", Decision.BETTER, "B"),
        ("BT", Decision.BETTER, "B"),
        ("TT", Decision.TIED, None),
        ("AB", Decision.MIXED, None),
        ("BU", Decision.UNDECIDED, None),
        ("FF", Decision.TOO_FEW, None),
        ("FT", Decision.UNDECIDED, None),
    ],
)
def test_tasks_together(verdicts, decision, winner):
    of = {
        "A": Verdict(Decision.BETTER, "", "A"),
        "B": Verdict(Decision.BETTER, "", "B"),
        "T": Verdict(Decision.TIED, ""),
        "U": Verdict(Decision.UNDECIDED, ""),
        "F": Verdict(Decision.TOO_FEW, ""),
    }
    question = Question("A", "B", "seed", False, True, 0.95, None, 2)
    found = judge_all(question, {str(i): of[v] for i, v in enumerate(verdicts)})
    assert (found.decision, found.winner) == (decision, winner)


def test_tasks_of_one_side_alone_are_named():
    a = on_tasks("A", {"x": BASE, "only": BASE})
    found = compare_scores(a, on_tasks("B", {"x": BASE + 1}))
    assert [task.task for task in found.tasks] == ["x"]
    assert "only is left out: A alone has scores on it" in found.notes


def test_a_comparison_repeats_with_its_seed():
    generator = np.random.default_rng(1)
    a, b = (Scores.of(n, generator.normal(size=60)) for n in "AB")
    one, again, other = (compare_scores(a, b, seed=s).tasks[0] for s in (1, 1, 2))
    assert one.test == again.test != other.test
    assert one.outperforming == again.outperforming
    assert one.difference == again.difference


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"margin": 0.0}, "margin is 0.0; it must be a positive difference"),
        ({"margin": np.nan}, "margin is nan"),
        ({"detect": -1.0}, "detect is -1.0"),
        ({"confidence": 1.0}, "confidence is 1.0"),
        ({"pair_by": "fold"}, "cannot be paired by 'fold'"),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        compare_scores(*shares(GAIN), **settings)


@pytest.mark.parametrize(
    ("b", "message"),
    [
        (seeded("A", BASE), "both sides have the name 'A'"),
        (seeded("B", BASE, percent=True), "percent of A is False, but True of B"),
        (seeded("B", BASE, score="F1"), "score of A is 'score', but 'F1' of B"),
        (seeded("B", BASE, higher_is_better=False), "higher_is_better of A is True"),
        (on_tasks("B", {"x": BASE}), "no task has scores of both"),
    ],
)
def test_scores_of_different_kinds_are_refused(b, message):
    with pytest.raises(ValueError, match=message):
        compare_scores(seeded("A", BASE), b)


def test_the_public_name_is_this_function():
    assert nondet.compare_scores is compare_scores
