"""How the operands of PTX instructions read and write as C++."""

import re

from .ptx_parser import PtxError, Variable, identifier

CPP_TYPE = {
    **{f"u{b}": f"uint{b}_t" for b in (8, 16, 32, 64)},
    **{f"b{b}": f"uint{b}_t" for b in (8, 16, 32, 64)},
    **{f"s{b}": f"int{b}_t" for b in (8, 16, 32, 64)},
    "f32": "float",
    "f64": "double",
    "pred": "bool",
}
SPECIAL = {
    **{
        f"%{p}.{c}": f"emulation::current.{m}.{c}"
        for c in "xyz"
        for p, m in (("tid", "thread"), ("ctaid", "block"))
    },
    **{f"%ntid.{c}": f"emulation::current.block_size.{c}" for c in "xyz"},
    **{f"%nctaid.{c}": f"emulation::current.grid_size.{c}" for c in "xyz"},
    "%laneid": "ptx::lane()",
    "WARP_SZ": "32u",
}
_ADDRESS = re.compile(r"\[\s*([%\w$]+)\s*(?:\+\s*(-?\d+))?\s*\]$")


class Operands:
    """How the operands of one function read and write as C++."""

    def __init__(self, registers: dict[str, str], variables: dict[str, Variable]) -> None:
        self.registers = registers
        self.variables = variables

    def read(self, operand: str, kind: str) -> str:
        """The value of an operand as the C++ type of `kind`."""
        cpp = CPP_TYPE[kind]
        if operand in SPECIAL:
            return f"static_cast<{cpp}>({SPECIAL[operand]})"
        if operand.startswith("%"):
            return f"ptx::as<{cpp}>({self.register(operand)})"
        if match := re.fullmatch(r"0[fF]([0-9a-fA-F]{8})", operand):
            return f"ptx::as<{cpp}>(uint32_t{{0x{match[1]}u}})"
        if match := re.fullmatch(r"0[dD]([0-9a-fA-F]{16})", operand):
            return f"ptx::as<{cpp}>(uint64_t{{0x{match[1]}u}})"
        if re.fullmatch(r"-?(0[xX][0-9a-fA-F]+|\d+)U?", operand):
            value = int(operand.rstrip("U"), 0) % 2**64
            return f"static_cast<{cpp}>({value}u)"
        if operand in self.variables:
            return f"static_cast<{cpp}>({self.address_of(operand)})"
        raise PtxError(f"operand {operand}")

    def register(self, operand: str) -> str:
        name = operand.lstrip("%")
        if not operand.startswith("%") or name not in self.registers:
            raise PtxError(f"{operand} is not a register")
        return f"r_{name}"

    def address_of(self, symbol: str) -> str:
        """An offset for shared memory, an address otherwise; as an integer."""
        name = identifier(symbol)
        return (
            name
            if self.variables[symbol].space == "shared"
            else f"reinterpret_cast<uint64_t>({name})"
        )

    def write(self, operand: str, value: str) -> str:
        """Statements that set a register."""
        return "" if operand == "_" else f"ptx::set({self.register(operand)}, {value});"

    def pointer(self, operand: str, space: str) -> str:
        """The `char*` that a bracketed address means in a state space ('' is generic)."""
        match = _ADDRESS.match(operand)
        if not match:
            raise PtxError(f"address {operand}")
        base, offset = match[1], int(match[2] or 0)
        wide = (
            self.read(base, "u64")
            if base.startswith("%")
            else f"uint64_t{{{self.address_of(base)}}}"
        )
        if space == "shared":
            return f"ptx::shared_pointer({wide} + {offset % 2**32}u)"
        return f"reinterpret_cast<char*>({wide} + {offset % 2**64}u)"
