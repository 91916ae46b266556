"""Translate the PTX of a kernel file into C++ that runs on the emulation's runtime.

Registers hold raw bits; every instruction has a type as which it reads and writes them. The
instructions are defined in include/emulation/ptx.h after the PTX ISA. An unknown instruction or
modifier is an error that names it and its kernel; nothing is approximated.
"""

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from . import nvcc
from .cache import ROOT, produce
from .ptx_instructions import translate_instruction
from .ptx_operands import Operands, register_type
from .ptx_parser import (
    Branches,
    Function,
    Instruction,
    Label,
    Module,
    PtxError,
    Scope,
    Statement,
    Variable,
    identifier,
    parse,
)


@cache
def in_repository(file: str) -> bool:
    return ROOT in Path(file).resolve().parents


def short_name(mangled: str) -> str:
    """Return the last component of a mangled variable name, for reports."""
    last = mangled
    for match in re.finditer(r"(?=(?<!\d)(\d+)([A-Za-z_]\w*))", mangled):
        if len(match[2]) >= int(match[1]):
            last = match[2][: int(match[1])]
    return last


class Translator(Operands):
    """A translator of one function to C++."""

    def __init__(self, module: Module, function: Function) -> None:
        variables = [*module.variables, *(s for s in function.body if isinstance(s, Variable))]
        super().__init__(function.registers, {v.name: v for v in variables})
        self.module = module
        self.function = function
        for parameter in [*function.parameters, *function.returns]:
            self.variables[parameter.name] = parameter

    def signature(self) -> str:
        name = identifier(self.function.name)
        if self.function.is_kernel:
            return f"static void kernel_{name}(void** arguments)"
        parameters = [*self.function.returns, *self.function.parameters]
        declared = ", ".join(f"char* {identifier(p.name)}" for p in parameters)
        return f"static void call_{name}({declared})"

    def lines(self) -> list[str]:
        lines = [self.signature() + " {"]
        lines += [
            f"  {register_type(kind)} r_{name} = 0;"
            for name, kind in self.function.registers.items()
        ]
        if self.function.is_kernel:
            lines += [
                f"  char* const {identifier(p.name)} = static_cast<char*>(arguments[{i}]);"
                for i, p in enumerate(self.function.parameters)
            ]
        lines += [
            line for v in self.module.variables if v.space == "shared" for line in self.shared(v)
        ]
        tables = {s.name: s.targets for s in self.function.body if isinstance(s, Branches)}
        place = ""
        for statement in self.function.body:
            if isinstance(statement, Instruction) and (now := self.line_of(statement)) != place:
                lines.append(now)
                place = now
            lines += self.statement(statement, tables)
        return [*lines, "}"]

    def line_of(self, instruction: Instruction) -> str:
        """Return a #line directive for the innermost of the instruction's source lines that lies in
        this repository.
        """
        places = [(self.module.files[file], line) for file, line in instruction.sources]
        own = [place for place in places if in_repository(place[0])]
        file, line = (own or places or [("unknown", 1)])[0]
        return f'#line {line} "{file}"'

    def statement(self, statement: Statement, tables: dict[str, tuple[str, ...]]) -> list[str]:
        match statement:
            case Label(name):
                return [f" {identifier(name)}:;"]
            case Branches():
                return []
            case Scope(opens):
                return ["  {" if opens else "  }"]
            case Variable(space="shared"):
                return self.shared(statement)
            case Variable():
                return [
                    f"  alignas(16) char {identifier(statement.name)}[{max(1, statement.bytes)}];"
                ]
            case Instruction():
                code = self.instruction(statement, tables)
                if statement.predicate:
                    sign = "!" if statement.negated else ""
                    code = f"if ({sign}r_{statement.predicate}) {{ {code} }}"
                return [f"  {code}"]
        raise AssertionError(statement)

    def shared(self, variable: Variable) -> list[str]:
        """Return the definition of the offset of an array in its block's shared memory."""
        name = identifier(variable.name)
        if variable.bytes == 0:
            return [f"  const uint32_t {name} = ptx::dynamic_shared_offset();"]
        return [
            f"  static const char {name}_key = 0;",
            f"  const uint32_t {name} = ptx::shared_offset("
            f'&{name}_key, "{short_name(variable.name)}", {variable.bytes}, {variable.align});',
        ]

    def instruction(self, instruction: Instruction, tables: dict[str, tuple[str, ...]]) -> str:
        opcode, operands = instruction.opcode, instruction.operands
        if opcode in ("bra", "bra.uni"):
            return f"goto {identifier(operands[0])};"
        if opcode in ("ret", "ret.uni", "exit"):
            if opcode == "exit" and not self.function.is_kernel:
                raise PtxError("exit in a device function")
            return "return;"
        if opcode == "brx.idx":
            cases = "".join(
                f"case {i}: goto {identifier(t)}; " for i, t in enumerate(tables[operands[1]])
            )
            return f"switch ({self.read(operands[0], 'u32')}) {{ {cases}}}"
        if opcode in ("call", "call.uni"):
            return self.call(operands)
        try:
            return translate_instruction(self, instruction)
        except (PtxError, KeyError, IndexError, ValueError) as error:
            text = f"{opcode} {', '.join(operands)}"
            raise PtxError(f"cannot translate '{text}' in {self.function.name}: {error}") from error

    def call(self, operands: tuple[str, ...]) -> str:
        names = [
            n.strip() for o in operands if o.startswith("(") for n in o.strip("() \n").split(",")
        ]
        target = next(o for o in operands if not o.startswith("("))
        if target not in {f.name for f in self.module.functions}:
            raise PtxError(f"cannot translate a call of {target} in {self.function.name}")
        return f"call_{identifier(target)}({', '.join(identifier(n) for n in names if n)});"


