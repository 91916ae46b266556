"""Choose which models to hold at once, if not all fit, so that every pair meets."""

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence

_PRIMES = (2, 3, 5, 7, 11, 13)  # larger planes need more models than anybody trains

Design = list[tuple[int, ...]]


def plan_tiles(models: int, bytes_per_model: int, free_bytes: int) -> list[tuple[int, ...]]:
    """Return sets of models, each small enough to hold at once, so that every pair is in one of
    them.

    The cost is the number of times that a model is computed, the sum of the sets' sizes. With k
    models at a time, a model meets at most k - 1 others in a set, so it must be in at least
    ceil((models - 1) / (k - 1)) sets. The result is the best of several constructions, the first of
    which needs at most twice that bound: models in groups of k // 2, and all pairs of groups;
    groups of k // q as the points of a projective or affine plane, and its lines of q points each;
    sets filled greedily with what brings the most new pairs.

    Args:
        models: their number, at least 1.
        bytes_per_model: what each takes while it is held.
        free_bytes: what is available.

    Returns:
        Increasing numbers in [0, models) each; one set if all models fit. Neighbouring sets share
        models where ordering the sets allows it.

    Raises:
        ValueError: not even two models fit.
    """
    k = free_bytes // bytes_per_model
    if models <= k:
        return [tuple(range(models))]
    if k < 2:
        raise ValueError(f"two models take {2 * bytes_per_model} bytes, got {free_bytes}")
    plans = [_of_groups(models, design, points) for points, design in _designs(models, k)]
    plans = [_without_spare(plan) for plan in [*plans, _greedy(models, k)]]
    return _chained(min(plans, key=lambda plan: sum(map(len, plan))))


def loads(tiles: Sequence[Sequence[int]]) -> int:
    """Return how often a model is computed if models shared by neighbouring sets are kept."""
    pairs = zip([(), *tiles], tiles, strict=False)
    return sum(len(set(tile).difference(before)) for before, tile in pairs)


def _designs(models: int, k: int) -> Iterator[tuple[int, Design]]:
    """Yield numbers of points, and sets of them that contain every pair, for which groups of models
    are small enough.
    """
    groups = -(-models // (k // 2))
    yield groups, list(itertools.combinations(range(groups), 2))
    for q in _PRIMES:
        for points, line, design in (
            (q * q, q, _affine_plane),
            (q * q + q + 1, q + 1, _projective_plane),
        ):
            if points * (k // line) >= models:
                yield points, design(q)


def _affine_plane(q: int) -> Design:
    """Return the lines of the affine plane: q^2 points, lines of q; every two points are on one
    line.
    """
    sloped = [
        tuple(sorted(x * q + (slope * x + at) % q for x in range(q)))
        for slope in range(q)
        for at in range(q)
    ]
    return sloped + [tuple(x * q + y for y in range(q)) for x in range(q)]


def _projective_plane(q: int) -> Design:
    """Return the lines of the affine plane, with a point at infinity for each direction, and the
    line of these.
    """
    extended = [(*line, q * q + i // q) for i, line in enumerate(_affine_plane(q))]
    return [*extended, tuple(range(q * q, q * q + q + 1))]


def _of_groups(models: int, design: Design, points: int) -> Design:
    """Return the design with groups of models, as equal as possible, for points."""
    starts = [models * i // points for i in range(points + 1)]
    return [
        tuple(sorted(m for i in line for m in range(starts[i], starts[i + 1]))) for line in design
    ]


def _greedy(models: int, k: int) -> Design:
    """Return sets of at most k models, each begun with a pair that has not met and filled with the
    models that have met the fewest of those in it.
    """
    strangers = [set(range(models)) - {m} for m in range(models)]
    tiles = []
    while strangers[first := max(range(models), key=lambda m: len(strangers[m]))]:
        tile = {first}
        while len(tile) < k:
            rest = [m for m in range(models) if m not in tile]
            best = max(rest, key=lambda m: len(strangers[m] & tile))
            if not strangers[best] & tile:
                break
            tile.add(best)
        for m in tile:
            strangers[m] -= tile
        tiles.append(tuple(sorted(tile)))
    return tiles


def _without_spare(tiles: Design) -> Design:
    """Return the sets without models that meet all others of their set elsewhere."""
    times = Counter(pair for tile in tiles for pair in itertools.combinations(tile, 2))
    kept = []
    for tile in tiles:
        left = set(tile)
        for model in tile:
            pairs = [(min(model, other), max(model, other)) for other in left - {model}]
            if all(times[pair] > 1 for pair in pairs):
                left.remove(model)
                times.subtract(pairs)
        if left:
            kept.append(tuple(sorted(left)))
    return kept


def _chained(tiles: Design) -> Design:
    """Order the sets so that each shares as many models with the one before as any that is left."""
    left, chain = list(tiles), [tiles[0]]
    left.remove(tiles[0])
    while left:
        last = set(chain[-1])
        chosen = max(left, key=lambda tile: len(last.intersection(tile)))
        left.remove(chosen)
        chain.append(chosen)
    return chain


def groups_in_memory(
    models: int, bytes_per_model: int, memory: int, what: str
) -> list[tuple[int, ...]]:
    """Call `plan_tiles` for what is read again, not computed again; ValueError names `memory`."""
    if memory < 2 * bytes_per_model:
        raise ValueError(
            f"memory must leave at least {2 * bytes_per_model} bytes for {what} of two models, "
            f"got {memory}"
        )
    return plan_tiles(models, bytes_per_model, memory)
