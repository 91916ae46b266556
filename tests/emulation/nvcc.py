"""Compilation of kernel files by nvcc: PTX for the oldest target architecture, cubins for the
oldest and the newest; warnings are errors.
"""

import shutil
from collections.abc import Iterable
from pathlib import Path

from .cache import FOLDER, ROOT, digest, locked, produce, read_depfile, run, version_of

HERE = Path(__file__).resolve().parent
ARCHS = ("80", "120")
FLAGS = ("-O3", "-fmad=false", "-std=c++20", "-lineinfo", "-Werror", "all-warnings")


def missing() -> str | None:
    """Return why kernels cannot be compiled for CUDA here, or None."""
    return None if shutil.which("nvcc") else "nvcc is not installed"


def compile_to(kind: str, arch: str, source: Path, extra: tuple[str, ...]) -> Path:
    """Compile a kernel file to "ptx" or "cubin"; return the output file. `extra` flags come last
    and override others.
    """
    # nvcc rejects two definitions of -fmad.
    flags = [
        flag for flag in FLAGS if not any(flag.split("=")[0] == e.split("=")[0] for e in extra)
    ]
    includes = [f"-I{ROOT / 'csrc'}", f"-I{HERE}"]
    command = ["nvcc", f"-{kind}", f"-arch={arch}", *flags, *includes, *extra]
    file = f"kernels.{kind}"

    def step(folder: Path) -> Iterable[Path]:
        depfile = folder / "depends"
        run([*command, "-MMD", "-MF", depfile, source, "-o", folder / file])
        return read_depfile(depfile)

    inputs = [version_of("nvcc"), *command, str(source), source.read_bytes()]
    return produce(f"{kind}-{source.stem}", inputs, step) / file


def snippet(text: str) -> Path:
    """Return a kernel file with this text. Its path depends only on the text, so that it is
    compiled once.
    """
    source = FOLDER / f"snippet-{digest([text])}" / "kernel.cu"
    with locked(source.parent.name):
        source.parent.mkdir(exist_ok=True)
        if not source.exists() or source.read_text() != text:
            source.write_text(text)
    return source


def ptx_of(source: Path, *extra: str) -> Path:
    """Return the PTX of a kernel file; the flag ``-fmad=true`` allows contraction."""
    return compile_to("ptx", f"compute_{ARCHS[0]}", source, extra)


def cubin_of(source: Path, arch: str, *extra: str) -> Path:
    """Return the cubin of a kernel file for one of ARCHS."""
    return compile_to("cubin", f"sm_{arch}", source, extra)