def define(variable: Variable) -> str:
    """Return the definition of a variable of the module in global or constant memory."""
    if variable.initial is None and variable.space == "const":
        raise PtxError(f"the constant {variable.name} has no initial value")
    data = ", ".join(str(b) for b in variable.initial or bytes(variable.bytes))
    kind = "const unsigned char" if variable.space == "const" else "unsigned char"
    name = identifier(variable.name)
    return f"alignas({max(16, variable.align)}) {kind} {name}[] = {{{data}}};"


def translate(text: str) -> str:
    """Return a PTX module as C++."""
    module = parse(text)
    lines = ['#include "emulation/ptx.h"', "namespace {"]
    lines += [define(v) for v in module.variables if v.space in ("global", "const")]
    translators = [Translator(module, function) for function in module.functions]
    lines += [translator.signature() + ";" for translator in translators]
    for translator in translators:
        lines += translator.lines()
    kernels = [f for f in module.functions if f.is_kernel]
    if not kernels:
        raise PtxError("the module has no kernels")
    lines += [
        "const emulation::TranslatedEntry entries[] = {",
        *(f'  {{"{f.name}", kernel_{identifier(f.name)}}},' for f in kernels),
        "};",
        "const emulation::TranslatedUnit unit(entries);",
        "}  // namespace",
    ]
    return "\n".join(lines) + "\n"


def translate_file(source: Path, *extra: str) -> Path:
    """Translate a kernel file; return the C++ file, which is kept until the PTX or the translator
    changes.
    """
    ptx = nvcc.ptx_of(source, *extra)
    here = Path(__file__).parent
    makers = [
        here / name
        for name in ("ptx.py", "ptx_parser.py", "ptx_operands.py", "ptx_instructions.py")
    ]

    def step(folder: Path) -> Iterable[Path]:
        (folder / f"{source.stem}.ptx.cpp").write_text(translate(ptx.read_text()))
        return makers

    inputs = ["translation", ptx.read_bytes()]
    return produce(f"translated-{source.stem}", inputs, step) / f"{source.stem}.ptx.cpp"
