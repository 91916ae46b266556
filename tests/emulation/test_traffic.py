"""Test the counters of requests, sectors and loads in flight on kernels that can be counted by
hand, and hold the package's kernels to budgets of them.
"""

import re
from collections.abc import Callable
from unittest import mock

import numpy as np
import pytest
import torch

import nondet_ext
from nondet_ext import _pairwise_ops

from . import build, nvcc, sass, traffic
from .fixtures import running_on
from .sample_kernels import module, read_sample

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(nvcc.missing() is not None, reason=str(nvcc.missing())),
]
with_sass = pytest.mark.skipif(sass.missing() is not None, reason=str(sass.missing()))


def requests_of(sample: str, *arguments: int) -> tuple[np.ndarray, traffic.Requests]:
    results: list[np.ndarray] = []
    emulated = module("ptx")
    (requests,) = traffic.measure(
        emulated, lambda: results.append(read_sample(emulated, sample, *arguments))
    )
    assert requests.kernel.startswith(f"nondet::cuda::{sample}_kernel(")
    return results[0], requests


@pytest.mark.parametrize(
    ("stride", "first", "sectors"),
    [(1, 0, 4), (1, 1, 5), (0, 3, 1), (2, 0, 8), (4, 0, 16), (8, 0, 32), (31, 0, 32)],
)
def test_sectors_of_a_warp_are_those_of_its_addresses(stride, first, sectors):
    out, requests = requests_of("strided", stride, first)
    assert out[:64].tolist() == [first + stride * t for t in range(64)]
    assert (requests.loads, requests.stores, requests.longest) == (2, 2, 1)
    assert requests.sectors == sectors
    assert requests.store_sectors >= 8


def test_a_vector_is_one_request():
    out, requests = requests_of("vectors")
    assert out.tolist() == list(range(256))
    assert (requests.loads, requests.load_sectors, requests.longest) == (2, 32, 1)
    assert requests.stores == 2


