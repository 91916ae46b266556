"""Test the build information, the choice of an instruction set, and imports from any directory."""

import re
import subprocess
import sys
from pathlib import Path

import nondet_ext
from nondet_ext._native import _C

ROOT = Path(__file__).resolve().parents[2]
ALL_ISAS = ("generic", "avx2", "avx512")


# Importing torch takes seconds, so one process imports it and forks for each case. It must not have
# imported anything of nondet.
FORKS = """
import os, sys, torch
assert not any(name.startswith("nondet") for name in sys.modules)
for directory, environment in {cases}:
    child = os.fork()
    if child == 0:
        os.chdir(directory)
        os.environ.update(environment)
        try:
            {code}
        except BaseException as error:
            print(type(error).__name__, error, flush=True)
            os._exit(1)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def python(code: str, cases: list[tuple[Path, dict[str, str]]], cwd: Path) -> list[tuple[str, str]]:
    """Run a line of code in a new process for each working directory and environment; return the
    line that each process printed and its exit status.
    """
    places = [(str(directory), environment) for directory, environment in cases]
    done = subprocess.run(
        [sys.executable, "-c", FORKS.format(cases=places, code=code)],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 2 * len(cases), done.stdout + done.stderr
    return list(zip(lines[::2], lines[1::2], strict=True))


def test_build_info():
    info = nondet_ext.build_info()
    assert "-ffp-contract=off" in info["flags"]
    assert "fast-math" not in info["flags"].replace("-fno-fast-math", "")
    assert info["cpu_isa"] in info["cpu_isas"]
    assert info["cpu_isas"][0] == "generic"
    assert set(info["cpu_isas"]) <= set(ALL_ISAS)
    if info["cuda"]:
        assert "-fmad=false" in info["cuda_flags"]
        assert info["cuda_archs"]
        assert hasattr(_C, "cuda")
    else:
        assert not hasattr(_C, "cuda")


def test_environment_forces_an_isa(tmp_path):
    code = "import nondet_ext; print(nondet_ext.build_info()['cpu_isa'], flush=True)"
    isas = (*ALL_ISAS, "sse9")
    results = python(code, [(tmp_path, {"NONDET_CPU": isa}) for isa in isas], tmp_path)
    for isa, (printed, status) in zip(isas, results, strict=True):
        if isa in _C.cpu.available_isas():
            assert (printed, status) == (isa, "0")
        else:
            assert status == "1"
            assert f"NONDET_CPU is '{isa}'" in printed
            if isa in ALL_ISAS:
                assert "; this build on this processor can run: generic" in printed


def test_import_from_any_directory(tmp_path):
    code = "import nondet_ext, nondet; print(nondet_ext.next_up.__module__, flush=True)"
    places = (ROOT, ROOT / "python", ROOT / "tests", Path("/"))
    results = python(code, [(place, {}) for place in places], tmp_path)
    assert dict(zip(places, results, strict=True)) == dict.fromkeys(places, ("nondet_ext.ulp", "0"))


def test_the_compiled_module_links_no_torch_and_no_openmp():
    symbols = subprocess.run(
        ["ldd", _C.__file__], capture_output=True, text=True, check=True
    ).stdout
    for library in ("torch", "c10", "gomp", "cudart", "cuda"):
        assert library not in symbols


def test_the_stub_lists_what_the_module_has():
    stub = (ROOT / "nondet_ext" / "_C.pyi").read_text()
    listed = {
        part.partition("(")[0]: set(re.findall(r"^    def (\w+)\(", part, re.MULTILINE))
        for part in stub.split("class ")
    }
    for name, module in {"_Cpu": _C.cpu, "_Direct": _C.direct}.items():
        assert listed[name] == {each for each in dir(module) if not each.startswith("_")}
