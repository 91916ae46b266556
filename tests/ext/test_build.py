"""The installed package: what it says of its build, how a path is forced, and where it can be
imported from.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import nondet_ext
from nondet_ext._native import _C

ROOT = Path(__file__).resolve().parents[2]
ALL_PATHS = ("generic", "avx2", "avx512")


def python(code: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_build_info():
    info = nondet_ext.build_info()
    assert "-ffp-contract=off" in info["flags"]
    assert "fast-math" not in info["flags"].replace("-fno-fast-math", "")
    assert info["cpu_path"] in info["cpu_paths"]
    assert info["cpu_paths"][0] == "generic"
    assert set(info["cpu_paths"]) <= set(ALL_PATHS)
    if info["cuda"]:
        assert "-fmad=false" in info["cuda_flags"]
        assert info["cuda_archs"]
        assert hasattr(_C, "cuda")
    else:
        assert not hasattr(_C, "cuda")


@pytest.mark.parametrize("path", ALL_PATHS)
def test_environment_forces_a_path(path, tmp_path):
    code = "import nondet_ext; print(nondet_ext.build_info()['cpu_path'])"
    result = python(code, tmp_path, NONDET_CPU=path)
    if path in _C.cpu.available_paths():
        assert result.stdout.strip() == path
    else:
        assert result.returncode != 0
        assert f"NONDET_CPU is '{path}'; this build on this processor can run: generic" in (
            result.stderr
        )


def test_an_unknown_path_is_refused(tmp_path):
    result = python("import nondet_ext", tmp_path, NONDET_CPU="sse9")
    assert result.returncode != 0
    assert "NONDET_CPU is 'sse9'" in result.stderr


@pytest.mark.parametrize("cwd", [ROOT, ROOT / "python", ROOT / "tests", Path("/")], ids=str)
def test_import_from_any_directory(cwd):
    code = "import nondet_ext, nondet; print(nondet_ext.next_up.__module__)"
    result = python(code, cwd)
    assert result.stdout.strip() == "nondet_ext.ulp", result.stderr


def test_the_compiled_module_links_no_torch_and_no_openmp():
    symbols = subprocess.run(
        ["ldd", _C.__file__], capture_output=True, text=True, check=True
    ).stdout
    for library in ("torch", "c10", "gomp", "cudart", "cuda"):
        assert library not in symbols


def test_the_stub_lists_what_the_module_has():
    stub = (ROOT / "nondet_ext" / "_C.pyi").read_text()
    public = [name for name in dir(_C.cpu) if not name.startswith("_")]
    assert public
    for name in public:
        assert f"    def {name}(" in stub
    for line in stub.splitlines():
        if line.startswith("    def "):
            assert hasattr(_C.cpu, line.removeprefix("    def ").split("(")[0])
