"""Test that a deterministic kernel has one result over thousands of schedules, and an atomic one
several.
"""

import numpy as np
import pytest

from . import build
from .sample_kernels import atomic_sum, mixed_magnitudes, module, tree_sum, tree_sum_naive

VARIANTS = [
    pytest.param(
        v, marks=pytest.mark.skipif(build.missing(v) is not None, reason=str(build.missing(v)))
    )
    for v in build.VARIANTS
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_deterministic_sum_has_one_result(variant, dtype):
    emulated = module(variant)
    x = mixed_magnitudes(1003, dtype)
    results = set()
    for seed in range(2500 if variant == "plain" else 1000):
        emulated.emulation.configure(seed)
        outcome = tree_sum(emulated, x)
        assert not outcome.reports, f"seed {seed}: {outcome.reports[0]}"
        results.add(outcome.result)
    assert results == {tree_sum_naive(x)}


def cancelling(n):
    """Return numbers that add up to zero, so that their computed sum consists of rounding errors
    and depends on the order.
    """
    half = mixed_magnitudes(n // 2, np.float32)
    return np.random.default_rng(21).permutation(np.concatenate([half, -half]))


@pytest.mark.parametrize("variant", VARIANTS)
def test_atomic_sum_has_many_results(variant):
    emulated = module(variant)
    x = cancelling(5000)
    results = set()
    for seed in range(200):
        emulated.emulation.configure(seed)
        outcome = atomic_sum(emulated, x)
        assert outcome.reports == []
        results.add(outcome.result)
    assert len(results) > 20
    # Each of the n additions has an error of at most half an ulp of a partial sum, and partial sums
    # are below sum |x|.
    bound = x.size * np.finfo(np.float32).eps / 2 * float(np.abs(x.astype(np.float64)).sum())
    assert all(abs(np.frombuffer(r, np.float32)[0]) <= bound for r in results)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_seed_is_a_schedule(variant):
    emulated = module(variant)
    x = cancelling(5000)

    def record(seed):
        emulated.emulation.configure(seed)
        emulated.emulation.take_counters()
        return [
            (atomic_sum(emulated, x).result, emulated.emulation.take_counters()) for _ in range(3)
        ]

    assert [record(seed) for seed in range(30)] == [record(seed) for seed in range(30)]
    assert any(len({result for result, _ in record(seed)}) > 1 for seed in range(30)), (
        "launches of one seed differ"
    )


def test_seeds_differ_beyond_their_settings():
    emulated = module("plain")
    x = cancelling(5000)
    fixed = {"policy": "random", "block_order": "forward", "resident": 4, "atomic_yield": 0.5}
    settings, results = [], set()
    for seed in range(1, 30):
        settings.append({**emulated.emulation.configure(seed, **fixed), "seed": None})
        results.add(atomic_sum(emulated, x).result)
    assert all(each == settings[0] for each in settings)
    assert len(results) > 10


def test_seeds_cover_the_choices():
    configure = module("plain").emulation.configure
    seen = [configure(seed) for seed in range(1, 1001)]
    for choice, values in {
        "policy": {"fifo", "lifo", "random", "warp", "priority"},
        "block_order": {"forward", "backward", "shuffled"},
        "resident": {1, 2, 4, 8},
        "atomic_yield": {0.0, 0.45, 0.9},
    }.items():
        counts = {value: sum(s[choice] == value for s in seen) for value in values}
        assert sum(counts.values()) == len(seen)
        assert min(counts.values()) > len(seen) / len(values) / 2
    assert configure(0)["policy"] == "fifo"
    assert configure(0)["resident"] == 1


def test_blocks_start_in_order_and_change_places_with_neighbours_only():
    emulated = module("plain")
    x = cancelling(64 * 128)
    in_order = emulated.emulation.configure(1, policy="hardware", resident=1)
    assert in_order["block_order"] == "forward"
    assert in_order["atomic_yield"] == in_order["access_yield"] == 0
    one_by_one = {atomic_sum(emulated, x, blocks=64).result}
    for seed in range(30):
        emulated.emulation.configure(seed, policy="hardware", resident=1)
        one_by_one.add(atomic_sum(emulated, x, blocks=64).result)
        emulated.emulation.configure(seed, policy="hardware", resident=8, jitter=0)
        one_by_one.add(atomic_sum(emulated, x, blocks=64).result)
    assert len(one_by_one) == 1
    several = set()
    for seed in range(30):
        emulated.emulation.configure(seed, policy="hardware", resident=8)
        several.add(atomic_sum(emulated, x, blocks=64).result)
        assert tree_sum(emulated, x).result == tree_sum_naive(x)
    assert len(several) > 10


def test_bad_settings_are_refused():
    emulated = module("plain")
    before = emulated.emulation.configure(3)
    with pytest.raises(ValueError, match="policy: got 'fair', expected one of fifo, lifo"):
        emulated.emulation.configure(0, policy="fair")
    with pytest.raises(ValueError, match="resident: got 0"):
        emulated.emulation.configure(0, resident=0)
    with pytest.raises(ValueError, match=r"jitter: got -0\.1"):
        emulated.emulation.configure(0, jitter=-0.1)
    with pytest.raises(ValueError, match="does not observe memory accesses"):
        emulated.emulation.configure(0, check_races=True)
    with pytest.raises(ValueError, match="no kernels translated"):
        emulated.emulation.configure(0, translated=True)
    assert emulated.emulation.configure(3) == before
