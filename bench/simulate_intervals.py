"""Simulates coverage and power of the intervals of reports: the tables of docs/statistics.md.

    python bench/simulate_intervals.py [--quick] [--page docs/statistics.md]

Prints the tables, and puts them between the marks of the page. `--quick` takes a tenth of the
simulations. A cell draws from a generator of its own, so it does not depend on the others.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from nondet import stats
from nondet.analysis.reduction import reduction_of
from nondet.analysis.summary import Statistics, statistics_of_logits
from simulate_comparisons import generator_of, percent, run, table

RUNS = (3, 5, 10, 30)
TWICE = 2.0
IMAGES = 450

Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]
Interval = stats.Interval

RESULTS: dict[str, tuple[Draw, float]] = {
    "normal": (lambda rng, shape: rng.standard_normal(shape), 1.0),
    "exponential": (lambda rng, shape: rng.exponential(size=shape), 1.0),
}
"""Distributions of results, and their SDs."""


def _accuracies(sd: float) -> tuple[Draw, float]:
    """Return normal results with this SD, rounded to whole numbers of images, and their SD."""
    centre = 0.3  # no number of images, nor the middle of two
    drawn = np.round(centre + sd * generator_of("rounded", sd).standard_normal(10**6))
    return (
        lambda rng, shape: np.round(centre + sd * rng.standard_normal(shape)),
        float(drawn.std()),
    )


RESULTS |= {f"accuracies, SD {sd:g} images": _accuracies(sd) for sd in (0.5, 1, 3)}


class Hits(NamedTuple):
    """How many intervals hold the truth, of those that exist, and the share that exists."""

    coverage: float
    known: float

    def __str__(self) -> str:
        if self.known == 0:
            return "-"
        text = percent(self.coverage)
        share = f"{100 * self.known:.0f}"
        return text if self.known == 1 else f"{text} ({'>99' if share == '100' else share})"


def coverage(found: Iterable[Interval], truth: float) -> Hits:
    """Return how often intervals hold the truth; they may lack ends, but not width."""
    intervals = np.array(list(found))
    known = np.isfinite(intervals[:, 1:]).all(1)
    low, high = intervals[known, 1:].T
    assert (low <= high).all()
    hits = (low <= truth) & (truth <= high)
    return Hits(float(hits.mean()) if known.any() else 0.0, float(known.mean()))


def excluded(found: Iterable[Interval], value: float = 1.0) -> float:
    """Return how often intervals exclude a value; those without ends do not."""
    return float(np.mean([one.low > value or one.high < value for one in found]))


# -- single SDs and their ratios -----------------------------------------------------------------


def sd_coverage(name: str, runs: int, simulations: int) -> Hits:
    """Return the coverage of `unbiased_sd`."""
    draw, sd = RESULTS[name]
    samples = draw(generator_of("sd", name, runs), (simulations, runs))
    return coverage(map(stats.unbiased_sd, samples), sd)


def ratio_coverage(name: str, runs: int, simulations: int) -> Hits:
    """Return the coverage of `sd_ratio` for two samples of one distribution."""
    draw, _ = RESULTS[name]
    samples = draw(generator_of("ratio", name, runs), (simulations, 2, runs))
    return coverage((stats.sd_ratio(a, b) for a, b in samples), 1.0)


def ratio_power(name: str, runs: int, ratio: float, simulations: int) -> float:
    """Return how often the interval of `sd_ratio` excludes 1 where the ratio is another."""
    draw, _ = RESULTS[name]
    samples = draw(generator_of("power", name, runs, round(ratio, 6)), (simulations, 2, runs))
    return excluded(stats.sd_ratio(ratio * a, b) for a, b in samples)


# -- pairs ---------------------------------------------------------------------------------------


class Measure(NamedTuple):
    """A measure of pairs: draws matrices (S, R, R) and their mean over all pairs, and its range."""

    draw: Callable[[np.random.Generator, int, int], np.ndarray]
    mean: float
    low: float = -np.inf
    high: float = np.inf


def _distances(draw: Draw) -> Callable[[np.random.Generator, int, int], np.ndarray]:
    def matrices(rng: np.random.Generator, simulations: int, runs: int) -> np.ndarray:
        x = draw(rng, (simulations, runs))
        return np.abs(x[:, :, None] - x[:, None])

    return matrices


def _models_and_noise(model: float) -> Callable[[np.random.Generator, int, int], np.ndarray]:
    def matrices(rng: np.random.Generator, simulations: int, runs: int) -> np.ndarray:
        a = model * rng.standard_normal((simulations, runs))
        e = np.triu(rng.standard_normal((simulations, runs, runs)), 1)
        return 10 + a[:, :, None] + a[:, None] + e + e.transpose(0, 2, 1)

    return matrices


def disagreements(undecided: float) -> Measure:
    """Return the disagreement in percent on 450 images, of which a share is undecided: models
    choose between two classes, each image with a probability of its own.
    """
    q = generator_of("images", undecided).beta(0.7, 0.7, round(undecided * IMAGES))

    def matrices(rng: np.random.Generator, simulations: int, runs: int) -> np.ndarray:
        chosen = (rng.random((simulations, runs, len(q))) < q).astype(np.float64)
        apart = chosen @ (1 - chosen).transpose(0, 2, 1)
        return 100 * (apart + apart.transpose(0, 2, 1)) / IMAGES

    return Measure(matrices, float(100 * (2 * q * (1 - q)).sum() / IMAGES), 0, 100)


def _rank_correlations(rng: np.random.Generator, simulations: int, runs: int) -> np.ndarray:
    """Draw correlations 1 - a_i - a_j with skewed a: some runs are far from all others."""
    a = rng.gamma(0.7, 0.03, (simulations, runs))
    return 1 - a[:, :, None] - a[:, None]


MEASURES = {
    "distances of normal values": Measure(_distances(RESULTS["normal"][0]), 2 / np.sqrt(np.pi), 0),
    "distances of exponential values": Measure(_distances(RESULTS["exponential"][0]), 1.0, 0),
    "a + a + e, equal variances": Measure(_models_and_noise(1), 10.0),
    "e alone": Measure(_models_and_noise(0), 10.0),
    "disagreement, 10% of images undecided": disagreements(0.1),
    "disagreement, 2% of images undecided": disagreements(0.02),
    "correlations, a few runs apart": Measure(_rank_correlations, 1 - 2 * 0.7 * 0.03, -1, 1),
}


def pair_coverage(name: str, runs: int, simulations: int) -> Hits:
    """Return the coverage of `pair_mean`."""
    measure = MEASURES[name]
    matrices = measure.draw(generator_of("pairs", name, runs), simulations, runs)
    return coverage(
        (stats.pair_mean(one, 0.95, measure.low, measure.high) for one in matrices), measure.mean
    )


def pair_ratio_hits(ratio: float, runs: int, simulations: int) -> tuple[Hits, float]:
    """Return the coverage of `pair_ratio` of two disagreements, and how often it excludes 1."""
    below, above = disagreements(0.05), disagreements(0.05 * ratio)
    generator = generator_of("pair ratio", ratio, runs)
    found = [
        stats.pair_ratio(a, b)
        for a, b in zip(
            above.draw(generator, simulations, runs),
            below.draw(generator, simulations, runs),
            strict=True,
        )
    ]
    return coverage(found, above.mean / below.mean), excluded(found)


# -- reductions, components, the test set --------------------------------------------------------


def _row(rng: np.random.Generator, runs: int, noise: float) -> Statistics:
    """Return the statistics of runs whose logits on 120 images vary, each run by its own amount."""
    margin = generator_of("margins").normal(1.5, 1, (120, 1))
    truth = np.eye(3)[np.arange(120) % 3]
    own = noise * (1 + 0.3 * rng.standard_normal((runs, 1, 1)))
    logits = margin * truth + own * rng.standard_normal((runs, 120, 3))
    return statistics_of_logits(logits.astype(np.float32), np.arange(120) % 3, resamples=1)


def reduction_coverage(runs: int, simulations: int) -> Hits:
    """Return the coverage of the reduction between two rows with half and all of the noise."""
    generator = generator_of("reduction", runs)
    truth = reduction_of(_row(generator, 400, 0.5), _row(generator, 400, 1.0), False).value
    return coverage(
        (
            reduction_of(_row(generator, runs, 0.5), _row(generator, runs, 1.0), False)
            for _ in range(simulations)
        ),
        truth,
    )


def component_coverage(skewed: bool, seeds: int, simulations: int) -> tuple[Hits, Hits]:
    """Return the coverage of the variance of one of two sources, and of its share."""
    generator = generator_of("components", skewed, seeds)
    draw = (
        (lambda shape: generator.exponential(size=shape) - 1)
        if skewed
        else generator.standard_normal
    )
    found = [
        stats.components(
            draw((seeds, 1)) + 0.5 * draw((1, seeds)) + 0.3**0.5 * draw((seeds, seeds)),
            generator,
            500,
        )
        for _ in range(simulations)
    ]
    return (
        coverage((one.effects[0,] for one in found), 1.0),
        coverage((one.first_order[0] for one in found), 1 / 1.55),
    )


def test_set_coverage(shift: float, runs: int, simulations: int) -> Hits:
    """Return the coverage of the share of the test set, for errors on 400 images that a run makes
    more or less often, by up to `shift` times p (1 - p).
    """
    generator = generator_of("test set", shift, runs)
    found = []
    for _ in range(simulations):
        p = generator.beta(0.3, 2, 400)
        weight = p * (1 - p)
        u = generator.uniform(-shift, shift, (runs, 1))
        losses = (generator.random((runs, 400)) < p + u * weight).astype(np.float64)
        share = stats.sampling_share(losses).share
        common = shift**2 / 3 * (weight.sum() ** 2 - (weight**2).sum())
        truth = weight.sum() / (weight.sum() + common)
        found.append(Interval(share.value - truth, share.low - truth, share.high - truth))
    return coverage(found, 0.0)


# -- tables --------------------------------------------------------------------------------------


def simulate(simulations: int) -> str:
    """Return all tables as Markdown."""
    few = max(simulations // 4, 1)
    error = 100 * (0.05 * 0.95 / simulations) ** 0.5
    parts = [
        f"{simulations:,} simulations a cell (standard error {error:.1f} near 95%), {few:,} for "
        "reductions,\ncomponents and the test set. Where not every sample has an interval, the "
        "share in percent that\nhas one stands in brackets.",
        "**Coverage of 95% intervals of an SD (`unbiased_sd`) and of a ratio (`sd_ratio`), in\n"
        "percent**",
    ]
    rows = _rows("SD", RESULTS, lambda name, r: sd_coverage(name, r, simulations))
    rows += _rows("ratio", RESULTS, lambda name, r: ratio_coverage(name, r, simulations))
    parts.append(table(["R =", *RUNS], rows))
    parts.append(
        "**Power of `sd_ratio`, in percent**: how often the interval excludes 1. The last two rows "
        "are at\nthe ratio that `detectable_sd_ratio` gives for normal results."
    )
    parts.append(table(["R =", *RUNS], _power_rows(simulations)))
    parts.append("**Coverage of 95% intervals of a mean over pairs (`pair_mean`), in percent**")
    rows = _rows("", MEASURES, lambda name, r: pair_coverage(name, r, simulations))
    parts.append(table(["R =", *RUNS], rows))
    parts.append(
        "**`pair_ratio` of two disagreements, in percent**: 5% of 450 images undecided, and 5, 7.5 "
        "or 10%."
    )
    parts.append(table(["R =", *RUNS], _pair_ratio_rows(simulations)))
    parts.append("**Coverage of other 95% intervals, in percent**")
    parts.append(table(["R =", *RUNS], _other_rows(few)))
    return "\n\n".join(parts)


def _rows(
    kind: str, names: Iterable[str], cell: Callable[[str, int], Hits]
) -> list[Sequence[object]]:
    return [
        [f"{kind}, {name}" if kind else name, *(cell(name, runs) for runs in RUNS)]
        for name in names
    ]


def _power_rows(simulations: int) -> list[Sequence[object]]:
    rows: list[Sequence[object]] = [
        [
            f"ratio {TWICE:g}, {name}",
            *(percent(ratio_power(name, r, TWICE, simulations)) for r in RUNS),
        ]
        for name in ("normal", "exponential")
    ]
    for promised in (0.5, 0.8):
        cells = []
        for runs in RUNS:
            ratio = stats.detectable_sd_ratio(runs, runs, power=promised)
            found = percent(ratio_power("normal", runs, ratio, simulations))
            cells.append(f"{found} at {ratio:.1f}")
        rows.append([f"{100 * promised:.0f} promised, normal", *cells])
    return rows


def _pair_ratio_rows(simulations: int) -> list[Sequence[object]]:
    found = {
        ratio: [pair_ratio_hits(ratio, runs, simulations) for runs in RUNS]
        for ratio in (1.0, 1.5, 2.0)
    }
    rows: list[Sequence[object]] = [["coverage", *(hits for hits, _ in found[1.0])]]
    return rows + [
        [f"power at {ratio:g} times", *(percent(power) for _, power in found[ratio])]
        for ratio in (1.5, 2.0)
    ]


def _other_rows(few: int) -> list[Sequence[object]]:
    rows: list[Sequence[object]] = [
        ["reduction by half", *(reduction_coverage(runs, few) for runs in RUNS)]
    ]
    for skewed in (False, True):
        name = "exponential" if skewed else "normal"
        cells = [component_coverage(skewed, runs, few) for runs in RUNS]
        rows.append([f"components, R x R seeds, {name}: variance", *(one for one, _ in cells)])
        rows.append([f"components, R x R seeds, {name}: share", *(one for _, one in cells)])
    for shift in (0.0, 0.8):
        name = "runs that differ" if shift else "runs alike"
        cells = [test_set_coverage(shift, runs, few) for runs in RUNS]
        rows.append([f"share of the test set, {name}", *cells])
    return rows


def main() -> None:
    run(__doc__.splitlines()[0], simulate)


if __name__ == "__main__":
    main()
