"""Keyed draws against the generators of torch and NumPy, in GB/s of output."""

import numpy as np
import pytest
import torch
from harness import Bench, Contender

import nondet_ext

N = 25 * 10**6


def fill_ceiling(n: int, width: int) -> Contender:
    """Writing as many bytes, and nothing else."""
    target = torch.zeros(n * width, dtype=torch.uint8)
    return Contender("torch fill_", "ceiling", lambda: target.fill_(7), n * width)


@pytest.mark.parametrize("who", ["ours", "torch", "numpy", "fill"])
def test_bits(bench: Bench, who: str) -> None:
    n = bench.size(N)
    generator = np.random.Generator(np.random.Philox(1))
    target = torch.zeros(n, dtype=torch.int32)
    contenders = {
        "ours": Contender("philox_bits", "ours", lambda: nondet_ext.philox_bits(n, seed=1), 4 * n),
        "torch": Contender(
            "torch random_ (mt19937)",
            "peer",
            lambda: target.random_(-(2**31), 2**31 - 1),
            4 * n,
        ),
        "numpy": Contender("numpy Philox4x64 bytes", "peer", lambda: generator.bytes(4 * n), 4 * n),
        "fill": fill_ceiling(n, 4),
    }
    check = nondet_ext.philox_bits(8, seed=1, offset=n - 8)
    assert torch.equal(contenders["ours"].run()[-8:].view(torch.int32), check.view(torch.int32))
    bench.time("random 32-bit words, 2.5e7", contenders[who])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("who", ["ours", "torch", "numpy", "fill"])
def test_uniform(bench: Bench, who: str, dtype: torch.dtype) -> None:
    n = bench.size(N)
    generator = np.random.Generator(np.random.Philox(1))
    as_numpy = np.float32 if dtype == torch.float32 else np.float64
    moved = n * dtype.itemsize
    contenders = {
        "ours": Contender(
            "philox_uniform",
            "ours",
            lambda: nondet_ext.philox_uniform(n, seed=1, dtype=dtype),
            moved,
        ),
        "torch": Contender("torch.rand", "peer", lambda: torch.rand(n, dtype=dtype), moved),
        "numpy": Contender(
            "numpy Philox random", "peer", lambda: generator.random(n, dtype=as_numpy), moved
        ),
        "fill": fill_ceiling(n, dtype.itemsize),
    }
    values = contenders["ours"].run()
    assert 0 <= values.min() <= values.max() < 1
    assert abs(values.double().mean() - 0.5) < 5 / (12 * n) ** 0.5
    bench.time(f"uniform {str(dtype).removeprefix('torch.')}, 2.5e7", contenders[who])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("who", ["ours", "torch", "numpy", "fill"])
def test_normal(bench: Bench, who: str, dtype: torch.dtype) -> None:
    n = bench.size(N)
    generator = np.random.Generator(np.random.Philox(1))
    as_numpy = np.float32 if dtype == torch.float32 else np.float64
    moved = n * dtype.itemsize
    contenders = {
        "ours": Contender(
            "philox_normal",
            "ours",
            lambda: nondet_ext.philox_normal(n, seed=1, dtype=dtype),
            moved,
        ),
        "torch": Contender("torch.randn", "peer", lambda: torch.randn(n, dtype=dtype), moved),
        "numpy": Contender(
            "numpy Philox standard_normal",
            "peer",
            lambda: generator.standard_normal(n, dtype=as_numpy),
            moved,
        ),
        "fill": fill_ceiling(n, dtype.itemsize),
    }
    values = contenders["ours"].run().double()
    assert abs(values.mean()) < 5 / n**0.5
    assert abs(values.var() - 1) < 5 * (2 / n) ** 0.5
    bench.time(f"normal {str(dtype).removeprefix('torch.')}, 2.5e7", contenders[who], rounds=3)


@pytest.mark.parametrize("who", ["ours", "torch", "numpy"])
def test_permutation(bench: Bench, who: str) -> None:
    n = bench.size(10**6)
    generator = np.random.Generator(np.random.Philox(1))
    moved = 8 * n
    contenders = {
        "ours": Contender(
            "philox_permutation", "ours", lambda: nondet_ext.philox_permutation(n, seed=1), moved
        ),
        "torch": Contender("torch.randperm", "peer", lambda: torch.randperm(n), moved),
        "numpy": Contender("numpy permutation", "peer", lambda: generator.permutation(n), moved),
    }
    assert torch.equal(contenders["ours"].run().sort().values, torch.arange(n))
    bench.time("permutation, 1e6", contenders[who])
