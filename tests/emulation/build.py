"""Build the emulated modules: kernels and launchers of csrc/cuda compiled by g++ for the CPU.

`load("plain")`, `load("race")` (every memory access observed) and `load("ptx")` (kernels translated
from the PTX that nvcc makes of them) return modules with the functions of nondet_ext._C.cuda and a
submodule `emulation` that controls them. All files csrc/cuda/*.cu are built.
"""

import importlib.machinery
import importlib.util
import os
import shutil
import sysconfig
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType

from .cache import ROOT, digest, produce, prune, read_depfile, run, version_of
from .ptx import translate_file

HERE = Path(__file__).resolve().parent
JOBS = 2
VARIANTS = ("plain", "race", "ptx")
PORTABLE = "portable"  # plain, but switching threads by ucontext, as other processors need

# -fno-optimize-sibling-calls: the return address of a call must lie in the kernel that made it.
# -fno-gnu-unique: the modules in one process must not share variables.
FLAGS = [
    *("-std=c++20", "-O1", "-g1", "-fPIC", "-ffp-contract=off", "-fvisibility=default"),
    *("-fno-gnu-unique", "-fno-optimize-sibling-calls"),
    *(f"-I{HERE / 'include'}", f"-I{HERE}", f"-I{ROOT / 'csrc'}"),
]


@dataclass(frozen=True)
class Project:
    """Kernel files, and the files that bind their launchers in `nondet::bind_cuda`."""

    kernels: tuple[Path, ...]
    bindings: tuple[Path, ...]


@dataclass(frozen=True)
class Unit:
    """A file to compile, with its flags."""

    source: Path
    flags: tuple[str, ...] = ()


def product() -> Project:
    """Return the project of the package's kernels."""
    csrc = ROOT / "csrc"
    return Project(
        tuple(sorted((csrc / "cuda").glob("*.cu"))),
        tuple(sorted((csrc / "bindings" / "cuda").glob("*.cpp"))),
    )


def samples(folder: str = "") -> Project:
    """Return the project of the sample kernels, some of which have planted defects."""
    where = HERE / "samples" / folder
    return Project(tuple(sorted(where.glob("*.cu"))), (where / "bindings.cpp",))


def compiler() -> str:
    """Return the host compiler."""
    return os.environ.get("CXX") or "g++"


def missing(variant: str) -> str | None:
    """Return why `variant` cannot be built on this machine, or None."""
    if shutil.which(compiler()) is None:
        return f"{compiler()} is not installed"
    if variant == "ptx" and shutil.which("nvcc") is None:
        return "nvcc is not installed"
    return None


def python_includes() -> tuple[str, ...]:
    """Return the flags for the headers of Python and pybind11, which torch also contains."""
    try:
        import pybind11

        binding = pybind11.get_include()
    except ImportError:
        import torch

        binding = str(Path(torch.__file__).parent / "include")
    return ("-isystem", sysconfig.get_paths()["include"], "-isystem", binding)


def compile_unit(unit: Unit) -> Path:
    """Compile `unit`; return the object file."""
    command = [compiler(), *FLAGS, *unit.flags]

    def step(folder: Path) -> Iterable[Path]:
        depfile = folder / "depends"
        run([*command, "-c", unit.source, "-o", folder / "object.o", "-MMD", "-MF", depfile])
        return read_depfile(depfile)

    inputs = [version_of(compiler()), *command, str(unit.source), unit.source.read_bytes()]
    return produce(unit.source.stem, inputs, step) / "object.o"


def units_of(
    variant: str, project: Project, pool: ThreadPoolExecutor, *nvcc_flags: str
) -> list[Unit]:
    """Return the units of a module of this variant; those that take longest come first."""
    observed = ("-fsanitize=thread",) if variant == "race" else ()
    kernels = [Unit(source, ("-x", "c++", *observed)) for source in project.kernels]
    switch = ("-DNONDET_EMULATION_UCONTEXT",) if variant == PORTABLE else ()
    runtime = [
        Unit(source, switch if source.stem == "context" else ())
        for source in sorted((HERE / "runtime").glob("*.cpp"))
    ]
    python = (*python_includes(), "-O0", "-g0")  # bindings should compile quickly
    abilities = (
        f"-DNONDET_EMULATION_OBSERVED={int(variant == 'race')}",
        f"-DNONDET_EMULATION_TRANSLATED={int(variant == 'ptx')}",
    )
    # Most of the time goes to pybind11's headers, so all bindings are one unit.
    *others, last = project.bindings
    included = tuple(word for path in others for word in ("-include", str(path)))
    host = [
        Unit(last, (*python, *included)),
        Unit(HERE / "module.cpp", python),
        Unit(HERE / "variant.cpp", abilities),
    ]
    if variant == "ptx":
        translated = pool.map(lambda source: translate_file(source, *nvcc_flags), project.kernels)
        kernels += [Unit(path, ("-w",)) for path in translated]
    return [*host, *reversed(kernels), *runtime]


def link(variant: str, objects: list[Path]) -> Path:
    """Link a shared library from these objects; return its path."""
    command = [compiler(), "-shared", *map(str, objects), "-ldl"]

    def step(folder: Path) -> Iterable[Path]:
        run([*command, "-o", folder / "emulated.so"])
        return objects

    return produce(f"module-{variant}", [version_of(compiler()), *command], step) / "emulated.so"


def build(variant: str, project: Project, *nvcc_flags: str) -> Path:
    """Build the module unless it is up to date; return its path."""
    if variant not in (*VARIANTS, PORTABLE):
        raise ValueError(
            f"variant: got {variant!r}, expected one of {', '.join((*VARIANTS, PORTABLE))}"
        )
    with ThreadPoolExecutor(JOBS) as pool:
        units = units_of(variant, project, pool, *nvcc_flags)
        objects = list(pool.map(compile_unit, units))
    prune()
    return link(variant, objects)


@cache
def load(variant: str, project: Project | None = None, *nvcc_flags: str) -> ModuleType:
    """Build and import the emulated module of a project, by default of the package's kernels.

    `nvcc_flags` are added to nvcc.FLAGS for the PTX of the ptx variant.
    """
    path = build(variant, project or product(), *nvcc_flags)
    # Python derives the name of a module's init function from the last part of its name; the first
    # part distinguishes the modules in one process.
    name = f"{variant}_{digest([str(path)])}.emulated"
    loader = importlib.machinery.ExtensionFileLoader(name, str(path))
    spec = importlib.util.spec_from_file_location(name, path, loader=loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module
