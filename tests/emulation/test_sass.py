"""Every kernel compiles for every architecture without a warning, and holds only what it may."""

from pathlib import Path

import pytest

from . import build, inspection, nvcc, sass
from .cache import BuildError

KERNEL_FILES = [*build.product().kernels, *build.samples().kernels]
SAMPLES = Path(__file__).parent / "samples"

pytestmark = [
    pytest.mark.skipif(nvcc.missing() is not None, reason=str(nvcc.missing())),
    pytest.mark.skipif(sass.nvdisasm() is None, reason="nvdisasm is not installed"),
]


def only_kernel(source: Path, *flags: str) -> inspection.Kernel:
    (kernel,) = inspection.kernels_of(source, *flags)
    return kernel


@pytest.mark.parametrize("source", KERNEL_FILES, ids=lambda path: path.stem)
def test_kernels_hold_only_what_they_may(source: Path) -> None:
    kernels = inspection.kernels_of(source)
    assert kernels
    assert all(all(sum(counts.values()) > 5 for counts in k.sass.values()) for k in kernels)
    assert [c for k in kernels for c in inspection.complaints(k)] == []


def test_every_exemption_is_needed() -> None:
    assert inspection.unused_allowances([k for s in KERNEL_FILES for k in inspection.kernels_of(s)]) == []


def test_contraction_is_seen() -> None:
    for kernel in inspection.kernels_of(SAMPLES / "axpy.cu", "-fmad=true"):
        assert "fma" in inspection.holds(kernel)
        assert all(sass.total(counts, "FFMA") > 0 for counts in kernel.sass.values())
    for kernel in inspection.kernels_of(SAMPLES / "axpy.cu"):
        assert inspection.holds(kernel) == {}
        assert all(sass.total(counts, "FFMA", "DFMA") == 0 for counts in kernel.sass.values())


CODE = """
#include <cuda_runtime.h>
__global__ void kernel(const float* x, float* y, int n) {{ {body} }}
"""


def kernel_file(body: str) -> Path:
    return nvcc.snippet(CODE.format(body=body))


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ("y[threadIdx.x] = x[threadIdx.x] / x[n];", set()),
        ("y[threadIdx.x] = __fmaf_rn(x[0], x[1], x[2]);", {"fma"}),
        ("atomicAdd(y, x[threadIdx.x]);", {"float atomics"}),
        ("atomicAdd(reinterpret_cast<unsigned*>(y), 1u);", set()),
        ("float a[16]; for (int i = 0; i < 16; ++i) a[(i * n) & 15] = x[i]; y[0] = a[n & 15];", {"local memory"}),
    ],
)
def test_what_a_kernel_holds_is_seen(body: str, what: set[str]) -> None:
    assert set(inspection.holds(only_kernel(kernel_file(body)))) == what


def test_a_warning_is_an_error() -> None:
    with pytest.raises(BuildError, match="never referenced"):
        inspection.kernels_of(kernel_file("int unused; y[0] = x[0];"))
