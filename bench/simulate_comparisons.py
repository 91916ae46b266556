"""Simulates how often comparisons of methods err: the tables of docs/comparing-results.md.

    python bench/simulate_comparisons.py [--quick] [--page docs/comparing-results.md]

Prints the tables, and puts them between the marks of the page. `--quick` takes a tenth of the
simulations. A cell draws from a generator of its own, so it does not depend on the others.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from scipy.stats import t as student

from nondet import stats
from simulated_scores import (
    DRAWS,
    LEVEL,
    SCORES,
    UNLIKE,
    example_scores,
    generator_of,
    null_scores,
    rejections,
    t_halfwidths,
    two_way_bootstrap,
    unlike_scores,
)

BEGIN, END = "<!-- simulated: begin -->", "<!-- simulated: end -->"
SIMULATIONS = 2_000
RESAMPLES = 999


def false_positives(name: str, runs: int, paired: bool, simulations: int) -> dict[str, float]:
    """Return how often each method finds a difference where there is none."""
    generator = generator_of("null", name, runs, paired)
    a, b = null_scores(name, runs, paired, simulations, generator)
    found = rejections(a, b, paired, generator)
    return {method: float(hits.mean()) for method, hits in found.items()}


def unlike_positives(name: str, runs: int, simulations: int) -> dict[str, float]:
    """Return the same for methods of equal means whose runs are not exchangeable."""
    generator = generator_of("unlike", name, runs)
    a, b = unlike_scores(name, runs, simulations, generator)
    found = rejections(a, b, name.startswith("pairs"), generator)
    return {method: float(hits.mean()) for method, hits in found.items()}


def method_rows(label: str, paired: bool, cells: Sequence[dict[str, float]]) -> list[list[str]]:
    """Return the lines of a table with what each method finds."""
    names = {"t": "t interval" if paired else "Welch's interval", "exact": "exact test"}
    return [
        [f"{label}: {names.get(method, 'verdict')}", *(percent(cell[method]) for cell in cells)]
        for method in ("t", "exact", "rule")
    ]


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
            rows += method_rows(f"{'pairs' if paired else 'sides'}, {name}", paired, cells)
    parts.append(table(["R =", *runs], rows))
    parts.append(
        "**False positives in percent where the tests promise nothing**: equal means, but runs "
        "that are\nnot exchangeable."
    )
    rows = []
    for name in UNLIKE:
        cells = [unlike_positives(name, r, simulations) for r in runs]
        rows += method_rows(name, name.startswith("pairs"), cells)
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
