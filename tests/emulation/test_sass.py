"""Every kernel compiles for every architecture without a warning, and holds only what it may."""

from pathlib import Path

import pytest

from . import build, inspection, nvcc, sass
from .cache import BuildError

CONTRACTION = build.samples("contraction")
KERNEL_FILES = [*build.product().kernels, *build.samples().kernels, *CONTRACTION.kernels]

pytestmark = [
    pytest.mark.skipif(nvcc.missing() is not None, reason=str(nvcc.missing())),
    pytest.mark.skipif(sass.nvdisasm() is None, reason="nvdisasm is not installed"),
]


@pytest.mark.parametrize("source", KERNEL_FILES, ids=lambda path: path.stem)
def test_kernels_hold_only_what_they_may(source: Path) -> None:
    kernels = inspection.kernels_of(source)
    assert kernels
    assert all(all(sum(counts.values()) > 5 for counts in k.sass.values()) for k in kernels)
    assert [c for k in kernels for c in inspection.complaints(k)] == []


def test_every_exemption_is_needed() -> None:
    assert (
        inspection.unused_allowances([k for s in KERNEL_FILES for k in inspection.kernels_of(s)])
        == []
    )


def test_contraction_is_seen() -> None:
    (source,) = CONTRACTION.kernels
    for kernel in inspection.kernels_of(source, "-fmad=true"):
        assert "fma" in inspection.holds(kernel)
        assert all(sass.total(counts, "FFMA") > 0 for counts in kernel.sass.values())
    for kernel in inspection.kernels_of(source):
        assert inspection.holds(kernel) == {}
        assert all(sass.total(counts, "FFMA", "DFMA") == 0 for counts in kernel.sass.values())


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
    """A file of kernels with these names and bodies."""
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
