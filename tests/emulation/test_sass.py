"""Test that every installed kernel contains only allowed instructions, for every architecture."""

import re
from pathlib import Path

import pytest

import nondet_ext
from nondet_ext._native import _C

from . import build, inspection, nvcc, sass
from .cache import BuildError

CONTRACTION = build.samples("contraction")
SAMPLES = [*build.samples().kernels, *CONTRACTION.kernels]
PRODUCT = build.product().kernels
BUILD = nondet_ext.build_info()

pytestmark = [
    pytest.mark.early,
    pytest.mark.slow,
    pytest.mark.skipif(nvcc.missing() is not None, reason=str(nvcc.missing())),
    pytest.mark.skipif(sass.missing() is not None, reason=str(sass.missing())),
]
with_cuda = pytest.mark.skipif(
    not BUILD["cuda"], reason="the installed nondet_ext was built without CUDA"
)


@with_cuda
def test_machine_code_of_every_architecture_is_installed() -> None:
    found = sass.installed(Path(_C.__file__), build.JOBS)
    assert sorted(found) == sorted(re.findall(r"\d+", str(BUILD["cuda_archs"])))
    assert len({frozenset(kernels) for kernels in found.values()}) == 1


@pytest.mark.parametrize(
    "source",
    [*(pytest.param(path, marks=with_cuda) for path in PRODUCT), *SAMPLES],
    ids=lambda path: path.stem,
)
def test_kernels_hold_only_what_they_may(source: Path) -> None:
    kernels = inspection.kernels_of(source)
    assert kernels
    assert all(all(sum(counts.values()) > 5 for counts in k.sass.values()) for k in kernels)
    assert [c for k in kernels for c in inspection.complaints(k)] == []


@with_cuda
def test_every_exemption_is_needed() -> None:
    kernels = [k for source in (*PRODUCT, *SAMPLES) for k in inspection.kernels_of(source)]
    assert inspection.unused_allowances(kernels) == []


def test_contraction_is_seen() -> None:
    (source,) = CONTRACTION.kernels
    for kernel in inspection.kernels_of(source, "-fmad=true"):
        assert "fma" in inspection.holds(kernel)
        assert all(sass.total(counts, "FFMA") > 0 for counts in kernel.sass.values())
    for kernel in inspection.kernels_of(source):
        assert inspection.holds(kernel) == {}
        assert all(sass.total(counts, "FFMA", "DFMA") == 0 for counts in kernel.sass.values())


@with_cuda
def test_kernels_take_no_more_than_their_budget() -> None:
    used = sass.resources(Path(_C.__file__))
    assert {arch for arch, _ in used} == set(re.findall(r"\d+", str(BUILD["cuda_archs"])))
    assert [
        f"sm_{arch}: {each}"
        for (arch, name), resources in used.items()
        for each in inspection.excesses(sass.demangle(name), resources)
    ] == []


def test_what_a_kernel_takes_is_seen() -> None:
    source = kernel_file(
        {
            "small": "y[threadIdx.x] = x[threadIdx.x];",
            "framed": BODIES["indexes"][0],
            "shared": (
                "__shared__ float a[4000]; a[threadIdx.x] = x[threadIdx.x]; __syncthreads(); "
                "y[threadIdx.x] = a[n];"
            ),
        }
    )
    used = sass.resources(nvcc.cubin_of(source, nvcc.ARCHS[0]))
    by_name = {sass.demangle(name).partition("(")[0]: each for (_, name), each in used.items()}
    assert inspection.excesses("small", by_name["small"]) == []
    assert by_name["framed"].frame >= 64
    assert inspection.excesses("framed", by_name["framed"]) == [
        f"framed: bytes of frame: {by_name['framed'].frame}, more than 0"
    ]
    assert inspection.excesses("shared", by_name["shared"]) == [
        "shared: bytes of shared memory: 16000, more than 9216"
    ]


def test_budgets_are_by_kernel() -> None:
    def excess(name: str, *used: int) -> list[str]:
        found = inspection.excesses(name, sass.Resources(*used))
        return [each.removeprefix(f"{name}: ").partition(":")[0] for each in found]

    runs = "void add_runs_kernel<Format<unsigned long>, Exactly<Format<unsigned long> > >(long)"
    assert excess(runs, 156, 560, 0) == []
    assert excess(runs, 156, 1112, 0) == ["bytes of frame"]
    assert excess(runs.replace("Exactly", "OneByOne"), 30, 8, 0) == ["bytes of frame"]
    assert excess("visit_order_kernel(int)", 64, 0, 4096) == []
    assert excess("visit_order_kernel(int)", 65, 0, 0) == ["registers"]
    assert excess("void exact_round_kernel<Format>(int)", 255, 0, 34_561) == [
        "registers",
        "bytes of shared memory",
    ]


BODIES = {
    "divides": ("y[threadIdx.x] = x[threadIdx.x] / x[n];", set()),
    "fuses": ("y[threadIdx.x] = __fmaf_rn(x[0], x[1], x[2]);", {"fma"}),
    "races": ("atomicAdd(y, x[threadIdx.x]);", {"float atomics"}),
    "counts": ("atomicAdd(reinterpret_cast<unsigned*>(y), 1u);", set()),
    "indexes": (
        "float a[16]; for (int i = 0; i < 16; ++i) a[(i * n) & 15] = x[i]; y[0] = a[n & 15];",
        {"local memory"},
    ),
}


def kernel_file(bodies: dict[str, str]) -> Path:
    """Return a file of kernels with these names and bodies."""
    kernels = (
        f"__global__ void {name}(const float* x, float* y, int n) {{ {body} }}\n"
        for name, body in bodies.items()
    )
    return nvcc.snippet("#include <cuda_runtime.h>\n" + "".join(kernels))


@pytest.mark.parametrize("name", BODIES)
def test_what_a_kernel_holds_is_seen(name: str) -> None:
    source = kernel_file({name: body for name, (body, _) in BODIES.items()})
    (kernel,) = (k for k in inspection.kernels_of(source) if k.name.startswith(name))
    assert set(inspection.holds(kernel)) == BODIES[name][1]


def test_what_a_kernel_may_not_hold_is_a_complaint() -> None:
    source = kernel_file({name: body for name, (body, _) in BODIES.items()})
    complaints = [c for k in inspection.kernels_of(source) for c in inspection.complaints(k)]
    assert sorted(c.split("(")[0] for c in complaints) == ["fuses", "indexes", "races"]


def test_a_warning_is_an_error() -> None:
    with pytest.raises(BuildError, match="never referenced"):
        inspection.kernels_of(kernel_file({"warns": "int unused; y[0] = x[0];"}))
