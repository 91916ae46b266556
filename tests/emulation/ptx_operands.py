"""Translation of the operands of PTX instructions into C++ expressions."""

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
FLOATS = ("f32", "f64")
_ADDRESS = re.compile(r"\[\s*([%\w$]+)\s*(?:\+\s*(-?\d+))?\s*\]$")


def register_type(kind: str) -> str:
    """Return the C++ type that holds a register's bits."""
    return "bool" if kind == "pred" else f"uint{width(kind)}_t"


def width(kind: str) -> int:
    """Return the number of bits of a type."""
    return 1 if kind == "pred" else int(kind[1:])


def literal(value: int, kind: str) -> str:
    """Return an integer constant of the C++ type of `kind`, wrapped to its width."""
    bits = width(kind)
    value %= 2**bits
    if kind[0] in "bu" and bits in (32, 64):
        return f"{value}u" if bits == 32 else f"{value}ull"
    if kind[0] == "s" and bits in (32, 64) and value < 2 ** (bits - 1):
        return f"{value}" if bits == 32 else f"{value}ll"
    return f"static_cast<{CPP_TYPE[kind]}>({value}u)"


class Operands:
    """The registers and variables of one function, as C++ expressions.

    Casts, operators and bit casts are written out: the compiler would have to inline functions in
    their place a hundred thousand times.
    """

    def __init__(self, registers: dict[str, str], variables: dict[str, Variable]) -> None:
        self.registers = registers
        self.variables = variables

    def read(self, operand: str, kind: str) -> str:
        """Return the value of an operand as the C++ type of `kind`."""
        cpp = CPP_TYPE[kind]
        if operand in SPECIAL:
            return f"static_cast<{cpp}>({SPECIAL[operand]})"
        if operand.startswith("%"):
            register = self.register(operand)
            if kind in FLOATS:
                return f"__builtin_bit_cast({cpp}, {register})"
            same = CPP_TYPE[kind] == register_type(self.registers[operand[1:]])
            return register if same else f"static_cast<{cpp}>({register})"
        if match := re.fullmatch(r"0([fFdD])([0-9a-fA-F]{8}|[0-9a-fA-F]{16})", operand):
            held = "b32" if match[1] in "fF" else "b64"
            if len(match[2]) != width(held) // 4:
                raise PtxError(f"operand {operand}")
            bits = literal(int(match[2], 16), held)
            return f"__builtin_bit_cast({cpp}, {bits})" if kind in FLOATS else bits
        if re.fullmatch(r"-?(0[xX][0-9a-fA-F]+|\d+)U?", operand):
            return literal(int(operand.rstrip("U"), 0), kind)
        if operand in self.variables:
            return f"static_cast<{cpp}>({self.address_of(operand)})"
        raise PtxError(f"operand {operand}")

    def register(self, operand: str) -> str:
        name = operand.lstrip("%")
        if not operand.startswith("%") or name not in self.registers:
            raise PtxError(f"{operand} is not a register")
        return f"r_{name}"

    def address_of(self, symbol: str) -> str:
        """Return an integer: the offset of a variable in shared memory, or else its address."""
        name = identifier(symbol)
        return (
            name
            if self.variables[symbol].space == "shared"
            else f"reinterpret_cast<uint64_t>({name})"
        )

    def write(self, operand: str, value: str, kind: str) -> str:
        """Return statements that set a register to a value of the C++ type of `kind`; a narrower
        integer is sign- or zero-extended.
        """
        if operand == "_":
            return ""
        register = self.register(operand)
        if kind in FLOATS:
            value = f"__builtin_bit_cast({register_type(self.registers[operand[1:]])}, {value})"
        return f"{register} = {value};"

    def pointer(self, operand: str, space: str) -> str:
        """Return the `char*` for a bracketed address in a state space ('' is generic)."""
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
        return (
            f"reinterpret_cast<char*>({wide} + {offset % 2**64}u)"
            if offset
            else (f"reinterpret_cast<char*>({wide})")
        )
