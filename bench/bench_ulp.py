"""Compare the ULP ops with torch, NumPy and the machine's copy bandwidth."""

import numpy as np
import pytest
import torch

import nondet_ext
from harness import Bench, Contender, copy_ceilings


def normal_bits(n: int) -> torch.Tensor:
    return nondet_ext.philox_normal(n, seed=1)


def test_next_up(bench: Bench) -> None:
    x = normal_bits(bench.size(10**8))
    out, infinity = torch.zeros_like(x), torch.full((), torch.inf)
    moved = 8 * x.numel()
    goal = np.float32(np.inf)
    contenders = [
        Contender("next_up(out=)", "ours", lambda: nondet_ext.next_up(x, out=out), moved),
        Contender(
            "torch.nextafter(out=)", "peer", lambda: torch.nextafter(x, infinity, out=out), moved
        ),
        Contender(
            "numpy.nextafter(out=)",
            "peer",
            lambda: torch.from_numpy(np.nextafter(x.numpy(), goal, out=out.numpy())),
            moved,
            rounds=3,
        ),
    ]
    expected = contenders[0].run().clone()
    for each in contenders[1:]:
        assert torch.equal(each.run(), expected)
    bench.time("next_up, float32, 1e8", *contenders, *copy_ceilings(moved))


@pytest.mark.table
def test_next_up_allocating(bench: Bench) -> None:
    x = normal_bits(bench.size(10**8))
    infinity = torch.full((), torch.inf)
    moved = 8 * x.numel()
    assert torch.equal(nondet_ext.next_up(x), torch.nextafter(x, infinity))
    bench.time(
        "next_up, float32, 1e8, new output",
        Contender("next_up", "ours", lambda: nondet_ext.next_up(x), moved),
        Contender(
            "torch.nextafter", "peer", lambda: torch.nextafter(x, infinity), moved, wanted=1.0
        ),
        Contender("torch clone", "ceiling", x.clone, moved),
    )


def ordered(values: np.ndarray) -> np.ndarray:
    bits = values.view(np.int32).astype(np.int64)
    return np.where(bits < 0, -(bits & 0x7FFFFFFF), bits)


def test_ulp_distance(bench: Bench) -> None:
    n = bench.size(10**8)
    a, b = normal_bits(n), nondet_ext.philox_normal(n, seed=2)
    out = torch.zeros(n, dtype=torch.int64)
    moved = 16 * n
    ours = Contender(
        "ulp_distance(out=)", "ours", lambda: nondet_ext.ulp_distance(a, b, out=out), moved
    )
    peer = Contender(
        "NumPy integer formula",
        "peer",
        lambda: np.abs(ordered(a.numpy()) - ordered(b.numpy())),
        moved,
        rounds=3,
    )
    np.testing.assert_array_equal(ours.run().numpy(), peer.run())
    bench.time("ulp_distance, float32, 1e8", ours, peer, *copy_ceilings(moved), rounds=5)


@pytest.mark.table
def test_flip_ulp(bench: Bench) -> None:
    n, count = bench.size(10**8), bench.size(10**6)
    param, infinity = torch.ones(n), torch.full((), torch.inf)
    idx = nondet_ext.philox_randint(0, n, count, seed=3).unique()
    idx = idx[nondet_ext.philox_permutation(idx.numel(), seed=4)]

    def by_torch() -> None:
        param[idx] = torch.nextafter(param[idx], infinity)

    def by_numpy() -> None:
        values, where = param.numpy(), idx.numpy()
        values[where] = np.nextafter(values[where], np.float32(np.inf))

    moved = count * (8 + 4 + 4)
    contenders = [
        Contender("flip_ulp", "ours", lambda: nondet_ext.flip_ulp(param, idx), moved),
        Contender("gather, torch.nextafter, scatter", "peer", by_torch, moved),
        Contender("gather, numpy.nextafter, scatter", "peer", by_numpy, moved),
    ]
    for each in contenders:
        before = param.clone()
        each.run()
        distance = nondet_ext.ulp_distance(param, before)
        assert distance.sum().item() == idx.numel()
        assert bool((distance[idx] == 1).all())
    bench.time("flip_ulp, float32, 1e6 random indices of 1e8", *contenders)
