"""Test that tiles of models contain every pair, stay within their size, and load few models
twice.
"""

import itertools

import pytest

from factories.sources import MARGIN
from nondet.analysis.streaming.spearman import describe, plan_disk
from nondet.analysis.streaming.tiles import loads, plan_tiles


def bound(models: int, k: int) -> int:
    """Return a lower bound on the sum of sizes: a model meets k - 1 others in each of its tiles."""
    return models if models <= k else models * -(-(models - 1) // (k - 1))


def fewest(models: int, k: int) -> int:
    """Return the least sum of sizes of tiles of at most k models that contain every pair, by
    exhaustive search.
    """
    pairs = set(itertools.combinations(range(models), 2))
    choices = [
        (size, set(itertools.combinations(tile, 2)))
        for size in range(2, k + 1)
        for tile in itertools.combinations(range(models), size)
    ]
    best = len(pairs) * 2

    def search(left: set, total: int) -> None:
        nonlocal best
        if not left:
            best = min(best, total)
            return
        # Each new pair costs at least 2 / (k - 1) of a model.
        if total + 2 * len(left) / (k - 1) >= best:
            return
        pair = min(left)
        for size, met in choices:
            if pair in met:
                search(left - met, total + size)

    search(pairs, 0)
    return best


@pytest.mark.parametrize("models", range(1, 17))
def test_every_pair_meets(models):
    pairs = set(itertools.combinations(range(models), 2))
    for k in range(2, models + 2):
        tiles = plan_tiles(models, 10, 10 * k + 9)
        assert {pair for tile in tiles for pair in itertools.combinations(tile, 2)} == pairs
        assert all(len(tile) <= k for tile in tiles)
        assert all(list(tile) == sorted(set(tile)) for tile in tiles)
        assert set().union(*tiles) == set(range(models))
        total, least = sum(map(len, tiles)), bound(models, k)
        assert least <= total <= 1.5 * least
        assert total == least or models > k  # a single tile if all fit
        # No tile is superfluous.
        for i in range(len(tiles)):
            rest = tiles[:i] + tiles[i + 1 :]
            met = {pair for tile in rest for pair in itertools.combinations(tile, 2)}
            assert met < pairs or models == 1


@pytest.mark.parametrize(("models", "k"), [(4, 3), (5, 3), (5, 4), (6, 3), (6, 4), (6, 5), (7, 3)])
def test_tiles_are_close_to_the_fewest(models, k):
    tiles = plan_tiles(models, 1, k)
    assert sum(map(len, tiles)) <= fewest(models, k) * 1.25


@pytest.mark.parametrize(
    ("models", "k", "total"),
    [
        (7, 3, 21),  # the Fano plane
        (9, 3, 36),  # the affine plane of order 3
        (13, 4, 52),  # the projective plane of order 3
        (25, 5, 150),
        (18, 6, 72),  # the affine plane of order 3, with pairs of models as points
        (21, 5, 145),  # no such plane: an upper limit
        (100, 50, 300),
        (100, 10, 1600),
    ],
)
def test_known_designs_bound_the_tiles(models, k, total):
    tiles = plan_tiles(models, 1, k)
    pairs = {pair for tile in tiles for pair in itertools.combinations(tile, 2)}
    assert len(pairs) == models * (models - 1) // 2
    assert max(map(len, tiles)) <= k
    assert sum(map(len, tiles)) <= min(total, 2 * bound(models, k))


def test_neighbouring_tiles_share_models():
    tiles = plan_tiles(6, 1, 4)  # three pairs of models, two pairs per tile
    assert sum(map(len, tiles)) == 12
    assert loads(tiles) == 8
    assert loads(plan_tiles(20, 1, 6)) <= 64  # 81 without reordering the tiles
    assert loads([(0, 1, 2)]) == 3
    assert loads([(0, 1), (2, 3), (1, 0)]) == 6


def test_models_that_met_elsewhere_are_left_out():
    assert sum(map(len, plan_tiles(12, 1, 5))) <= 45
    assert sum(map(len, plan_tiles(20, 1, 6))) <= 103


def test_too_little_for_two_models_is_refused():
    assert plan_tiles(1, 10, 10) == [(0,)]
    with pytest.raises(ValueError, match="two models take 20 bytes, got 19"):
        plan_tiles(2, 10, 19)


def needs(models: int, values: int, hidden: int, workers: int) -> int:
    return models * (8 * values + hidden) + workers * 4 * values + MARGIN


@pytest.mark.parametrize(
    ("models", "workers", "expected"),
    [
        (6, 4, ([6], 4)),  # all at once, with all threads
        (6, 1, ([6], 1)),  # ... or with one
        (4, 1, ([4, 4, 4], 1)),
        (2, 1, ([2] * 15, 1)),
    ],
)
def test_the_disk_decides_models_and_threads(models, workers, expected):
    plan = plan_disk(6, 10**9, 700, needs(models, 10**9, 700, workers), 4)
    assert ([len(tile) for tile in plan.tiles], plan.threads) == expected
    assert plan.needs == needs(models, 10**9, 700, plan.threads)
    less = needs(models, 10**9, 700, workers) - 1
    if models == 2:
        with pytest.raises(ValueError, match=r"disk must be at least 20\.20 GB"):
            plan_disk(6, 10**9, 700, less, 4)
    else:
        plan = plan_disk(6, 10**9, 700, less, 4)
        assert plan.needs <= less


def test_models_take_precedence_over_threads():
    """One thread is used instead of two if that makes room for one more model."""
    free = needs(3, 10**9, 0, 2)
    assert plan_disk(6, 10**9, 0, free, 2).threads == 2
    assert plan_disk(6, 10**9, 0, needs(4, 10**9, 0, 1), 2).threads == 1


def test_wide_ranks_need_more_disk():
    """A rank and its work take eight bytes each if there are 2^31 values or more."""
    values = 2**31
    assert plan_disk(2, values, 0, 10**12, 1).needs == 2 * 12 * values + 8 * values + MARGIN


def test_a_plan_is_described():
    plan = plan_disk(6, 10**9, 0, needs(4, 10**9, 0, 1), 2)
    assert describe(plan) == (
        "4 of 6 models at once in 3 tiles, 36.20 GB of disk, models computed 8 times"
    )
    plan = plan_disk(6, 10**9, 0, needs(6, 10**9, 0, 2), 2)
    assert describe(plan) == "all 6 models at once, 56.20 GB of disk"
