"""How kernels use the memory of a device, as far as that can be told without one.

Requests and their sectors are counted by the emulation, on the instructions of the PTX: `measure`.
How many loads a warp has under way at once cannot be: the emulation does not know when a value is
used, and ptxas moves loads. So that is read from the machine code: `loads_in_flight`.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType

from . import nvcc, sass


@dataclass(frozen=True)
class Requests:
    """The requests of global memory of one launch: a request is one instruction of a warp, and
    touches sectors of 32 bytes. `longest`: the loads of the warp that made most, one after the
    other or in batches.
    """

    kernel: str  # demangled
    loads: int
    load_sectors: int
    stores: int
    store_sectors: int
    longest: int

    @property
    def sectors(self) -> float:
        """Sectors of a load, on average: 4 if the lanes read neighbouring float32, 32 if each reads
        elsewhere.
        """
        return self.load_sectors / max(self.loads, 1)


def measure(emulated: ModuleType, work: Callable[[], object]) -> list[Requests]:
    """Call `work`; return the requests of its launches, which an emulated module of the variant
    ptx runs.
    """
    emulated.emulation.configure(0, count_requests=True)
    emulated.emulation.take_requests()
    try:
        work()
        return [
            Requests(sass.demangle(name), *numbers)
            for name, *numbers in emulated.emulation.take_requests()
        ]
    finally:
        emulated.emulation.configure(0)


_SECTION = re.compile(r"\s*\.section\s+\.text\.([\w$.]+)")
_INSTRUCTION = re.compile(r"\s*/\*[0-9a-f]{4,}\*/\s+(@!?U?P\w+\s+)?([A-Z][A-Z0-9_.]*)\s*([^;]*);")
_REGISTER = re.compile(r"(?<![\w.])R(\d+)(\.64)?")
_WORDS = {".64": 2, ".128": 4}


def _destination(opcode: str, operands: str) -> set[int]:
    """Return the registers that a load writes."""
    first = _REGISTER.match(operands.strip())
    if first is None:
        return set()
    words = next((n for width, n in _WORDS.items() if width in opcode), 1)
    return {int(first[1]) + i for i in range(words)}


def _mentioned(operands: str) -> set[int]:
    """Return the registers that an instruction names; of pairs, both."""
    return {
        int(number) + i
        for number, wide in _REGISTER.findall(operands)
        for i in range(2 if wide else 1)
    }


def most_in_flight(listing: Iterable[str]) -> int:
    """Return the most loads from global memory that a warp can have under way, from nvdisasm's
    listing of one kernel.

    A warp issues its instructions in order, and waits at the first that names a register of a load
    that has not come back; then all loads up to that one count as done. The paths that are
    considered are those that follow the listing, past branches that are not taken.
    """
    under_way: list[set[int]] = []
    most = 0
    for line in listing:
        found = _INSTRUCTION.match(line)
        if found is None:
            continue
        predicate, opcode, operands = found.groups()
        name = opcode.split(".")[0]
        named = _mentioned(operands)
        waits = [i for i, registers in enumerate(under_way) if registers & named]
        if waits:
            del under_way[: waits[-1] + 1]
        if name in ("LDG", "LD"):
            under_way.append(_destination(opcode, operands))
            most = max(most, len(under_way))
        elif name in ("BRA", "EXIT", "RET", "BRX", "JMP") and not predicate:
            under_way = []
    return most


@cache
def loads_in_flight(source: Path, arch: str) -> dict[str, int]:
    """Return the most loads in flight of each kernel of a file, by demangled name, as compiled for
    one of nvcc.ARCHS.
    """
    listings: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in sass.disassemble(nvcc.cubin_of(source, arch)).splitlines():
        if section := _SECTION.match(line):
            lines = listings.setdefault(section[1], [])
        else:
            lines.append(line)
    return {sass.demangle(name): most_in_flight(listing) for name, listing in listings.items()}
