"""Simulates how often comparisons of methods err: the tables of docs/comparing-results.md.

    python bench/simulate_comparisons.py [--quick] [--page docs/comparing-results.md]

Prints the tables, and puts them between the marks of the page. `--quick` takes a tenth of the
simulations. A cell draws from a generator of its own, so it does not depend on the others.
"""

import argparse
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from scipy.stats import t as student

from nondet import stats

BEGIN, END = "<!-- simulated: begin -->", "<!-- simulated: end -->"
SIMULATIONS = 2_000
RESAMPLES = 999
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
    """Return the half-widths (S,) of Student's or Welch's intervals of samples (S, R)."""
    runs = a.shape[1]
    if paired:
        variance, freedom = (b - a).var(1, ddof=1) / runs, np.full(len(a), runs - 1.0)
    else:
        of_a, of_b = a.var(1, ddof=1) / runs, b.var(1, ddof=1) / runs
        variance = of_a + of_b
        with np.errstate(invalid="ignore"):
            freedom = (runs - 1) * variance**2 / (of_a**2 + of_b**2)
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


def false_positives(name: str, runs: int, paired: bool, simulations: int) -> dict[str, float]:
    """Return how often each method finds a difference where there is none."""
    generator = generator_of("null", name, runs, paired)
    a, b = null_scores(name, runs, paired, simulations, generator)
    found = rejections(a, b, paired, generator)
    return {method: float(hits.mean()) for method, hits in found.items()}


def interval_coverage(name: str, runs: int, simulations: int) -> dict[str, float]:
    """Return how often each interval holds the true difference of means."""
    generator = generator_of("coverage", name, runs)
    shape = (simulations, runs)
    paired = name.startswith("pairs")
    lognormal = generator.lognormal(size=shape) - np.exp(0.5)
    normal = generator.standard_normal(shape)
    kinds = {
        "pairs, normal": (0 * normal, normal),
        "pairs, lognormal": (0 * normal, lognormal),
        "sides, normal, SDs 1 and 3": (normal, 3 * generator.standard_normal(shape)),
        "sides, normal and lognormal": (normal, lognormal),
    }
    a, b = kinds[name]
    difference = b.mean(1) - a.mean(1)
    hits = np.abs(difference) <= t_halfwidths(a, b, paired)
    function = stats.paired_difference if paired else stats.mean_difference
    bca = [
        function(x, y, generator, RESAMPLES, least_bca=2).interval
        for x, y in zip(a, b, strict=True)
    ]
    return {"t": float(hits.mean()), "BCa": float(np.mean([i.low <= 0 <= i.high for i in bca]))}


def superiority_coverage(paired: bool, truth: float, runs: int, simulations: int) -> float:
    """Return how often the interval of P(b > a) holds it, for normal scores."""
    generator = generator_of("superiority", paired, truth, runs)
    shift = {0.5: 0.0, 0.75: 0.9538725524}[truth]  # sqrt(2) times the normal quantile
    hits = 0
    for _ in range(simulations):
        a, b = generator.standard_normal((2, runs))
        found = stats.outperforming(a, b + shift, generator, paired, RESAMPLES).probability
        hits += found.low <= truth <= found.high
    return hits / simulations


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


def two_way_coverage(
    runs: int, cluster: int, run_sd: float, paired: bool, simulations: int, examples: int = 400
) -> dict[str, float]:
    """Return how often intervals over runs alone, examples alone and both hold the difference over
    all runs and examples.
    """
    generator = generator_of("two-way", runs, cluster, run_sd, paired)
    clusters = np.arange(examples) // cluster
    hits = {"runs": 0, "examples": 0, "both": 0, "bootstrap": 0}
    for _ in range(simulations):
        a, b = example_scores(runs, examples, cluster, run_sd, generator)
        found = stats.two_way_difference(a, b, paired, clusters)
        value = found.interval.value
        half = t_halfwidths(a.mean(1)[None], b.mean(1)[None], paired)[0]
        hits["runs"] += abs(value) <= half
        hits["examples"] += abs(value) <= 1.959964 * found.examples
        hits["both"] += found.interval.low <= 0 <= found.interval.high
        low, high = two_way_bootstrap(a, b, paired, clusters, generator)
        hits["bootstrap"] += low <= 0 <= high
    return {method: count / simulations for method, count in hits.items()}


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


