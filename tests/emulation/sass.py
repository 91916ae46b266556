"""Reads the machine code (SASS) in cubins with nvdisasm: which instructions each kernel holds."""

import importlib.util
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from .cache import produce, run, version_of


@cache
def nvdisasm() -> str | None:
    """The disassembler: on PATH, in NVIDIA's wheels or in Triton's; None where there is none."""
    if found := shutil.which("nvdisasm"):
        return found
    for package, places in {
        "nvidia": ("cu*/bin/nvdisasm", "cuda_nvdisasm/bin/nvdisasm"),
        "triton": ("backends/nvidia/bin/nvdisasm",),
    }.items():
        spec = importlib.util.find_spec(package)
        for root in spec.submodule_search_locations or [] if spec else []:
            for pattern in places:
                for path in Path(root).glob(pattern):
                    if path.stat().st_mode & 0o111:
                        return str(path)
    return None


def disassemble(cubin: Path) -> str:
    """What nvdisasm says of the code in a cubin."""
    tool = nvdisasm()
    if tool is None:
        raise FileNotFoundError("nvdisasm is not installed")

    command = [tool, "--print-code", "--no-dataflow"]

    def step(folder: Path) -> Iterable[Path]:
        (folder / "sass").write_text(run([*command, cubin]))
        return []

    inputs = [version_of(tool), *command, cubin.read_bytes()]
    return (produce("sass", inputs, step) / "sass").read_text()


_SECTION = re.compile(r"\s*\.section\s+\.text\.([\w$.]+)")
_INSTRUCTION = re.compile(r"\s*/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9_.]*)\s*([^;]*);")


def opcodes(text: str) -> dict[str, Counter[str]]:
    """How often each opcode, with its modifiers, occurs in each kernel, by mangled name.

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


def total(counts: Counter[str], *names: str) -> int:
    """The number of instructions whose opcode, without modifiers, is one of `names`."""
    return sum(n for opcode, n in counts.items() if opcode.split(".")[0] in names)


def demangle(name: str) -> str:
    """A readable name, where c++filt is there to make it."""
    if shutil.which("c++filt") is None:
        return name
    return subprocess.run(
        ["c++filt", name], capture_output=True, text=True, check=True
    ).stdout.strip()
