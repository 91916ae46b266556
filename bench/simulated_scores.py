"""The made-up scores of simulate_comparisons.py, and what is computed of many samples at once."""

import zlib
from collections.abc import Callable

import numpy as np
from scipy.stats import t as student

from nondet import stats

DRAWS = 999
"""Arrangements that a test draws at random where there are too many to count in a simulation."""
LEVEL = 0.05

Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]

SCORES: dict[str, Draw] = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "lognormal": lambda rng, shape: rng.lognormal(size=shape),
    # Accuracies on 1,000 examples whose SD is a single example: most scores tie.
    "k / 1000": lambda rng, shape: np.round(900 + rng.standard_normal(shape)) / 1000,
}


def generator_of(*cell: object) -> np.random.Generator:
    """Return the generator of a cell of a table."""
    return np.random.default_rng(zlib.crc32(repr(cell).encode()))


def t_halfwidths(a: np.ndarray, b: np.ndarray, paired: bool, level: float = LEVEL) -> np.ndarray:
    """Return the half-widths (S,) of Student's or Welch's intervals of samples (S, R), of which b
    may have another number of runs if they are not paired.
    """
    n, m = a.shape[1], b.shape[1]
    if paired:
        variance, freedom = (b - a).var(1, ddof=1) / n, np.full(len(a), n - 1.0)
    else:
        of_a, of_b = a.var(1, ddof=1) / n, b.var(1, ddof=1) / m
        variance = of_a + of_b
        with np.errstate(invalid="ignore"):
            freedom = variance**2 / (of_a**2 / (n - 1) + of_b**2 / (m - 1))
    freedom = np.nan_to_num(freedom, nan=1.0)
    return student.ppf(1 - level / 2, freedom) * np.sqrt(variance)


def rejections(
    a: np.ndarray, b: np.ndarray, paired: bool, generator: np.random.Generator
) -> dict[str, np.ndarray]:
    """Return what rejects that there is no difference, (S,) bool each: Student's or Welch's
    interval, the exact test, and the rule of `nondet.compare_scores`, which needs both.
    """
    difference = b.mean(1) - a.mean(1)
    # Scores that are decimals differ by their rounding where they should tie.
    excluded = np.abs(difference) - t_halfwidths(a, b, paired) > 1e-12
    test = stats.sign_flip_test if paired else stats.permutation_test
    most = 40 if paired else 20
    found = [test(x, y, generator, DRAWS, most_counted=most).p for x, y in zip(a, b, strict=True)]
    exact = np.array(found) <= LEVEL
    return {"t": excluded, "exact": exact, "rule": excluded & exact}


def null_scores(
    name: str, runs: int, paired: bool, simulations: int, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return scores (simulations, runs) of two methods that do not differ; pairs share half of the
    variance, unless scores are k / 1000.
    """
    draw = SCORES[name]
    a, b = (draw(generator, (simulations, runs)) for _ in range(2))
    if paired and name != "k / 1000":
        shared = draw(generator, (simulations, runs))
        a, b = a + shared, b + shared
    return a, b


UNLIKE = (
    "pairs, differences exponential",
    "pairs, differences lognormal",
    "sides, SDs 1 and 3",
    "sides, SDs 3 and 1, B with 3 R runs",
    "sides, normal and lognormal",
)
"""Methods of equal means whose runs are not exchangeable."""


def unlike_scores(
    name: str, runs: int, simulations: int, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return scores of two methods with equal means whose runs are not exchangeable (`UNLIKE`)."""
    shape = (simulations, runs)
    normal = generator.standard_normal(shape)
    lognormal = generator.lognormal(size=shape) - np.exp(0.5)
    others = generator.standard_normal((simulations, 3 * runs))
    return {
        "pairs, differences exponential": (0 * normal, generator.exponential(size=shape) - 1),
        "pairs, differences lognormal": (0 * normal, lognormal),
        "sides, SDs 1 and 3": (normal, 3 * others[:, :runs]),
        "sides, SDs 3 and 1, B with 3 R runs": (3 * normal, others),
        "sides, normal and lognormal": (normal, lognormal),
    }[name]


def example_scores(
    runs: int, examples: int, cluster: int, run_sd: float, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return right and wrong answers (runs, examples) of two methods that do not differ over all
    runs and examples. Examples are hard or easy; each method likes some; clusters share all this.
    """
    groups = examples // cluster
    hard = 2 + 2 * np.repeat(generator.standard_normal(groups), cluster)
    sides = []
    for _ in range(2):
        liked = 0.7 * np.repeat(generator.standard_normal(groups), cluster)
        run = run_sd * generator.standard_normal((runs, 1))
        noise = generator.logistic(size=(runs, examples))
        sides.append((hard + liked + run + noise > 0).astype(float))
    return sides[0], sides[1]


def two_way_bootstrap(
    a: np.ndarray,
    b: np.ndarray,
    paired: bool,
    clusters: np.ndarray,
    generator: np.random.Generator,
    resamples: int = 399,
) -> tuple[float, float]:
    """Return the percentile interval of a bootstrap that draws runs and clusters of one size."""
    groups = len(np.unique(clusters))
    means = [side.reshape(len(side), groups, -1).mean(2) for side in (a, b)]
    weights = [
        generator.multinomial(len(side), np.full(len(side), 1 / len(side)), resamples) / len(side)
        for side in means
    ]
    if paired:
        weights[1] = weights[0]
    d = weights[1] @ means[1] - weights[0] @ means[0]
    drawn = generator.integers(0, groups, (resamples, groups))
    low, high = np.quantile(np.take_along_axis(d, drawn, 1).mean(1), [0.025, 0.975])
    return float(low), float(high)
