"""Test how sizes are parsed, and that spearman_files keeps to its memory limit."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

import nondet_ext
from nondet_ext import memory
from nondet_ext._spearman_files.shares import share_out
from references.spearman_files import fixed_memory_use as fixed_memory_use
from references.spearman_files import logits, save


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("2GB", 2 * 10**9),
        ("1.5 GiB", 3 * 2**29),
        ("500mb", 5 * 10**8),
        ("7", 7),
        (12345, 12345),
        ("9007199254740993", 2**53 + 1),
    ],
)
def test_sizes(text, count):
    assert memory.parse_bytes("memory", text) == count


# VmHWM instead of ru_maxrss: the latter includes the memory of the parent before exec.
CAPPED = """
import re, sys
from pathlib import Path
import torch
import nondet_ext
from nondet_ext.memory import resident_bytes
torch.set_num_threads(2)
before = resident_bytes()
memory = before + int(sys.argv[1])
rho = nondet_ext.spearman_files(sys.argv[2:], memory=memory)
peak = 1024 * int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])
print(peak - memory, *[float(each).hex() for each in rho[0]])
"""


def test_shares_follow_the_memory():
    few = share_out(700 << 20, 100, 10**8, 4, threads=64)
    many = share_out(64 << 30, 100, 10**8, 4, threads=64)
    assert 1 <= few.workers < few.stripes < 64
    assert many.workers == many.stripes == 64
    for shares, size in ((few, 336 << 20), (many, 63 << 30)):
        assert shares.workers * shares.group * 20 < size
        assert shares.stripes * shares.columns * 100 * 4 < size


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.usefixtures("threads")
def test_the_whole_process_stays_below_its_memory(tmp_path, dtype):
    torch.set_num_threads(1)
    rows = logits(3, 2_000_000, 0.1, dtype)
    rows[2] = 1 + 2**-20 * rows[2]
    paths = save(tmp_path, rows)
    expected = nondet_ext.spearman(torch.from_numpy(rows))[0]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    run = subprocess.run(
        [sys.executable, "-c", CAPPED, str(150 << 20), *paths],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    above, *got = run.stdout.split()
    assert int(above) <= 0
    assert got == [float(each).hex() for each in expected]
