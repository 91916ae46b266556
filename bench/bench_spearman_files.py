"""Measure Spearman's correlation of vectors that do not fit in memory: the time per gigabyte of a
model, and the peak memory of a process relative to its limit.

The vectors are standard normal logits in float32 with a part that all models share. Every tenth
value is rounded to a multiple of 1/64, so that it ties with hundreds of thousands of others.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import nondet_ext
from harness import Bench, Contender

ROWS, N, MEMORY = 8, 2 * 10**8, "2GB"
PAPER_ROWS, PAPER_N = 100, 824_000_000  # the logits of the paper's language model

CHILD = """
import json, re, sys, time
from pathlib import Path
import torch
import nondet_ext
threads, memory, *paths = sys.argv[1:]
torch.set_num_threads(int(threads))
begin = time.perf_counter()
ranked = begin
def progress(done, total, text):
    global ranked
    if not text.startswith("multiplying"):
        ranked = time.perf_counter()
rho = nondet_ext.spearman_files(
    paths, memory=memory, scratch=Path(paths[0]).parent / "scratch", progress=progress
)
end = time.perf_counter()
status = Path("/proc/self/status").read_text()
print(json.dumps({
    "ranks": ranked - begin,
    "products": end - ranked,
    "peak": 1024 * int(re.search(r"VmHWM:\\s*(\\d+)", status)[1]),
    "rho": rho.tolist(),
}))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    for path in tmp_path.glob("*.npy"):  # gigabytes, which pytest would keep
        path.unlink()


def write_logits(folder: Path, rows: int, n: int) -> list[str]:
    paths = [folder / f"model{i}.npy" for i in range(rows)]
    for i, path in enumerate(paths):
        out = np.lib.format.open_memmap(path, "w+", np.float32, (n,))
        for begin in range(0, n, 10**7):
            size = min(10**7, n - begin)
            shared = nondet_ext.philox_normal(size, seed=1, counter=(0, 0, begin // 10**7))
            own = nondet_ext.philox_normal(size, seed=2, counter=(0, i, begin // 10**7))
            values = 0.6 * shared + 0.8 * own
            values[::10] = torch.round(values[::10] * 64) / 64
            out[begin : begin + size] = values.numpy()
        out.flush()
        del out
    return [str(path) for path in paths]


def run_child(memory: str, paths: list[str]) -> dict:
    command = [sys.executable, "-c", CHILD, str(torch.get_num_threads()), memory, *paths]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
def test_spearman_files(bench: Bench, folder: Path) -> None:
    n = bench.size(N)
    paths = write_logits(folder, ROWS, n)
    if bench.smoke:  # small enough to compare with the result in memory
        expected = nondet_ext.spearman(torch.stack([torch.from_numpy(np.load(p)) for p in paths]))
        assert run_child(MEMORY, paths)["rho"] == expected.tolist()
    moved = 4 * n * ROWS  # each vector is read at least once
    notes: dict[str, float] = {}

    def run() -> None:
        notes.update(measure(run_child(MEMORY, paths), n))

    case = f"Spearman of files, R={ROWS}, n={n:.0e}, float32, at most {MEMORY}"
    bench.time(case, Contender("spearman_files", "ours", run, moved, notes=notes), rounds=1)
    assert notes["peak MB"] <= 2000


def measure(found: dict, n: int) -> dict[str, float]:
    rho = np.array(found["rho"])[~np.eye(ROWS, dtype=bool)]
    assert np.abs(rho - 6 / np.pi * np.arcsin(0.36 / 2)).max() < 0.02
    gigabytes = 4 * n * ROWS / 1e9
    # The time of ranks grows as R n. That of products grows at least as R n (reading, cutting into
    # limbs) and at most as R^2 n (multiplying).
    scale = PAPER_ROWS * PAPER_N / (ROWS * n) / 3600
    return {
        "peak MB": found["peak"] / 1e6,
        "ranks s per model-gigabyte": found["ranks"] / gigabytes,
        "products s per model-gigabyte": found["products"] / gigabytes,
        f"R={PAPER_ROWS}, n={PAPER_N:.2e}, extrapolated: ranks h": found["ranks"] * scale,
        "products h, at least": found["products"] * scale,
        "products h, at most": found["products"] * scale * PAPER_ROWS / ROWS,
    }
