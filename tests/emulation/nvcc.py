"""What nvcc makes of the kernel files: PTX and cubins for every target architecture, warnings as
errors.
"""

import shutil
from collections.abc import Iterable
from pathlib import Path

from .cache import FOLDER, ROOT, digest, locked, produce, read_depfile, run, version_of

HERE = Path(__file__).resolve().parent
ARCHS = ("80", "90", "120")
FLAGS = ("-O3", "-fmad=false", "-std=c++20", "-lineinfo", "-Werror", "all-warnings")


def missing() -> str | None:
    """Why kernels cannot be compiled for CUDA here, or None."""
    return None if shutil.which("nvcc") else "nvcc is not installed"


def compile_kernels(source: Path, *extra: str) -> Path:
    """A folder with kernels.compute_80.ptx and, for each architecture, kernels.sm_*.cubin.

    `extra` flags come last and so override: ``-fmad=true`` lets the compiler contract.
    """
    targets = [f"-gencode=arch=compute_{arch},code=[sm_{arch},compute_{arch}]" for arch in ARCHS]
    includes = [f"-I{ROOT / 'csrc'}", f"-I{HERE}"]
    command = ["nvcc", "-fatbin", *FLAGS, *targets, *includes, *extra]

    def step(folder: Path) -> Iterable[Path]:
        kept = folder / "kept"
        kept.mkdir()
        depfile = folder / "depends"
        # Two definitions of -fmad are an error to nvcc, hence the filter.
        words = [w for w in command if not (w.startswith("-fmad") and extra and w not in extra)]
        run(
            [
                *words,
                "--keep",
                "--keep-dir",
                kept,
                "-MMD",
                "-MF",
                depfile,
                source,
                "-o",
                folder / "kernels.fatbin",
            ]
        )
        for arch in ARCHS:
            (cubin,) = kept.glob(f"*sm_{arch}.cubin")
            cubin.rename(folder / f"kernels.sm_{arch}.cubin")
        (ptx,) = kept.glob(f"*compute_{ARCHS[0]}.ptx")
        ptx.rename(folder / f"kernels.compute_{ARCHS[0]}.ptx")
        shutil.rmtree(kept)
        (folder / "kernels.fatbin").unlink()
        return read_depfile(depfile)

    inputs = [version_of("nvcc"), *command, str(source), source.read_bytes()]
    return produce(f"cuda-{source.stem}", inputs, step)


def snippet(text: str) -> Path:
    """A kernel file with this text, at the same place in every run, so that it is compiled once."""
    source = FOLDER / f"snippet-{digest([text])}" / "kernel.cu"
    with locked(source.parent.name):
        source.parent.mkdir(exist_ok=True)
        if not source.exists() or source.read_text() != text:
            source.write_text(text)
    return source


def ptx_of(source: Path, *extra: str) -> Path:
    """The PTX of a kernel file, for the oldest architecture."""
    return compile_kernels(source, *extra) / f"kernels.compute_{ARCHS[0]}.ptx"


def cubin_of(source: Path, arch: str, *extra: str) -> Path:
    """The cubin of a kernel file for one of ARCHS."""
    return compile_kernels(source, *extra) / f"kernels.sm_{arch}.cubin"
