"""Compare numbers of threads: every op, on small and large inputs, with 1, 2, 4 and 8.

``python bench/bench_threads.py [--smoke]`` prints, for each case, the median time with one thread
and, for more threads, the median of the ratios to one thread with their quartiles. Rounds alternate
between the numbers of threads. No number of threads should be slower than fewer.
"""

import sys
import time
from collections.abc import Callable

import numpy as np
import torch

import nondet_ext
from nondet_ext import philox_normal, philox_randint

THREADS = (1, 2, 4, 8)
CALLS = 3
SIZES = (10**3, 10**4, 10**5, 10**6, 10**7)

Case = Callable[[], object]


def sums(n: int) -> dict[str, Case]:
    x, square = philox_normal((n,), seed=1), philox_normal((10, n // 10), seed=1)
    bounds = torch.arange(0, n + 1, max(n // 100, 1))
    orders = {"fixed": {}, "seeded": {"seed": 1}, "exact": {}}
    return {
        f"{name}, {order}": lambda f=f, how={"order": order, **seed}: f(**how)
        for order, seed in orders.items()
        for name, f in {
            "sum": lambda **how: nondet_ext.sum(x, **how),
            "sum over rows": lambda **how: nondet_ext.sum(square, 0, **how),
            "sum of rows": lambda **how: nondet_ext.sum(square, 1, **how),
            "dot": lambda **how: nondet_ext.dot(x, x, **how),
            "segment_sum": lambda **how: nondet_ext.segment_sum(x, bounds, **how),
            "accumulate": lambda **how: nondet_ext.accumulate(square, **how),
        }.items()
    }


def scatters(n: int) -> dict[str, Case]:
    source, cases = philox_normal((n,), seed=1), {}
    values = source.reshape(-1, 10)
    for rows in (max(n // 1000, 10), max(n // 10, 10)):
        index, out = philox_randint(0, rows, (n,), seed=2), torch.zeros(rows)
        at, into = index.reshape(-1, 10), torch.zeros(rows, 10)
        lines = index[: n // 64], source[: n // 64 * 64].reshape(-1, 64)
        wide = torch.zeros(rows, 64) if rows * 64 <= 10 * n else None
        for order, seed in {"fixed": None, "seeded": 1, "exact": None}.items():
            how = {"order": order, "seed": seed}
            cases |= {
                f"index_add into {rows}, {order}": lambda out=out, index=index, how=how: (
                    nondet_ext.index_add_(out, 0, index, source, **how)
                ),
                f"scatter_add into {rows} x 10, {order}": lambda into=into, at=at, how=how: (
                    nondet_ext.scatter_add_(into, 0, at, values, **how)
                ),
                f"bincount into {rows}, {order}": lambda index=index, how=how: nondet_ext.bincount(
                    index, source, **how
                ),
            }
            if wide is not None:
                cases[f"index_add of rows into {rows}, {order}"] = (
                    lambda wide=wide, lines=lines, how=how: nondet_ext.index_add_(
                        wide, 0, *lines, **how
                    )
                )
    return cases


def elementwise(n: int) -> dict[str, Case]:
    x, y = philox_normal((n,), seed=1), philox_normal((n,), seed=2)
    return {
        "next_up": lambda: nondet_ext.next_up(x),
        "spacing": lambda: nondet_ext.spacing(x),
        "ulp_distance": lambda: nondet_ext.ulp_distance(x, y),
        "fingerprint": lambda: nondet_ext.fingerprint(x),
        "philox_normal": lambda: philox_normal((n,), seed=1),
        "philox_randint": lambda: philox_randint(0, 10, (n,), seed=1),
        "philox_permutation": lambda: nondet_ext.philox_permutation(n, seed=1),
        "rankdata": lambda: nondet_ext.rankdata(x),
    }


def comparisons(n: int) -> dict[str, Case]:
    vectors = philox_normal((8, max(n // 8, 2)), seed=1)
    logits = philox_normal((8, max(n // 80, 1), 10), seed=1)
    labels, predictions = philox_randint(0, 10, (logits.shape[1],), seed=2), logits.argmax(-1)
    z, f = (philox_normal((20, max(n // 20, 1)), seed=s).sigmoid() for s in (1, 2))
    cases: dict[str, Case] = {
        "spearman": lambda: nondet_ext.spearman(vectors),
        "pearson": lambda: nondet_ext.pearson(vectors),
        "disagreement": lambda: nondet_ext.disagreement(predictions),
        "forget_mult": lambda: nondet_ext.forget_mult(z, f),
        "ensemble_delta": lambda: nondet_ext.ensemble_delta(logits, labels),
    }
    return cases


def ratios(case: Case, rounds: int) -> tuple[float, dict[int, np.ndarray]]:
    """Return the median seconds with one thread, and each number's ratios to it."""
    times: dict[int, list[float]] = {count: [] for count in THREADS}
    for _ in range(rounds + 2):  # the first rounds are warm-up
        for count in THREADS:
            torch.set_num_threads(count)
            case()  # torch now makes its own pool of threads anew
            begin = time.perf_counter()
            for _ in range(CALLS):
                case()
            times[count].append((time.perf_counter() - begin) / CALLS)
    taken = {count: np.array(each[2:]) for count, each in times.items()}
    return float(np.median(taken[1])), {count: taken[count] / taken[1] for count in THREADS[1:]}


def main(smoke: bool, only: str) -> None:
    heads = " | ".join(f"{count} threads (quartiles)" for count in THREADS[1:])
    print(f"| case | n | 1 thread, us | {heads} |\n|---|---:|---:|" + "---:|" * (len(THREADS) - 1))
    for n in SIZES[:1] if smoke else SIZES:
        for family in (sums, scatters, elementwise, comparisons):
            for name, case in family(n).items():
                if only not in name:
                    continue
                alone, found = ratios(case, 1 if smoke else 9 if n >= 10**6 else 25)
                cells = []
                for each in found.values():
                    low, middle, high = np.percentile(each, [25, 50, 75])
                    unsure = " ?" if high - low > 0.2 * middle else ""
                    cells.append(f"{middle:.2f} ({low:.2f} to {high:.2f}){unsure}")
                print(f"| {name} | {n} | {alone * 1e6:.0f} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    words = [each for each in sys.argv[1:] if each != "--smoke"]
    main("--smoke" in sys.argv, words[0] if words else "")