def power(runs: int, paired: bool, promised: float, simulations: int) -> dict[str, float]:
    """Return the power that is promised and found, at the difference with that power."""
    spread = stats.RunSpread(1.0, 1.0) if paired else stats.unpaired_spread(0.5**0.5, 0.5**0.5)
    difference = stats.detectable_difference(spread, runs, promised)
    generator = generator_of("power", runs, paired, promised)
    a, b = generator.standard_normal((2, simulations, runs)) * 0.5**0.5
    found = rejections(a, b + difference, paired, generator)
    return {"difference": difference, **{name: float(x.mean()) for name, x in found.items()}}


def pilot_coverage(runs: int, simulations: int) -> tuple[float, float]:
    """Return how often the interval of the runs needed holds the true number, for a pilot of
    `runs` pairs of normal scores, and the median of its upper end over the true number.
    """
    generator = generator_of("pilot", runs)
    unit, confidence = stats.RunSpread(1.0, 1.0), 0.95
    truth = int(stats.runs_needed(0.5, unit))
    sds = generator.standard_normal((simulations, runs)).std(1, ddof=1)
    hits = 0
    for sd in sds:
        low, high = (unit._replace(sd=end) for end in stats.sd_interval(sd, runs - 1)[1:])
        # Whether as many runs as needed, or one less, have the power tells what each end needs.
        enough = stats.t_power(0.5, low, truth, confidence) >= 0.8
        hits += enough and not stats.t_power(0.5, high, truth - 1, confidence) >= 0.8
    middle = stats.sd_interval(float(np.median(sds)), runs - 1).high
    return hits / simulations, stats.runs_needed(0.5, unit._replace(sd=middle)) / truth


def families(runs: int, effects: Sequence[float], simulations: int) -> dict[str, float]:
    """Return errors of tests of several tasks whose differences are correlated by 1/2: any false
    positive, with and without Holm's correction, and whether all intervals hold (Bonferroni).
    """
    generator = generator_of("family", runs, tuple(effects))
    tasks, truth = len(effects), np.array(effects)
    shared = generator.standard_normal((simulations, 1, runs))
    d = (generator.standard_normal((simulations, tasks, runs)) + shared) / 2**0.5 + truth[:, None]
    zero = np.zeros(runs)
    p = np.array(
        [[stats.sign_flip_test(zero, x, generator, DRAWS).p for x in family] for family in d]
    )
    adjusted = np.array([stats.holm(row) for row in p])
    error = d.std(2, ddof=1) / runs**0.5
    distance = np.abs(d.mean(2) - truth) / error
    whole = distance <= student.ppf(1 - LEVEL / tasks / 2, runs - 1)
    null = truth == 0
    return {
        "uncorrected": float((p[:, null] <= LEVEL).any(1).mean()) if null.any() else 0.0,
        "Holm": float((adjusted[:, null] <= LEVEL).any(1).mean()) if null.any() else 0.0,
        "all intervals hold": float(whole.all(1).mean()),
    }


