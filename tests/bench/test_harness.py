"""Contenders are timed in pairs with ours, in alternating order."""

import pytest

import harness
from harness import Bench, Contender
from measured import Case


@pytest.fixture
def clock(monkeypatch):
    """A clock that only contenders move, in seconds."""
    now = [0.0]
    monkeypatch.setattr(harness.time, "perf_counter", lambda: now[0])
    return now


@pytest.fixture
def contender(clock):
    """Return a function that makes contenders, and the list of who ran."""
    ran: list[str] = []

    def make(name: str, seconds: list[float], role: str = "peer", **more: object) -> Contender:
        left = list(seconds)

        def run() -> None:
            ran.append(name)
            clock[0] += left.pop(0) if len(left) > 1 else left[0]

        return Contender(name, role, run, 8, **more)

    return make, ran


def timed(*contenders: Contender, smoke: bool = False, **more: object) -> Case:
    cases: list[Case] = []
    Bench(smoke, cases).time("case", *contenders, **more)
    return cases[0]


def test_runs_alternate_pair_by_pair(contender):
    make, ran = contender
    timed(make("ours", [1.0], "ours"), make("peer", [2.0]), rounds=4)
    warm, pairs = ran[:2], ran[2:]
    assert warm == ["ours", "peer"]
    assert pairs == ["ours", "peer", "peer", "ours", "ours", "peer", "peer", "ours"]


def test_every_other_contender_has_pairs_of_its_own(contender):
    make, ran = contender
    case = timed(
        make("ours", [1.0], "ours"), make("a", [2.0]), make("b", [4.0], "ceiling"), rounds=2
    )
    assert ran == ["ours", *["a", "ours", "a", "a", "ours"], *["b", "ours", "b", "b", "ours"]]
    assert [len(each.processes[0].seconds) for each in case.contenders] == [4, 2, 2]
    assert [each.ratio for each in case.contenders] == [None, 2.0, 4.0]


def test_a_ratio_is_of_one_pair(contender):
    """A machine that slows down by half in the middle changes no ratio."""
    make, _ = contender
    ours = make("ours", [9, 1, 1, 2, 2], "ours")
    peer = make("peer", [9, 3, 3, 6, 6])
    (timing,) = timed(ours, peer, rounds=4).others[0].processes
    assert timing.ratios == [3.0] * 4
    assert timing.seconds == [3, 3, 6, 6]


def test_a_share_of_the_work_is_extrapolated(contender):
    make, _ = contender
    case = timed(make("ours", [1.0], "ours"), make("peer", [2.0], share=0.1), rounds=2)
    assert case.others[0].seconds == pytest.approx(20)
    assert case.others[0].ratio == pytest.approx(20)


def test_a_slow_contender_has_fewer_rounds(contender):
    make, ran = contender
    timed(make("ours", [1.0], "ours"), make("slow", [9.0], rounds=1), rounds=5)
    assert ran.count("slow") == 1  # and no run before it, which would cost as much


def test_ours_alone_is_timed_in_every_round(contender):
    make, _ = contender
    case = timed(make("ours", [1.0], "ours"), rounds=3)
    assert len(case.ours.processes[0].seconds) == 3


def test_a_smoke_run_times_one_pair(contender):
    make, ran = contender
    timed(make("ours", [1.0], "ours"), make("peer", [1.0]), smoke=True, rounds=7)
    assert ran == ["ours", "peer"]


def test_a_case_begins_with_the_only_ours(contender):
    make, _ = contender
    with pytest.raises(AssertionError):
        timed(make("peer", [1.0]), make("ours", [1.0], "ours"))
    with pytest.raises(AssertionError):
        timed(make("ours", [1.0], "ours"), make("more", [1.0], "ours"))


def test_notes_made_by_a_run_are_kept(clock):
    notes: dict[str, float] = {}
    ours = Contender("ours", "ours", lambda: notes.update(peak=3.0), 8, notes=notes)
    assert timed(ours, rounds=1).ours.processes[0].notes == {"peak": 3.0}
