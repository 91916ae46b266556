"""Measure language models whose logits do not fit in memory, at Penn Treebank's size: the time of
each part, the peak memory of a process, the bytes written, and the cost of more models.

The logits are standard normal numbers times 3, in float32, with a part that all models share. They
are made in blocks on demand, so nothing is stored beforehand.
"""

import json
import math
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import logsumexp

import nondet_ext
from harness import Bench, Contender
from nondet.analysis.streaming import measure
from nondet.analysis.streaming.spearman import plan_disk

MODELS, TOKENS, TYPES, MEMORY = 6, 82_430, 10_000, "2GB"
LARGEST_PEAK = 4 * 10**9
WIDTHS = {"embedding": 256, "layer1": 512, "layer2": 512, "layer3": 256}
SHARED, OWN = 0.6, 0.8
BLOCK = 1024
PARTS = {  # by the beginning of their progress text; the first match counts
    "logits": "models",
    "correlation: multiplying": "products",
    "correlation": "ranks",
    "ensemble": "ensembles",
    "cka": "CKA",
}
MORE = (20, 100)  # models to extrapolate to
SMALL_DISK = 64 * 10**9


class RandomSource:
    """A model with random outputs."""

    def __init__(self, model: int, tokens: int, types: int) -> None:
        self.model, self.tokens, self.types = model, tokens, types

    def blocks(self) -> Iterator[np.ndarray]:
        for block in range(self._count()):
            yield self._drawn(block, self.types, 0).mul_(3).numpy()

    def hidden(self) -> Iterator[dict[str, np.ndarray]]:
        for block in range(self._count()):
            yield {
                tap: self._drawn(block, width, 1 + number).numpy()
                for number, (tap, width) in enumerate(WIDTHS.items())
            }

    def _count(self) -> int:
        return -(-self.tokens // BLOCK)

    def _drawn(self, block: int, width: int, what: int) -> torch.Tensor:
        shape = min(BLOCK, self.tokens - block * BLOCK), width
        shared = nondet_ext.philox_normal(shape, seed=1, counter=(what, 0, block))
        own = nondet_ext.philox_normal(shape, seed=2, counter=(what, self.model, block))
        return shared.mul_(SHARED).add_(own, alpha=OWN)


def known(source: RandomSource, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the log-probabilities and predictions that a training would record."""
    chances, predicted = [], []
    for number, logits in enumerate(source.blocks()):
        at, wanted = np.arange(len(logits)), labels[number * BLOCK : number * BLOCK + len(logits)]
        chances.append(logits[at, wanted].astype(np.float64) - logsumexp(logits, axis=1))
        predicted.append(logits.argmax(axis=1).astype(np.int32))
    return np.concatenate(chances), np.concatenate(predicted)


def child(scratch: str, threads: int, tokens: int, types: int) -> dict[str, object]:
    """Run the measures in a new process; return time and memory."""
    torch.set_num_threads(threads)
    sources = [RandomSource(model, tokens, types) for model in range(MODELS)]
    labels = np.random.default_rng(3).integers(0, types, tokens)
    begin = time.perf_counter()
    for _ in sources[0].blocks():
        pass
    for _ in sources[0].hidden():
        pass
    drawing = time.perf_counter() - begin
    chances, predicted = zip(*(known(source, labels) for source in sources), strict=True)
    seconds: dict[str, float] = {}
    written = counted("io", "wchar")
    last = time.perf_counter()

    def progress(done: int, total: int, what: str) -> None:
        nonlocal last
        now = time.perf_counter()
        part = next(part for begins, part in PARTS.items() if what.startswith(begins))
        seconds[part] = seconds.get(part, 0) + now - last
        last = now

    begin = last
    found = measure(
        sources,
        labels,
        np.stack(chances),
        np.stack(predicted),
        ensemble="logits",
        memory=MEMORY,
        scratch=scratch,
        progress=progress,
    )
    return {
        "seconds": seconds,
        "drawing": drawing * MODELS,
        "whole": time.perf_counter() - begin,
        "peak": 1024 * counted("status", "VmHWM"),
        "written": counted("io", "wchar") - written,
        "plan": found.plan,
        "correlation": found.correlation.tolist(),
        "ensemble": found.ensemble_cross_entropy.tolist(),
        "cka": {tap: matrix.tolist() for tap, matrix in found.cka.items()},
    }


def counted(file: str, name: str) -> int:
    """Return a counter of this process from /proc."""
    match = re.search(rf"{name}:\s*(\d+)", Path(f"/proc/self/{file}").read_text())
    assert match is not None
    return int(match[1])


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    shutil.rmtree(tmp_path, ignore_errors=True)  # gigabytes remain if the child was killed


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
def test_streaming(bench: Bench, folder: Path) -> None:
    tokens, types = (3000, 40) if bench.smoke else (TOKENS, TYPES)
    notes: dict[str, float] = {}

    def run() -> None:
        arguments = [folder / "scratch", torch.get_num_threads(), tokens, types]
        command = [sys.executable, __file__, *map(str, arguments)]
        found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
        check(found, tokens, types, bench.smoke)
        notes.update(describe(found, tokens, types))

    size = 4 * tokens * (types + sum(WIDTHS.values()))
    case = f"Measures of language models, R={MODELS}, {tokens} tokens, {types} types, {MEMORY}"
    bench.time(case, Contender("measure", "ours", run, MODELS * size, notes=notes), rounds=1)
    print(f"\n{case}")
    for name, value in notes.items():
        print(f"  {name}: {value:.4g}")
    assert notes["peak MB"] < LARGEST_PEAK / 1e6


def check(found: dict, tokens: int, types: int, smoke: bool) -> None:
    """Check known properties of normal numbers; in a smoke run also compare with results in
    memory.
    """
    above = np.triu_indices(MODELS, 1)
    rho = np.array(found["correlation"])
    assert np.abs(rho[above] - 6 / math.pi * math.asin(SHARED**2 / 2)).max() < 0.02
    assert (np.array(found["ensemble"])[above] < 0).all()
    assert all((np.array(matrix)[above] > 0.05).all() for matrix in found["cka"].values())
    if smoke:
        sources = [RandomSource(model, tokens, types) for model in range(MODELS)]
        logits = np.stack([np.concatenate(list(source.blocks())) for source in sources])
        assert rho.tolist() == nondet_ext.spearman(torch.from_numpy(logits)).tolist()


def describe(found: dict, tokens: int, types: int) -> dict[str, float]:
    """Return the results with their extrapolation to more models. Models, ranks and bytes written
    grow as R. Ensembles, CKA and products grow at least as R (reading, exponentials, Gram matrices,
    cutting into limbs) and at most as R^2 (pairs), as long as all models fit the disk at once. The
    time of drawing, which replaces a model's own computation, is not counted.
    """
    seconds = {part: found["seconds"].get(part, 0.0) for part in PARTS.values()}
    seconds["models"] = max(seconds["models"] - found["drawing"], 0)
    linear = seconds["models"] + seconds["ranks"]
    pairs = seconds["products"] + seconds["ensembles"] + seconds["CKA"]
    notes = {
        "peak MB": found["peak"] / 1e6,
        "written GB": found["written"] / 1e9,
        "whole s": found["whole"],
        "drawing s": found["drawing"],
        **{f"{part} s": value for part, value in seconds.items()},
    }
    for models in MORE:
        scale = models / MODELS
        notes |= {
            f"R={models}, extrapolated, h, at least": scale * (linear + pairs) / 3600,
            f"R={models}, extrapolated, h, at most": scale * (linear + scale * pairs) / 3600,
            f"R={models}, extrapolated, written GB": scale * found["written"] / 1e9,
            **planned(models, tokens, types),
        }
    return notes


def planned(models: int, tokens: int, types: int) -> dict[str, float]:
    """Return the disk that the plan needs for all models at once, and how often it computes a model
    on a small disk.
    """
    hidden, threads = 4 * tokens * sum(WIDTHS.values()), torch.get_num_threads()
    all_at_once = plan_disk(models, tokens * types, hidden, 2**62, threads)
    tiled = plan_disk(models, tokens * types, hidden, SMALL_DISK, threads)
    return {
        f"R={models}, planned, at once on the disk GB": all_at_once.needs / 1e9,
        f"R={models}, planned, with 64 GB free, times a model is computed": (
            sum(map(len, tiled.tiles)) / models
        ),
    }


if __name__ == "__main__":
    print(json.dumps(child(sys.argv[1], *map(int, sys.argv[2:]))))