def table(header: Sequence[object], rows: Sequence[Sequence[object]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def percent(share: float) -> str:
    return f"{100 * share:.1f}"


def simulate(simulations: int, runs: Sequence[int] = (3, 4, 5, 6, 8, 10, 20, 50)) -> str:
    """Return all tables as Markdown."""
    error = 100 * (0.05 * 0.95 / simulations) ** 0.5
    parts = [
        f"{simulations:,} simulations a cell (standard error {error:.1f} near 5% and 95%).",
        "**False positives in percent, nominal 5: two methods that do not differ.**",
    ]
    rows = []
    for paired in (True, False):
        for name in SCORES:
            cells = [false_positives(name, r, paired, simulations) for r in runs]
            for method in ("t", "exact", "rule"):
                what = {"t": "t interval" if paired else "Welch's interval", "exact": "exact test"}
                label = f"{'pairs' if paired else 'sides'}, {name}: {what.get(method, 'verdict')}"
                rows.append([label, *(percent(cell[method]) for cell in cells)])
    parts.append(table(["R =", *runs], rows))
    sizes = (5, 10, 20, 50, 100, 200)
    parts.append("**Coverage of 95% intervals of a difference, in percent**")
    kinds = ("pairs, normal", "pairs, lognormal", "sides, normal, SDs 1 and 3")
    rows = []
    for name in (*kinds, "sides, normal and lognormal"):
        cells = [interval_coverage(name, r, simulations) for r in sizes]
        rows += [[f"{name}: {m}", *(percent(c[m]) for c in cells)] for m in ("t", "BCa")]
    parts.append(table(["R =", *sizes], rows))
    parts += more_tables(simulations, error)
    return "\n\n".join(parts)


def more_tables(simulations: int, error: float) -> list[str]:
    """Return the tables of what stands beside a verdict."""
    sizes = (5, 10, 20, 29, 50)
    rows = [
        [
            f"{'pairs' if paired else 'all pairs of sides'}, P = {truth}",
            *(percent(superiority_coverage(paired, truth, r, simulations)) for r in sizes),
        ]
        for paired in (True, False)
        for truth in (0.5, 0.75)
    ]
    parts = [
        "**Coverage of the 95% interval of P(B > A), in percent**",
        table(["R =", *sizes], rows),
        "**Coverage of 95% intervals for other runs on another test set, in percent**: 400\n"
        f"examples, accuracy about 0.8 (standard error {error:.1f}).",
    ]
    rows = []
    for paired in (True, False):
        for cluster in (1, 10):
            for sd in (0.0, 0.3):
                name = f"{'pairs' if paired else 'sides'}, clusters of {cluster}, run SD {sd}"
                cells = [
                    two_way_coverage(r, cluster, sd, paired, simulations) for r in (3, 5, 10, 20)
                ]
                for method in ("runs", "examples", "both", "bootstrap"):
                    label = {"both": "two-way", "bootstrap": "two-way bootstrap"}.get(
                        method, method
                    )
                    rows.append([f"{name}: {label}", *(percent(c[method]) for c in cells)])
    parts.append(table(["R =", 3, 5, 10, 20], rows))
    parts.append(
        "**Power in percent: promised, found by the t test, and by the verdict**, normal scores."
    )
    rows = []
    for paired in (True, False):
        for r in (4, 6, 8, 12, 20):
            for promised in (0.5, 0.8, 0.95):
                found = power(r, paired, promised, simulations)
                rows.append(
                    ["pairs" if paired else "sides", r, f"{found['difference']:.2f}"]
                    + [percent(x) for x in (promised, found["t"], found["rule"])]
                )
    parts.append(table(["", "R", "difference / SD", "promised", "t", "verdict"], rows))
    rows = [
        [r, percent(c), f"{high:.1f}"]
        for r in (3, 5, 10, 20)
        for c, high in (pilot_coverage(r, simulations),)
    ]
    parts.append("**Runs needed, from a pilot of R pairs**: coverage of the 95% interval.")
    parts.append(table(["R", "coverage in percent", "median upper end / truth"], rows))
    parts.append(
        "**Five tasks, correlated by 1/2, 10 pairs**: any false positive, and whether all\n"
        "intervals hold, in percent."
    )
    rows = []
    for label, effects in (("no task differs", [0] * 5), ("two of five do", [1, 1, 0, 0, 0])):
        found = families(10, effects, simulations)
        rows.append([label, *(percent(x) for x in found.values())])
    parts.append(table(["", "uncorrected", "Holm", "all intervals hold"], rows))
    return parts


def run(description: str, simulate: Callable[[int], str]) -> None:
    """Print the tables that `simulate` returns for a number of simulations, as the command line
    says, and put them between the marks of a page.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="a tenth of the simulations")
    parser.add_argument("--page", type=Path, help="page whose marked section takes the tables")
    options = parser.parse_args()
    text = simulate(SIMULATIONS // 10 if options.quick else SIMULATIONS)
    print(text)
    if options.page:
        before, rest = options.page.read_text().split(BEGIN)
        after = rest.split(END)[1]
        options.page.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")


def main() -> None:
    run(__doc__.splitlines()[0], simulate)


if __name__ == "__main__":
    main()