@pytest.mark.parametrize(("most", "blocks"), [(31, 1), (5, 1), (31, 3), (0, 2)])
def test_lanes_that_leave_a_loop_do_not_part_the_others(most, blocks):
    _, requests = requests_of("triangle", most, blocks)
    rounds = min(most, 31)
    assert requests.loads == 2 * blocks * rounds
    assert requests.longest == rounds
    # In round i the lanes i + 1 to 31 read: the sectors of 8 lanes that they reach.
    assert requests.load_sectors == 2 * blocks * sum(4 - (i + 1) // 8 for i in range(rounds))


def test_two_halves_of_a_warp_are_two_requests():
    out, requests = requests_of("halves")
    assert out[:64].tolist() == [t + t % 2 for t in range(64)]
    assert (requests.loads, requests.sectors, requests.longest) == (4, 4, 2)


def test_only_translated_kernels_are_counted():
    with pytest.raises(ValueError, match="count_requests: only kernels translated from PTX"):
        module("plain").emulation.configure(0, count_requests=True)
    with pytest.raises(ValueError, match="count_requests: only kernels translated from PTX"):
        module("ptx").emulation.configure(0, count_requests=True, translated=False)
    assert module("ptx").emulation.configure(0)["count_requests"] is False


CHASES = {
    "one": ("int p = n; for (int i = 0; i < n; ++i) p = next[p]; y[0] = p;", 1),
    "four": (
        'float s = 0; _Pragma("unroll 1") for (int i = 0; i < n; i += 4) {'
        " const float a = x[i], b = x[i + 1], c = x[i + 2], d = x[i + 3];"
        " s = (((s + a) + b) + c) + d; } y[0] = s;",
        4,
    ),
    "stored": (
        "for (int i = 0; i < 4; ++i) { y[i] = x[i] + 1; __threadfence_block(); }",
        1,
    ),
    "doubles": (
        "const double* d = reinterpret_cast<const double*>(x);"
        " const double a = d[n], b = d[2 * n]; y[0] = static_cast<float>(a * b);",
        2,
    ),
}


@with_sass
@pytest.mark.parametrize("arch", nvcc.ARCHS)
def test_loads_in_flight_are_those_before_the_first_use(arch):
    source = nvcc.snippet(
        "#include <cuda_runtime.h>\n"
        + "".join(
            f"__global__ void {name}(const int* next, const float* x, volatile float* y, int n) "
            f"{{ {body} }}\n"
            for name, (body, _) in CHASES.items()
        )
    )
    found = {
        name.partition("(")[0]: most for name, most in traffic.loads_in_flight(source, arch).items()
    }
    assert found == {name: most for name, (_, most) in CHASES.items()}


def test_a_wait_is_for_the_loads_up_to_it():
    listing = """
        /*0000*/                   LDG.E R4, desc[UR4][R2.64] ;
        /*0010*/                   LDG.E.64 R6, desc[UR4][R2.64+0x8] ;
        /*0020*/              @!P0 LDG.E R8, desc[UR4][R2.64+0x10] ;
        /*0030*/                   FADD R9, R4, R5 ;
        /*0040*/                   LDG.E R10, desc[UR4][R2.64+0x18] ;
        /*0050*/                   DADD R12, R6, R12 ;
        /*0060*/                   LDG.E.128 R16, desc[UR4][R10.64] ;
        /*0070*/                   LDG.E R20, desc[UR4][R2.64] ;
        /*0080*/                   MOV R1, R19 ;
        /*0090*/                   BRA `(.L_x_1) ;
        /*00a0*/                   LDG.E R21, desc[UR4][R2.64] ;
    """
    lines = listing.splitlines()
    counts = [traffic.most_in_flight(lines[:n]) for n in range(1, len(lines))]
    assert counts == [0, 1, 2, 3, 3, 3, 3, 3, 3, 3, 3, 3]
    assert traffic.most_in_flight(lines[5:]) == 2  # R10 waits for its load, R19 for all of R16
    assert traffic.most_in_flight(lines[9:]) == 1


X = torch.randn(40_000, generator=torch.Generator().manual_seed(3))  # begins at a sector
SEEDED = {"order": "seeded", "seed": 1}
ONE_SEGMENT = torch.tensor([0, 7, 40_000])
ONE_ROW = torch.zeros(4_000, dtype=torch.int64)

# Work and its budget: the sectors of a load at most, on average, and the loads of the busiest warp
# at most, over all of the kernels whose names begin so.
REQUESTS: dict[str, tuple[str, float, int, Callable[[], object]]] = {
    "segments": ("segment_", 5.0, 64, lambda: nondet_ext.segment_sum(X, ONE_SEGMENT)),
    "seeded segments": (
        "segment_",
        5.0,
        96,
        lambda: nondet_ext.segment_sum(X, ONE_SEGMENT, **SEEDED),
    ),
    "runs": ("add_", 6.5, 400, lambda: nondet_ext.bincount(ONE_ROW, X[:4_000])),
    "exact runs": (
        "add_",
        6.5,
        400,
        lambda: nondet_ext.bincount(ONE_ROW, X[:4_000], order="exact"),
    ),
    "short runs": ("add_", 10.0, 8, lambda: nondet_ext.bincount(torch.arange(4_000), X[:4_000])),
    "exact columns": (
        "exact_",
        4.0,
        20,
        lambda: nondet_ext.sum(X[: 20 * 64].reshape(20, 64), 0, order="exact"),
    ),
}


@pytest.mark.parametrize("work", REQUESTS)
def test_requests_stay_within_their_budget(work: str) -> None:
    kernel, sectors, longest, call = REQUESTS[work]
    with running_on("ptx") as emulated:
        assert emulated is not None
        launches = traffic.measure(emulated, call)
    found = [each for each in launches if re.search(rf"::{kernel}\w*_kernel\b", each.kernel)]
    assert found
    loads = sum(each.loads for each in found)
    assert sum(each.load_sectors for each in found) <= sectors * loads, found
    assert sum(each.longest for each in found) <= longest, found


MODELS = torch.randn(64, 8, 10, generator=torch.Generator().manual_seed(4))
LABELS = torch.arange(8)


def in_one_tile(metric: str, space: str) -> Callable[[], object]:
    """Return work that compares all of MODELS in one block of threads."""

    def work() -> object:
        with mock.patch.object(_pairwise_ops, "_ENOUGH_BLOCKS", 1):
            return nondet_ext.ensemble_delta(MODELS, LABELS, metric, space)

    return work


# Work and its budget: the requests at most of its kernels whose names begin so, and the sectors.
# The sectors of stores are those of the results; more would be written in part, or twice.
TOTALS: dict[str, tuple[str, dict[str, int], Callable[[], object]]] = {
    # Logits and the largest of each model and example; zeros of the sums, and the sums.
    "logs of pairs": (
        "pair_logs",
        {"loads": 640, "load_sectors": 2_300, "stores": 170},
        in_one_tile("cross_entropy", "logits"),
    ),
    "logs of labels": (
        "label_logs",
        {"loads": 200, "load_sectors": 1_500, "stores": 170},
        in_one_tile("cross_entropy", "probabilities"),
    ),
    "correct": (
        "pair_correct",
        {"loads": 280, "load_sectors": 1_150},
        in_one_tile("accuracy", "logits"),
    ),
    "correct by probabilities": (
        "pair_correct",
        {"loads": 820, "load_sectors": 2_300},
        in_one_tile("accuracy", "probabilities"),
    ),
    # A request of 32 lanes that store 16 bytes each is 16 sectors.
    "words": (
        "draw",
        {"stores": 8, "store_sectors": 128},
        lambda: nondet_ext.philox_bits(1024, seed=1),
    ),
    "words from an offset": (
        "draw",
        {"stores": 8, "store_sectors": 128},
        lambda: nondet_ext.philox_bits(1024, seed=1, offset=8),
    ),
    "rows of words": (
        "draw",
        {"stores": 8, "store_sectors": 128},
        lambda: nondet_ext.philox_bits(256, seed=1, counter=(torch.arange(4),)),
    ),
    **{
        f"{draw.__name__} {dtype}": (
            "draw",
            {"stores": 8, "store_sectors": 128},
            lambda draw=draw, dtype=dtype: draw(4096 // dtype.itemsize, seed=1, dtype=dtype),
        )
        for draw in (nondet_ext.philox_uniform, nondet_ext.philox_normal)
        for dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16)
    },
    "randint": (
        "draw",
        {"stores": 8, "store_sectors": 128},
        lambda: nondet_ext.philox_randint(0, 9, 512, seed=1),
    ),
}


@pytest.mark.parametrize("work", TOTALS)
def test_totals_stay_within_their_budget(work: str) -> None:
    kernel, budget, call = TOTALS[work]
    with running_on("ptx") as emulated:
        assert emulated is not None
        launches = traffic.measure(emulated, call)
    found = [each for each in launches if re.search(rf"::{kernel}_kernel\b", each.kernel)]
    assert len(found) == 1
    used = {name: getattr(found[0], name) for name in budget}
    assert {name: n for name, n in used.items() if n > budget[name]} == {}, used


# Loads that a warp of a kernel must have in flight, by the kernels' names.
IN_FLIGHT: dict[str, dict[str, int]] = {
    "segment": {
        r"\bsegment_tiles_kernel<.*\bWarpTile\b": 6,
        r"\bsegment_sums_kernel<.*\bWarpTile, true>": 16,
    },
    "scatter": {r"\badd_runs_kernel<": 6, r"\badd_narrow_runs_kernel<": 9},
    "exact": {r"\bexact_(rows|columns|whole_columns)_kernel<": 8},
    "pairwise": {
        r"\bpair_correct_kernel<.*\bTile<1>, .*\bLogit>": 4,
        r"\bpair_correct_kernel<.*\bTile<[24]>, .*\bLogit>": 8,
        r"\b(pair_correct_kernel<.*\bProbability>|(pair|label)_logs_kernel<)": 12,
    },
    "forget_mult": {r"\bforget_kernel<": 16, r"\bforget_back_kernel<": 12},
}


@with_sass
@pytest.mark.parametrize("file", IN_FLIGHT)
def test_loads_in_flight_are_as_many_as_the_budget_asks(file: str) -> None:
    (source,) = (path for path in build.product().kernels if path.stem == file)
    counts = traffic.loads_in_flight(source, nvcc.ARCHS[0])
    for pattern, least in IN_FLIGHT[file].items():
        found = {name: most for name, most in counts.items() if re.search(pattern, name)}
        assert found
        assert {name: most for name, most in found.items() if most < least} == {}
