"""Test that the CUDA kernels give the CPU's result under thousands of schedules of threads, warps
and blocks.
"""

from collections.abc import Callable

import pytest
import torch

import nondet_ext
from emulation.fixtures import running_on

# More than two blocks of threads, the last one partly idle.
N = 530
TWO_BLOCKS_OF_TILES = nondet_ext.philox_normal(33_000, seed=3)


def edits() -> torch.Tensor:
    x = torch.linspace(-1, 1, N)
    draws = {"seed": 5, "counter": (1,)}
    idx = nondet_ext.philox_randint(-40, 40, N, **draws)  # each element several times
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
    return torch.tensor([nondet_ext.fingerprint(TWO_BLOCKS_OF_TILES) % 2**63])


def recurrence() -> torch.Tensor:
    z, f, o = nondet_ext.philox_uniform((3, 4, N), seed=4).unbind(0)
    leaves = [x.requires_grad_() for x in (z, f, o, z[0].detach().clone())]
    h, last = nondet_ext.forget_mult(*leaves)
    torch.autograd.backward((h, last), (f.detach(), o[1].detach()))
    grads = [x.grad for x in leaves if x.grad is not None]
    return torch.cat([each.detach().reshape(-1) for each in (h, last, *grads)])


@pytest.mark.parametrize("work", [edits, elementwise, draws, digests, recurrence])
@pytest.mark.parametrize(
    ("backend", "schedules"),
    [
        ("emulated", 400),
        pytest.param("emulated", 2000, marks=pytest.mark.slow),
        ("race", 200),
        ("ptx", 200),
    ],
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
