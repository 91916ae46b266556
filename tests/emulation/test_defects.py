"""Test that every check of the emulation catches the planted defects that it can see, and names
their lines.
"""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from . import build
from .sample_kernels import (
    WARP_SAMPLES,
    Outcome,
    mixed_magnitudes,
    module,
    tree_sum,
    tree_sum_naive,
    warp_sample,
    warp_sample_naive,
)

pytestmark = [pytest.mark.early, pytest.mark.slow]

SEEDS = 200
X = mixed_magnitudes(1003, np.float32)
SIXTY_FOUR = np.linspace(-1, 1, 64).astype(np.float32)[np.random.default_rng(5).permutation(64)]

needs_ptx = pytest.mark.skipif(build.missing("ptx") is not None, reason=str(build.missing("ptx")))


def tree_outcomes(variant: str, defect: str, **settings: object) -> list[Outcome]:
    emulated = module(variant)
    outcomes = []
    for seed in range(SEEDS):
        emulated.emulation.configure(seed, **settings)
        outcomes.append(tree_sum(emulated, X, defect=defect))
    return outcomes


def warp_outcomes(variant: str, sample: str, defect: bool, **settings: object) -> list[Outcome]:
    emulated = module(variant)
    outcomes = []
    for seed in range(40):
        emulated.emulation.configure(seed, event_budget=100_000, **settings)
        outcomes.append(warp_sample(emulated, sample, SIXTY_FOUR, defect))
    return outcomes


def share(outcomes: list[Outcome], kind: str) -> float:
    """Return the fraction of schedules in which a report of this kind was made."""
    return sum(any(r.kind == kind for r in o.reports) for o in outcomes) / len(outcomes)


def lines(outcomes: list[Outcome], kind: str) -> set[str]:
    """Return the source lines of the sample's file that reports of this kind name."""
    places = [
        p for o in outcomes for r in o.reports if r.kind == kind for p in (r.at, r.other) if p
    ]
    assert {p.file.parent.name for p in places} <= {"samples"}
    return {p.text() for p in places}


TREE_LINE = "scratch[t] = scratch[t] + scratch[t + half];"
STORE_LINE = "scratch[t] = value;"
FLAG_LINES = {"last[0] = atomicAdd(done, 1u) == gridDim.x - 1;", "if (!last[0]) return;"}
PARTIAL_LINES = {
    "partial[blockIdx.x] = value;",
    "for (int b = t; b < static_cast<int>(gridDim.x); b += kTreeBlock) value = value + partial[b];",
}

# defect: (kind of report, lines of which the reports must name some, least fraction of the race
# schedules with a report)
CAUGHT = {
    "no barrier in tree": ("race", {TREE_LINE}, 1.0),
    "no barrier after store": ("race", {TREE_LINE, STORE_LINE}, 1.0),
    "no fence": ("race", PARTIAL_LINES, 1.0),
    "no acquire": ("race", PARTIAL_LINES, 1.0),
    "no barrier after flag": ("race", FLAG_LINES, 1.0),
    "scratch reused": ("race", {STORE_LINE, "return scratch[0];"}, 1.0),
    "divergent barrier": (
        "divergent-barrier",
        {"if (D == kDivergentBarrier) __syncthreads();"},
        1.0,
    ),
}


@pytest.mark.parametrize("defect", ["none", "spare barrier"])
def test_correct_kernels_give_no_report(defect: str) -> None:
    for outcome in tree_outcomes("race", defect):
        assert outcome == Outcome(tree_sum_naive(X), [], False)


@pytest.mark.parametrize("defect", CAUGHT)
def test_the_race_build_catches(defect: str) -> None:
    kind, where, at_least = CAUGHT[defect]
    outcomes = tree_outcomes("race", defect)
    assert share(outcomes, kind) >= at_least
    assert where <= lines(outcomes, kind)


@needs_ptx
@pytest.mark.parametrize("defect", [d for d in CAUGHT if d != "scratch reused"])
def test_the_translated_kernels_are_caught_too(defect: str) -> None:
    kind, _, at_least = CAUGHT[defect]
    outcomes = tree_outcomes("ptx", defect, check_races=True)
    assert share(outcomes, kind) >= at_least
    assert lines(outcomes, kind)


