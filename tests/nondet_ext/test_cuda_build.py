"""Test what is asked of nvcc before the CUDA kernels are built."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(shutil.which("cmake") is None, reason="cmake is not installed")

# What nvcc of these versions lists, without variants.
KNOWN = {
    "12.4": "50 52 53 60 61 62 70 72 75 80 86 87 89 90",
    "12.8": "50 52 53 60 61 62 70 72 75 80 86 87 89 90 100 101 120",
    "13.0": "75 80 86 87 88 89 90 100 110 103 120 121",
    "a later one": "130 140",
}


def configure(folder: Path, call: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a call of a function of cmake/nvcc.cmake; its result is the variable `out`."""
    script = folder / "call.cmake"
    script.write_text(
        f'cmake_minimum_required(VERSION 3.24)\ninclude("{ROOT}/cmake/nvcc.cmake")\n{call}\n'
        'message("result: ${out}")\n'
    )
    return subprocess.run(
        ["cmake", "-P", script.name],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def told_by_nvcc(folder: Path, version: str) -> Path:
    """Return a program that lists the architectures of a version of nvcc."""
    program = folder / "nvcc"
    listed = "\\n".join(f"compute_{arch}" for arch in KNOWN[version].split())
    program.write_text(f"#!/bin/sh\n[ \"$1\" = --list-gpu-arch ] && printf '{listed}\\n'\n")
    program.chmod(0o755)
    return program


@pytest.mark.parametrize(
    ("version", "requested", "wanted"),
    [
        ("12.4", "", "75;80-real;86-real;89-real;90"),
        ("12.8", "", "75;80-real;86-real;89-real;90-real;100-real;120"),
        ("13.0", "", "75;80-real;86-real;89-real;90-real;100-real;120"),
        ("13.0", "80;90;120", "80;90-real;120"),
        ("13.0", "120;90a;90a;80", "80;90a-real;120"),
        ("13.0", "90", "90"),
    ],
)
def test_architectures_are_those_that_nvcc_knows(
    tmp_path: Path, version: str, requested: str, wanted: str
) -> None:
    nvcc = told_by_nvcc(tmp_path, version)
    done = configure(tmp_path, f'nondet_cuda_architectures(out "{nvcc}" "{requested}")')
    assert done.stderr.strip() == f"result: {wanted}"


@pytest.mark.parametrize(
    ("version", "requested", "wanted"),
    [
        ("12.4", "90;100", "does not know the architecture '100'; it knows 50, 52"),
        ("13.0", "70", "NONDET_CUDA_ARCHS"),
        ("a later one", "", "knows none of the usual architectures, only 130, 140"),
    ],
)
def test_unknown_architectures_are_refused(
    tmp_path: Path, version: str, requested: str, wanted: str
) -> None:
    nvcc = told_by_nvcc(tmp_path, version)
    done = configure(tmp_path, f'nondet_cuda_architectures(out "{nvcc}" "{requested}")')
    assert done.returncode != 0
    assert wanted in " ".join(done.stderr.split())


def test_an_nvcc_that_lists_nothing_is_told(tmp_path: Path) -> None:
    done = configure(tmp_path, 'nondet_cuda_architectures(out "false" "")')
    assert "false --list-gpu-arch named no architecture" in " ".join(done.stderr.split())


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="nvcc is not installed")
@pytest.mark.parametrize(
    ("flags", "lacks"),
    [
        ("", None),
        ("-lineinfo", None),
        ("-use_fast_math", "-ftz=0"),
        ("-ftz=true", "-ftz=0"),
        ("-prec-div=false", "-prec_div=1"),
        ("-prec-sqrt=false", "-prec_sqrt=1"),
    ],
)
@pytest.mark.parametrize("place", ["NVCC_APPEND_FLAGS", "NVCC_PREPEND_FLAGS", "given"])
def test_approximations_are_refused(
    tmp_path: Path, flags: str, lacks: str | None, place: str
) -> None:
    environment = dict.fromkeys(("NVCC_APPEND_FLAGS", "NVCC_PREPEND_FLAGS"), "")
    if place in environment:
        environment[place] = flags
    given = f"-O3;-fmad=false;{flags}" if place == "given" else "-O3;-fmad=false"
    done = configure(tmp_path, f'nondet_refuse_approximations(nvcc "{given}")', **environment)
    if lacks is None:
        assert done.stderr.strip() == "result:"
    else:
        assert f"its commands lack {lacks}." in " ".join(done.stderr.split())
        assert done.returncode != 0
