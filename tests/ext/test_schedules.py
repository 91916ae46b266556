"""The CUDA kernels under thousands of schedules of threads, warps and blocks: one result, and that
the CPU's.
"""

from collections.abc import Callable

import pytest
import torch

import nondet_ext
from emulation.fixtures import running_on

# More than two blocks of threads, the last one partly idle.
N = 530


def edits() -> torch.Tensor:
    x = torch.linspace(-1, 1, N)
    draws = {"seed": 5, "counter": (1,)}
    idx = nondet_ext.philox_randint(-40, 40, N, **draws)  # every element many times
    directions = 2 * nondet_ext.philox_randint(0, 2, N, seed=6) - 1
    nondet_ext.flip_ulp(x, idx, directions)
    nondet_ext.flip_bit(x, idx, nondet_ext.philox_randint(0, 32, N, seed=7))
    return x


def elementwise() -> torch.Tensor:
    x = nondet_ext.philox_normal(N, seed=1)
    distance = nondet_ext.ulp_distance(x, nondet_ext.next_down(x).flip(0), nan="propagate")
    return torch.cat([distance.view(torch.float64), nondet_ext.spacing(x).double()])


def draws() -> torch.Tensor:
    rows = torch.arange(9)
    integers = nondet_ext.philox_randint(-100, 100, (61,), seed=2, counter=(rows, 3))
    uniform = nondet_ext.philox_uniform((61,), seed=2, counter=(rows, 3), dtype=torch.float64)
    return integers.double() + uniform


def digests() -> torch.Tensor:
    x = nondet_ext.philox_normal(33_000, seed=3)  # two blocks of tiles
    return torch.tensor([nondet_ext.fingerprint(x) % 2**63])


@pytest.mark.parametrize("work", [edits, elementwise, draws, digests])
@pytest.mark.parametrize(
    ("backend", "schedules"), [("emulated", 2000), ("race", 200), ("ptx", 200)]
)
def test_one_result_over_all_schedules(
    work: Callable[[], torch.Tensor], backend: str, schedules: int
) -> None:
    expected = work()
    with running_on(backend) as module:
        assert module is not None
        for seed in range(schedules):
            module.emulation.configure(seed)
            result = work()
            assert result.numpy().tobytes() == expected.numpy().tobytes(), f"schedule {seed}"