@needs_ptx
@pytest.mark.parametrize("defect", ["none", "spare barrier"])
def test_correct_translated_kernels_give_no_report(defect: str) -> None:
    for outcome in tree_outcomes("ptx", defect, check_races=True):
        assert outcome == Outcome(tree_sum_naive(X), [], False)


@pytest.mark.parametrize("defect", ["no barrier in tree", "no barrier after store"])
def test_a_missing_barrier_changes_bits(defect: str) -> None:
    wrong = [o.result != tree_sum_naive(X) for o in tree_outcomes("plain", defect)]
    assert sum(wrong) > SEEDS / 3


@pytest.mark.parametrize("defect", ["no fence", "no acquire"])
def test_a_missing_fence_changes_no_bits_here(defect: str) -> None:
    """A missing fence changes no bits, because memory is sequentially consistent in the emulation;
    only the race build reports it.
    """
    assert {o.result for o in tree_outcomes("plain", defect)} == {tree_sum_naive(X)}


@pytest.mark.parametrize("variant", ["plain", "race", pytest.param("ptx", marks=needs_ptx)])
@pytest.mark.parametrize("sample", WARP_SAMPLES)
def test_correct_samples(sample: str, variant: str) -> None:
    for outcome in warp_outcomes(variant, sample, defect=False):
        assert outcome == Outcome(warp_sample_naive(sample, SIXTY_FOUR), [], False)


# sample: (kind of report, its line, whether the launch is aborted, builds that report it)
CAUGHT_IN_WARP = {
    "exchange": ("race", "out[threadIdx.x] = scratch[threadIdx.x ^ 1];", False, {"race"}),
    "rotate": (
        "bad-shuffle",
        "out[threadIdx.x] = __shfl_sync(half, value, source);",
        False,
        {"plain", "race", "ptx"},
    ),
    "divergent vote": (
        "warp-mismatch",
        "any = __any_sync(0xffff0000u, value > 0);",
        True,
        {"plain", "race", "ptx"},
    ),
    "reverse": (
        "shared-out-of-bounds",
        "out[threadIdx.x] = scratch[kThreads - 1 + Defect - threadIdx.x];",
        False,
        {"race"},
    ),
    "lookup": ("uninitialized", "out[threadIdx.x] = scratch[threadIdx.x];", False, {"race"}),
    "wait": (
        "no-progress",
        "while (atomicAdd(&ready[0], 0u) == 0) {",
        True,
        {"plain", "race", "ptx"},
    ),
    "meet": ("deadlock", "__syncthreads();", True, {"plain", "race", "ptx"}),
    "overrun": (
        "shared-out-of-bounds",
        "if (Defect && threadIdx.x == kThreads - 1) scratch[threadIdx.x + 1] = 0;",
        False,
        {"plain", "race", "ptx"},
    ),
    "trap": ("trap", "if (Defect && threadIdx.x == 5) __trap();", True, {"plain", "race", "ptx"}),
}


@pytest.mark.parametrize("variant", ["plain", "race", pytest.param("ptx", marks=needs_ptx)])
@pytest.mark.parametrize("sample", CAUGHT_IN_WARP)
def test_planted_defects_of_samples(sample: str, variant: str) -> None:
    kind, line, aborted, seen_by = CAUGHT_IN_WARP[sample]
    outcomes = warp_outcomes(variant, sample, defect=True)
    if variant not in seen_by:
        assert share(outcomes, kind) == 0
        return
    assert share(outcomes, kind) > 0.5
    named = lines(outcomes, kind)
    # nvcc moves code, so its lines are only near the defect. Guards around arrays are checked when
    # a block ends.
    if variant == "race" or (variant == "plain" and sample != "overrun"):
        assert line in named
    assert all(o.aborted == (aborted and o.reports != []) for o in outcomes)


def test_reports_are_made_once_and_taken_once() -> None:
    emulated = module("race")
    emulated.emulation.configure(1)
    reports = tree_sum(emulated, X, defect="no barrier in tree").reports
    places = Counter((r.kind, r.at, r.other) for r in reports)
    assert reports
    assert emulated.emulation.take_reports() == []
    assert max(places.values()) <= 4, "the compiler may duplicate a line, but not often"
    assert "scratch" in reports[0].text
    assert "thread" in reports[0].text
    assert f"{Path('samples') / 'tree_sum.cu'}:" in str(reports[0])
