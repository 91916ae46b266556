"""Compare the ULP ops with torch, NumPy and the machine's copy bandwidth."""

import numpy as np
import pytest
import torch

import nondet_ext
from harness import Bench, Contender, copy_ceilings


def normal_bits(n: int) -> torch.Tensor:
    return nondet_ext.philox_normal(n, seed=1)


def next_up_contenders(n: int) -> dict[str, Contender]:
    x = normal_bits(n)
    out, infinity = torch.zeros_like(x), torch.full((), torch.inf)
    moved = 8 * n
    goal = np.float32(np.inf)
    return {
        "ours": Contender("next_up(out=)", "ours", lambda: nondet_ext.next_up(x, out=out), moved),
        "torch": Contender(
            "torch.nextafter(out=)", "peer", lambda: torch.nextafter(x, infinity, out=out), moved
        ),
        "numpy": Contender(
            "numpy.nextafter(out=)",
            "peer",
            lambda: torch.from_numpy(np.nextafter(x.numpy(), goal, out=out.numpy())),
            moved,
        ),
        **copy_ceilings(moved),
    }


CEILINGS = ["copy (torch)", "copy (NumPy)"]


@pytest.mark.parametrize("who", ["ours", "torch", "numpy", *CEILINGS])
def test_next_up(bench: Bench, who: str) -> None:
    contenders = next_up_contenders(bench.size(10**8))
    if who in ("torch", "numpy"):
        expected = contenders["ours"].run().clone()
        assert torch.equal(contenders[who].run(), expected)
    bench.time("next_up, float32, 1e8", contenders[who])


@pytest.mark.parametrize("who", ["ours", "torch", "clone"])
def test_next_up_allocating(bench: Bench, who: str) -> None:
    x = normal_bits(bench.size(10**8))
    infinity = torch.full((), torch.inf)
    moved = 8 * x.numel()
    contenders = {
        "ours": Contender("next_up", "ours", lambda: nondet_ext.next_up(x), moved),
        "torch": Contender("torch.nextafter", "peer", lambda: torch.nextafter(x, infinity), moved),
        "clone": Contender("torch clone", "ceiling", x.clone, moved),
    }
    bench.time("next_up, float32, 1e8, new output", contenders[who])


def ordered(values: np.ndarray) -> np.ndarray:
    bits = values.view(np.int32).astype(np.int64)
    return np.where(bits < 0, -(bits & 0x7FFFFFFF), bits)


@pytest.mark.parametrize("who", ["ours", "numpy", *CEILINGS])
def test_ulp_distance(bench: Bench, who: str) -> None:
    n = bench.size(10**8)
    a, b = normal_bits(n), nondet_ext.philox_normal(n, seed=2)
    out = torch.zeros(n, dtype=torch.int64)
    moved = 16 * n
    contenders = {
        "ours": Contender(
            "ulp_distance(out=)", "ours", lambda: nondet_ext.ulp_distance(a, b, out=out), moved
        ),
        "numpy": Contender(
            "NumPy integer formula",
            "peer",
            lambda: np.abs(ordered(a.numpy()) - ordered(b.numpy())),
            moved,
        ),
        **copy_ceilings(moved),
    }
    if who == "numpy":
        np.testing.assert_array_equal(contenders["ours"].run().numpy(), contenders["numpy"].run())
    bench.time("ulp_distance, float32, 1e8", contenders[who], rounds=5)


@pytest.mark.parametrize("who", ["ours", "torch", "numpy"])
def test_flip_ulp(bench: Bench, who: str) -> None:
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
    contenders = {
        "ours": Contender("flip_ulp", "ours", lambda: nondet_ext.flip_ulp(param, idx), moved),
        "torch": Contender("gather, torch.nextafter, scatter", "peer", by_torch, moved),
        "numpy": Contender("gather, numpy.nextafter, scatter", "peer", by_numpy, moved),
    }
    before = param.clone()
    contenders[who].run()
    distance = nondet_ext.ulp_distance(param, before)
    assert distance.sum().item() == idx.numel()
    assert bool((distance[idx] == 1).all())
    bench.time("flip_ulp, float32, 1e6 random indices of 1e8", contenders[who])
