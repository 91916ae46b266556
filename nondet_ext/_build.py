"""The version, how the compiled module was built, and what it runs."""

from importlib import metadata

from nondet_ext import _check
from nondet_ext._native import _C


def installed_version() -> str:
    """Return the version of the installed distribution, "0+unknown" if there is none."""
    try:
        return metadata.version("nondet")
    except metadata.PackageNotFoundError:
        return "0+unknown"


def build_info() -> dict[str, str | list[str]]:
    """Describe this build.

    Returns:
        ``version``; ``compiler`` and ``flags`` of the C++ code; ``cpu_isas``, the instruction
        sets that this build holds and this processor runs, and ``cpu_isa``, the one in use
        (``NONDET_CPU=generic|avx2|avx512`` forces one); ``cuda``, the version of nvcc, empty for a
        build without CUDA; ``cuda_archs`` and ``cuda_flags``.

    Raises:
        RuntimeError: called in code that ``torch.compile`` traces: it reads the compiled module.
    """
    _check.not_compiling("build_info", "it reads the compiled module; call it outside")
    build = _C.BUILD
    return {
        "version": build["version"],
        "compiler": build["compiler"],
        "flags": build["flags"],
        "cpu_isas": _C.cpu.available_isas(),
        "cpu_isa": _C.cpu.current_isa(),
        "cuda": build["cuda"],
        "cuda_archs": build["cuda_archs"].split(),
        "cuda_flags": build["cuda_flags"] if build["cuda"] else "",
    }
