"""A parser for the PTX that nvcc writes (PTX ISA 9.0)."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

TYPE_BYTES = {
    **{f"{kind}{bits}": bits // 8 for kind in "bus" for bits in (8, 16, 32, 64)},
    "f32": 4,
    "f64": 8,
    "pred": 1,
}


def identifier(name: str) -> str:
    """Return a PTX name as a C++ identifier."""
    return re.sub(r"\W", "_", name.replace("$", "_S_"))


class PtxError(ValueError):
    """PTX that cannot be parsed or translated; the message quotes it."""


@dataclass(frozen=True)
class Variable:
    """A declared variable in a state space other than .reg."""

    name: str
    space: str
    bytes: int  # 0: an array of unknown size
    align: int
    initial: bytes | None = None


@dataclass(frozen=True)
class Instruction:
    """An instruction `@predicate opcode operands;` with its source lines."""

    opcode: str
    operands: tuple[str, ...]
    predicate: str = ""  # a register
    negated: bool = False
    # (number of the file, line) of the source, innermost first, then where it was inlined.
    sources: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Label:
    name: str


@dataclass(frozen=True)
class Branches:
    """The jump table of a brx.idx."""

    name: str
    targets: tuple[str, ...]


@dataclass(frozen=True)
class Scope:
    """The start or the end of a block of statements."""

    opens: bool


Statement = Instruction | Label | Branches | Scope | Variable


@dataclass
class Function:
    """A kernel or a device function with a body."""

    name: str
    is_kernel: bool
    returns: list[Variable]
    parameters: list[Variable]
    registers: dict[str, str] = field(default_factory=dict)  # name without %: type
    body: list[Statement] = field(default_factory=list)


@dataclass
class Module:
    variables: list[Variable]
    functions: list[Function]
    files: dict[int, str]


_VARIABLE = re.compile(
    r"(?:\.(?:visible|extern|weak|common)\s+)*\.(?P<space>shared|local|global|const|param)\s+"
    r"(?:\.align\s+(?P<align>\d+)\s+)?(?:\.ptr\s+(?:\.\w+\s+)*(?:\.align\s+\d+\s+)?)?"
    r"\.(?P<type>\w+)\s+(?P<name>[\w$]+)\s*(?P<array>\[\s*\d*\s*\])?(?:\s*=\s*(?P<initial>.*))?$",
    re.DOTALL,
)
_HEADER = re.compile(
    r"(?:\.(?:visible|weak|extern)\s+)*\.(?P<kind>entry|func)\s*(?:\((?P<returns>[^)]*)\)\s*)?"
    r"(?P<name>[\w$]+)\s*(?:\((?P<parameters>[^)]*)\))?"
)


def parse(text: str) -> Module:
    """Parse the text of a PTX module."""
    text = re.sub(r"//[^\n]*", "", text)
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    files = {
        int(n): name
        for n, name in re.findall(r'^\s*\.file\s+(\d+)\s+"([^"]+)"', text, re.MULTILINE)
    }
    text = re.sub(r"^\s*\.file[^\n]*", "", text, flags=re.MULTILINE)
    text = re.sub(r"^\s*\.section\b.*", "", text, flags=re.MULTILINE | re.DOTALL)
    module = Module([], [], files)
    text = re.sub(r"^\s*\.(version|target|address_size)\b[^\n]*", "", text, flags=re.MULTILINE)
    position = 0
    while match := re.compile(r"\S").search(text, position):
        position = match.start()
        header = _HEADER.match(text, position)
        if not header:
            end = text.index(";", position)
            module.variables.append(_variable(text[position:end]))
            position = end + 1
            continue
        brace, semicolon = text.find("{", header.end()), text.find(";", header.end())
        if brace < 0 or 0 <= semicolon < brace:  # a declaration without a body
            position = semicolon + 1
            continue
        end = _closing_brace(text, brace)
        function = Function(
            header["name"],
            header["kind"] == "entry",
            [_variable(p) for p in _split(header["returns"] or "")],
            [_variable(p) for p in _split(header["parameters"] or "")],
        )
        _parse_body(text[brace + 1 : end], function)
        module.functions.append(function)
        position = end + 1
    return module


def _closing_brace(text: str, opening: int) -> int:
    depth = 0
    for match in re.compile(r"[{}]").finditer(text, opening):
        depth += 1 if match[0] == "{" else -1
        if depth == 0:
            return match.start()
    raise PtxError("a function body has no end")


def _split(text: str) -> list[str]:
    """Split at commas outside of brackets."""
    if not any(bracket in text for bracket in "{[("):
        return [part.strip() for part in text.split(",")] if text.strip() else []
    parts, depth, current = [], 0, ""
    for character in text:
        depth += (character in "{[(") - (character in "}])")
        if character == "," and depth == 0:
            parts.append(current.strip())
            current = ""
        else:
            current += character
    return [*parts, current.strip()] if current.strip() else parts


def _variable(text: str) -> Variable:
    match = _VARIABLE.match(text.strip())
    if not match or match["type"] not in TYPE_BYTES:
        raise PtxError(f"not a declaration that is understood: {' '.join(text.split())}")
    width = TYPE_BYTES[match["type"]]
    count = 1 if match["array"] is None else int(match["array"].strip("[] ") or 0)
    initial = None
    if match["initial"] is not None:
        try:
            values = [
                int(v, 0) for v in match["initial"].strip("{} \n").replace("U", "").split(",")
            ]
        except ValueError:
            raise PtxError(
                f"the initial value of {match['name']} is not made of integers"
            ) from None
        initial = b"".join((v % 256**width).to_bytes(width, "little") for v in values)
        initial = initial.ljust(width * count, b"\0")
    return Variable(
        match["name"], match["space"], width * count, int(match["align"] or width), initial
    )


def _statements(body: str) -> Iterator[str]:
    """Yield statements without their semicolons; labels keep their colon, braces come alone."""
    position, end = 0, len(body.rstrip())
    token = re.compile(r"\s*(?:([{}])|([\w$]+:)(?!:)|(\.loc\b[^\n]*)|([^;]+);)", re.DOTALL)
    while position < end:
        match = token.match(body, position)
        if not match:
            raise PtxError(f"not a statement: {body[position : position + 80].strip()}")
        yield next(group for group in match.groups() if group is not None).strip()
        position = match.end()


def _parse_body(body: str, function: Function) -> None:
    sources: tuple[tuple[int, int], ...] = ()
    label = ""
    for text in _statements(body):
        if text in "{}":
            function.body.append(Scope(text == "{"))
        elif text.endswith(":"):
            label = text[:-1]
            function.body.append(Label(label))
        elif text.split()[0] == ".loc":
            places = re.findall(r"(?:\.loc|inlined_at)\s+(\d+)\s+(\d+)", text)
            sources = tuple((int(file), int(line)) for file, line in places if line != "0")
        elif text.startswith(".reg"):
            _parse_registers(text, function)
        elif text.startswith(".branchtargets"):
            function.body[-1] = Branches(label, tuple(_split(text.removeprefix(".branchtargets"))))
        elif text.startswith((".shared", ".local", ".param", ".extern")):
            function.body.append(_variable(text))
        elif not text.startswith(".pragma"):
            function.body.append(_instruction(text, sources))


def _parse_registers(text: str, function: Function) -> None:
    _, kind, names = text.split(maxsplit=2)
    for name in _split(names):
        many = re.fullmatch(r"%(\w+)<(\d+)>", name)
        if many:
            function.registers.update({f"{many[1]}{i}": kind[1:] for i in range(int(many[2]))})
        else:
            function.registers[name.lstrip("%")] = kind[1:]


def _instruction(text: str, sources: tuple[tuple[int, int], ...]) -> Instruction:
    match = re.match(r"(?:@(!?)%(\w+)\s+)?([a-z][\w.:]*)\s*(.*)$", text, re.DOTALL)
    if not match:
        raise PtxError(f"not an instruction: {text}")
    negated, predicate, opcode, operands = match.groups()
    return Instruction(opcode, tuple(_split(operands)), predicate or "", bool(negated), sources)
