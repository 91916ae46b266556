"""Compare collectives and atomics with plain loops after the CUDA C++ programming guide, in every
build.
"""

from functools import reduce
from operator import and_, or_, xor

import numpy as np
import pytest

from . import build
from .reports import take_reports
from .sample_kernels import COLLECTIVE_WORDS, call, module

VARIANTS = [
    pytest.param(
        v, marks=pytest.mark.skipif(build.missing(v) is not None, reason=str(build.missing(v)))
    )
    for v in build.VARIANTS
]
N, WARP = 64, 32


def expected_row(x: list[int], t: int) -> list[int]:
    """Return the result of each collective in thread `t`."""
    lane, first = t % WARP, t - t % WARP
    warp = x[first : first + WARP]

    def shifted(delta: int, width: int) -> int:
        """Return the value `delta` lanes further in the segment of `width` lanes, or the lane's own
        value beyond the ends.
        """
        inside = 0 <= lane % width + delta < width
        return warp[lane + delta] if inside else warp[lane]

    def ballot(condition: list[bool]) -> int:
        return sum(bool(c) << i for i, c in enumerate(condition))

    third = [v for i, v in enumerate(warp) if i % 3 == lane % 3]
    group = [
        sum(third),
        ballot([v > 50 and i % 3 == 1 for i, v in enumerate(warp)]),
        warp[5],
    ][lane % 3]
    return [
        warp[lane * 7 % WARP],
        shifted(-3, 32),
        shifted(5, 32),
        warp[lane ^ 9],
        warp[lane - lane % 8 + 11 % 8],
        shifted(-2, 16),
        shifted(1, 4),
        warp[lane ^ 4],
        ballot([v % 2 == 1 for v in warp]),
        any(v == 3 for v in warp) + 2 * all(v < 90 for v in warp),
        ballot([v % 5 == x[t] % 5 for v in warp]),
        sum(warp),
        min(warp) + 1000 * max(warp),
        reduce(and_, [v | 64 for v in warp]) ^ reduce(or_, warp) << 8 ^ reduce(xor, warp) << 16,
        group,
        sum(v % 3 == 0 for v in x)
        + 1000 * all(v < 1000 for v in x)
        + 2000 * any(v == 7 for v in x),
    ]


@pytest.mark.parametrize("variant", VARIANTS)
def test_collectives(variant: str) -> None:
    emulated = module(variant)
    rng = np.random.default_rng(30)
    for seed in range(40):
        x = rng.integers(0, 100 if seed % 2 else 90, N, dtype=np.uint32)
        if seed % 3 == 0:
            x[rng.integers(N)] = (3, 7, 1000)[seed // 3 % 3]
        out = np.zeros((N, COLLECTIVE_WORDS), np.uint32)
        emulated.emulation.configure(seed)
        call(emulated, "collectives", x, out)
        assert take_reports(emulated) == []
        assert out.tolist() == [expected_row(x.tolist(), t) for t in range(N)]


@pytest.mark.parametrize("variant", VARIANTS)
def test_atomics(variant: str) -> None:
    emulated = module(variant)
    rng = np.random.default_rng(31)
    for seed in range(40):
        x = rng.integers(1, 2**17, N, dtype=np.int32)
        cells = {
            name: np.full(8, fill, dtype)
            for name, dtype, fill in (
                ("signed_cells", np.int32, 0),
                ("cells", np.uint32, 2**32 - 1),
                ("wide_cells", np.uint64, 2**64 - 1),
            )
        }
        floats, increments = np.zeros(2, np.float32), np.zeros(1, np.uint32)
        emulated.emulation.configure(seed)
        call(emulated, "atomics", x, *cells.values(), floats, increments)
        assert take_reports(emulated) == []
        for (name, got), shift, bits in zip(cells.items(), (0, 0, 20), (32, 32, 64), strict=True):
            start = 0 if name == "signed_cells" else 2**bits - 1
            values = [int(v) << shift for v in x]
            wanted = [
                (start + sum(values)) % 2**bits,
                min(start, *values),
                max(start, *values),
                reduce(and_, [v | 3 for v in values], start),
                reduce(or_, values, start),
                reduce(xor, values, start),
            ]
            assert [int(v) % 2**bits for v in got[:6]] == wanted, name
            assert int(got[6]) in values
            # If the cell starts as -1, the first compare-and-swap with 0 fails, and 64
            # increments follow.
            assert int(got[7]) % 2**bits == (start + N) % 2**bits
        # Each value and the sum are subnormal: global atomics of the device flush them, shared
        # ones add it.
        assert floats[0].tobytes() == np.float32(0).tobytes()
        assert floats[1].tobytes() == np.int32(x.sum()).tobytes()
        assert increments[0] == N % 41
