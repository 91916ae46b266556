"""Rules for the instructions in compiled kernels (PTX and SASS) and the resources that they take,
and the exemptions from them.

A kernel may contain no fused multiply-add, no float atomics and no local memory unless ALLOWED says
so. An exemption that no kernel needs is an error, so ALLOWED also asserts that an atomic kernel is
atomic.
"""

import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from nondet_ext._native import _C

from . import nvcc, sass
from .build import JOBS, product
from .ptx_parser import Instruction, Module, parse

# (pattern of the demangled kernel name, feature). Features: "fma", explicit in the source;
# "float atomics"; "local memory", for arrays with indices known only at run time.
ALLOWED: tuple[tuple[str, str], ...] = (
    (r"\bdraw_kernel<.*\bNormal<", "fma"),
    (r"\bpair_(statistics|logs)_kernel<", "fma"),
    (r"\bpair_correct_kernel<.*\bProbability>", "fma"),
    (r"\blabel_logs_kernel<", "fma"),
    (r"\b(row|column)_sums_kernel<.*\bAdd<", "float atomics"),
    (r"\b(segment_atomic|atomic_add)_kernel<", "float atomics"),
    (r"\badd_(narrow_)?runs_kernel<.*\bExactly<", "local memory"),
    # Sample kernels of the tests.
    (r"\b(atomic_sum|atomics)_kernel\b", "float atomics"),
    (r"\bmixed_kernel\b", "fma"),
    (r"\bmixed_kernel\b", "local memory"),
)


# Budgets: (pattern of the demangled kernel name, value); the last entry is that of other kernels.
Budget = tuple[tuple[str, int], ...]
# Bytes of stack frame of a thread. The driver keeps them for every thread that the device has room
# for, outside of torch's memory: 560 bytes are 151 MB on 132 multiprocessors with 2,048 threads.
FRAMES: Budget = ((r"\badd_(narrow_)?runs_kernel<.*\bExactly<", 576), ("", 0))
# Registers of a thread.
REGISTERS: Budget = (
    (r"\bvisit_order_kernel\b", 64),
    # One block of 256 threads fits a multiprocessor with up to 256 registers, two with 128.
    (r"\bpair_logs_kernel<.*\bTile<4>", 232),
    ("", 192),
)
# Bytes of static shared memory of a block, of which every device has 48 KB.
SHARED: Budget = (
    (r"\bexact_(round|whole_columns)_kernel<", 34_560),
    (r"\b(pair_logs|label_logs|pair_correct)_kernel<", 17 << 10),
    ("", 9 << 10),
)


@dataclass(frozen=True)
class Kernel:
    """A kernel with its opcodes in the PTX and in the SASS of each architecture."""

    name: str  # demangled
    ptx: Counter[str]
    sass: dict[str, Counter[str]]


def count_ptx(module: Module) -> dict[str, Counter[str]]:
    """Count each opcode in each kernel, including the functions that it calls."""
    functions = {f.name: f for f in module.functions}

    def reachable(name: str, seen: set[str]) -> set[str]:
        if name not in seen and name in functions:
            seen.add(name)
            for statement in functions[name].body:
                if isinstance(statement, Instruction) and statement.opcode.startswith("call"):
                    for operand in statement.operands:
                        reachable(operand, seen)
        return seen

    return {
        kernel.name: Counter(
            statement.opcode
            for name in reachable(kernel.name, set())
            for statement in functions[name].body
            if isinstance(statement, Instruction)
        )
        for kernel in module.functions
        if kernel.is_kernel
    }


@cache
def kernels_of(source: Path, *flags: str) -> tuple[Kernel, ...]:
    """Return the kernels of a file. The SASS of the package's kernels is that of the installed
    module, for every architecture in it; other kernels are compiled for each of nvcc.ARCHS.
    """
    if source in product().kernels:
        in_sass = sass.installed(Path(_C.__file__), JOBS)
    else:
        with ThreadPoolExecutor(JOBS) as pool:
            cubins = pool.map(lambda arch: nvcc.cubin_of(source, arch, *flags), nvcc.ARCHS)
            in_sass = {
                arch: sass.opcodes(sass.disassemble(cubin))
                for arch, cubin in zip(nvcc.ARCHS, cubins, strict=True)
            }
    in_ptx = count_ptx(parse(nvcc.ptx_of(source, *flags).read_text()))
    return tuple(
        Kernel(
            sass.demangle(name), opcodes, {arch: counts[name] for arch, counts in in_sass.items()}
        )
        for name, opcodes in in_ptx.items()
    )


def holds(kernel: Kernel) -> dict[str, str]:
    """Return the features of the kernel that need an exemption, each with the opcode that shows
    it.
    """
    found: dict[str, str] = {}
    divides = False
    for opcode in kernel.ptx:
        name, *_, kind = opcode.split(".") if "." in opcode else (opcode, "")
        divides |= name in ("div", "sqrt", "rcp") and kind in ("f32", "f64")
        if name == "fma":
            found["fma"] = f"{opcode} in PTX"
        if name in ("mul", "add", "sub") and kind in ("f32", "f64") and ".rn" not in opcode:
            found["contractible arithmetic"] = f"{opcode} in PTX"
        if name in ("atom", "red") and re.search(r"f(16|32|64)", opcode):
            found["float atomics"] = f"{opcode} in PTX"
    for arch, counts in kernel.sass.items():
        for opcode in counts:
            if opcode.split(".")[0] in ("LDL", "STL"):
                found["local memory"] = f"{opcode} on sm_{arch}"
            # Divisions and square roots are compiled to FFMA or DFMA.
            fused = re.match(r"(FFMA2?|DFMA|HFMA2)\b", opcode) and opcode != "HFMA2.CONSTANT"
            if fused and not divides and "fma" not in found:
                found["fma"] = f"{opcode} on sm_{arch}"
            if re.match(r"(RED|ATOM)\w*\..*\b(F16|F32|F64|BF16)", opcode):
                found.setdefault("float atomics", f"{opcode} on sm_{arch}")
    return found


def complaints(kernel: Kernel) -> list[str]:
    """Return the features of the kernel that are not allowed."""
    allowed = {what for pattern, what in ALLOWED if re.search(pattern, kernel.name)}
    return [
        f"{kernel.name}: {what}: {why}"
        for what, why in holds(kernel).items()
        if what not in allowed
    ]


def excesses(name: str, used: sass.Resources) -> list[str]:
    """Return which resources a kernel, given by its demangled name, takes more of than it may."""

    def most(budget: Budget) -> int:
        return next(value for pattern, value in budget if re.search(pattern, name))

    return [
        f"{name}: {what}: {taken}, more than {most(budget)}"
        for what, taken, budget in (
            ("registers", used.registers, REGISTERS),
            ("bytes of frame", used.frame, FRAMES),
            ("bytes of shared memory", used.shared, SHARED),
        )
        if taken > most(budget)
    ]


def unused_allowances(kernels: list[Kernel]) -> list[str]:
    """Return the exemptions that match no kernel or that a matching kernel does not need."""
    unused = []
    for pattern, what in ALLOWED:
        matching = [k for k in kernels if re.search(pattern, k.name)]
        if not matching or any(what not in holds(k) for k in matching):
            unused.append(f"{what} for {pattern}")
    return unused
