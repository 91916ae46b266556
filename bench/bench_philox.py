"""Compare keyed draws with the generators of torch and NumPy, in GB/s of output."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch

import nondet_ext
from harness import Bench, Contender, fill_ceiling, name_of

N = 25 * 10**6


def test_bits(bench: Bench) -> None:
    n = bench.size(N)
    generator = np.random.Generator(np.random.Philox(1))
    target = torch.zeros(n, dtype=torch.int32)
    ours = Contender("philox_bits", "ours", lambda: nondet_ext.philox_bits(n, seed=1), 4 * n)
    check = nondet_ext.philox_bits(8, seed=1, offset=n - 8)
    assert torch.equal(ours.run()[-8:].view(torch.int32), check.view(torch.int32))
    bench.time(
        "random 32-bit words, 2.5e7",
        ours,
        Contender(
            "torch random_ (mt19937)",
            "peer",
            lambda: target.random_(-(2**31), 2**31 - 1),
            4 * n,
        ),
        Contender("numpy Philox4x64 bytes", "peer", lambda: generator.bytes(4 * n), 4 * n),
        fill_ceiling(n, 4),
    )


@dataclass(frozen=True)
class Distribution:
    """A distribution with its three generators, its mean and its variance."""

    ours: Callable[..., torch.Tensor]
    torch: Callable[..., torch.Tensor]
    numpy: str
    mean: float
    variance: float


DISTRIBUTIONS = {
    "uniform": Distribution(nondet_ext.philox_uniform, torch.rand, "random", 0.5, 1 / 12),
    "normal": Distribution(nondet_ext.philox_normal, torch.randn, "standard_normal", 0.0, 1.0),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=name_of)
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_variates(bench: Bench, name: str, dtype: torch.dtype) -> None:
    n = bench.size(N)
    law = DISTRIBUTIONS[name]
    by_numpy = getattr(np.random.Generator(np.random.Philox(1)), law.numpy)
    kind = name_of(dtype)
    moved = n * dtype.itemsize
    values = law.ours(n, seed=1, dtype=dtype).double()
    # Five standard deviations of the sample's mean, and of its variance under the normal
    # distribution, which is the largest.
    assert abs(values.mean() - law.mean) < 5 * (law.variance / n) ** 0.5
    assert abs(values.var() - law.variance) < 5 * law.variance * (2 / n) ** 0.5
    bench.time(
        f"{name} {kind}, 2.5e7",
        Contender(law.ours.__name__, "ours", lambda: law.ours(n, seed=1, dtype=dtype), moved),
        Contender(f"torch.{law.torch.__name__}", "peer", lambda: law.torch(n, dtype=dtype), moved),
        Contender(f"numpy Philox {law.numpy}", "peer", lambda: by_numpy(n, dtype=kind), moved),
        fill_ceiling(n, dtype.itemsize),
        rounds=5,
    )


@pytest.mark.table
def test_permutation(bench: Bench) -> None:
    n = bench.size(10**6)
    generator = np.random.Generator(np.random.Philox(1))
    moved = 8 * n
    ours = Contender(
        "philox_permutation", "ours", lambda: nondet_ext.philox_permutation(n, seed=1), moved
    )
    assert torch.equal(ours.run().sort().values, torch.arange(n))
    bench.time(
        "permutation, 1e6",
        ours,
        Contender("torch.randperm", "peer", lambda: torch.randperm(n), moved, wanted=1.0),
        Contender("numpy permutation", "peer", lambda: generator.permutation(n), moved, wanted=1.5),
    )
