"""Count the instructions of each kernel in machine code (SASS), in cubins and in the installed
module, by nvdisasm and cuobjdump, and read the resources that it takes.
"""

import importlib.util
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from .cache import produce, run, version_of

# Folders of the tools in NVIDIA's wheels and in Triton's.
PACKAGES = {
    "nvidia": ("cu*/bin", "cuda_*/bin"),
    "triton": ("backends/nvidia/bin",),
}


@cache
def tool(name: str) -> str | None:
    """Return the path of a tool of the CUDA toolkit from PATH, NVIDIA's wheels or Triton's, or
    None.
    """
    if found := shutil.which(name):
        return found
    for package, places in PACKAGES.items():
        spec = importlib.util.find_spec(package)
        for root in spec.submodule_search_locations or [] if spec else []:
            for pattern in places:
                for path in Path(root).glob(f"{pattern}/{name}"):
                    if path.stat().st_mode & 0o111:
                        return str(path)
    return None


def missing() -> str | None:
    """Return why machine code cannot be read here, or None."""
    absent = [name for name in ("nvdisasm", "cuobjdump") if tool(name) is None]
    return f"{' and '.join(absent)} not installed" if absent else None


def _tool(name: str) -> str:
    found = tool(name)
    if found is None:
        raise FileNotFoundError(f"{name} is not installed")
    return found


def disassemble(cubin: Path) -> str:
    """Return nvdisasm's listing of the code in a cubin."""
    command = [_tool("nvdisasm"), "--print-code", "--no-dataflow"]

    def step(folder: Path) -> Iterable[Path]:
        (folder / "sass").write_text(run([*command, cubin]))
        return []

    inputs = [version_of(command[0]), *command, cubin.read_bytes()]
    return (produce("sass", inputs, step) / "sass").read_text()


@cache
def installed(module: Path, jobs: int) -> dict[str, dict[str, Counter[str]]]:
    """Return the opcodes of every kernel in a module that was built with CUDA, by architecture
    ("80") and mangled name.
    """
    command = [_tool("cuobjdump"), "--extract-elf", "all"]

    def step(folder: Path) -> Iterable[Path]:
        run([*command, module], cwd=folder)
        return []

    inputs = [version_of(command[0]), *command, module.read_bytes()]
    cubins = sorted(produce("installed", inputs, step).glob("*.cubin"))
    with ThreadPoolExecutor(jobs) as pool:
        texts = list(pool.map(disassemble, cubins))
    found: dict[str, dict[str, Counter[str]]] = {}
    for cubin, text in zip(cubins, texts, strict=True):
        arch = re.search(r"sm_(\d+)", cubin.name)
        assert arch is not None, cubin
        found.setdefault(arch[1], {}).update(opcodes(text))
    return found


_SECTION = re.compile(r"\s*\.section\s+\.text\.([\w$.]+)")
_INSTRUCTION = re.compile(r"\s*/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9_.]*)\s*([^;]*);")


def opcodes(text: str) -> dict[str, Counter[str]]:
    """Count each opcode, with its modifiers, in each kernel, by mangled name.

    HFMA2 that only loads a constant (``HFMA2 R, -RZ, RZ, a, b``) is counted as HFMA2.CONSTANT.
    """
    counts: dict[str, Counter[str]] = {}
    current: Counter[str] = Counter()
    for line in text.splitlines():
        if section := _SECTION.match(line):
            current = counts.setdefault(section[1], Counter())
        elif instruction := _INSTRUCTION.match(line):
            opcode, operands = instruction.groups()
            if opcode.startswith("HFMA2") and re.search(r"-RZ\s*,\s*RZ", operands):
                opcode = "HFMA2.CONSTANT"
            current[opcode] += 1
    return counts


@dataclass(frozen=True)
class Resources:
    """What a kernel takes: registers and bytes of stack frame of a thread, bytes of static shared
    memory of a block.
    """

    registers: int
    frame: int
    shared: int


RESERVED = 1024
"""Bytes that cuobjdump counts from sm_90 on in kernels with shared memory: the system's own."""

_ARCH = re.compile(r"\s*arch = sm_(\d+)")
_FUNCTION = re.compile(r"\s*Function ([\w$.]+):")
_USAGE = re.compile(r"\s*REG:(\d+) STACK:(\d+) SHARED:(\d+)")


def resources(binary: Path) -> dict[tuple[str, str], Resources]:
    """Return the resources of every kernel in a cubin or in a module that was built with CUDA, by
    architecture ("80"; "" in a cubin, which does not name it) and mangled name.
    """
    command = [_tool("cuobjdump"), "--dump-resource-usage"]

    def step(folder: Path) -> Iterable[Path]:
        (folder / "usage").write_text(run([*command, binary]))
        return []

    inputs = [version_of(command[0]), *command, binary.read_bytes()]
    return parse_resources((produce("resources", inputs, step) / "usage").read_text())


def parse_resources(text: str) -> dict[tuple[str, str], Resources]:
    """Return what cuobjdump's listing of resources says; see `resources`."""
    found: dict[tuple[str, str], Resources] = {}
    arch = name = ""
    for line in text.splitlines():
        if named := _ARCH.match(line):
            arch = named[1]
        elif function := _FUNCTION.match(line):
            name = function[1]
        elif usage := _USAGE.match(line):
            registers, frame, shared = map(int, usage.groups())
            if arch and int(arch) >= 90 and shared > 0:
                shared -= RESERVED
            found[arch, name] = Resources(registers, frame, shared)
    return found


def total(counts: Counter[str], *names: str) -> int:
    """Return the number of instructions whose opcode, without modifiers, is one of `names`."""
    return sum(n for opcode, n in counts.items() if opcode.split(".")[0] in names)


def demangle(name: str) -> str:
    """Return a readable name if c++filt is installed, otherwise the name itself."""
    if shutil.which("c++filt") is None:
        return name
    return subprocess.run(
        ["c++filt", name], capture_output=True, text=True, check=True
    ).stdout.strip()
