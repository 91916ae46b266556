"""Translation of single PTX instructions into C++ calls of the functions in
include/emulation/ptx.h.
"""

from collections.abc import Callable

from .ptx_operands import CPP_TYPE, FLOATS, Operands, width
from .ptx_parser import TYPE_BYTES, Instruction, PtxError

Handler = Callable[[Operands, list[str], tuple[str, ...]], str]
_HANDLERS: dict[str, Handler] = {}


def handles(*names: str) -> Callable[[Handler], Handler]:
    def register(handler: Handler) -> Handler:
        _HANDLERS.update(dict.fromkeys(names, handler))
        return handler

    return register


def translate_instruction(operands: Operands, instruction: Instruction) -> str:
    """Return C++ statements for one instruction."""
    name, *modifiers = instruction.opcode.replace("::", ":").split(".")
    if name not in _HANDLERS:
        raise PtxError("the instruction is not known")
    return _HANDLERS[name](operands, [name, *modifiers], instruction.operands)


def only(modifiers: list[str], *allowed: str) -> None:
    """Raise PtxError for a modifier that is not modelled."""
    unknown = [m for m in modifiers if m not in allowed]
    if unknown:
        raise PtxError(f"modifier .{unknown[0]} is not known here")


def vector(operand: str) -> list[str]:
    return [o.strip() for o in operand.strip("{} ").split(",")]


# Cache hints change no value; weak and volatile accesses are ordered like others here.
_HINTS = ("nc", "ca", "cg", "cs", "lu", "cv", "wb", "wt", "weak", "volatile")
_SPACES = ("global", "shared", "local", "param", "const")


_BITS = {"f32": "b32", "f64": "b64"}  # moves keep all bits


@handles("ld", "ldu", "st")
def _memory(o: Operands, words: list[str], operands: tuple[str, ...]) -> str:
    name, *modifiers, kind = words
    modifiers = [m.split(":")[0] for m in modifiers]  # without qualifiers: shared::cta, L1::...
    only(modifiers, *_SPACES, *_HINTS, "v2", "v4", "L1", "L2")
    space = next((m for m in modifiers if m in _SPACES), "")
    store = name == "st"
    place, values = operands if store else reversed(operands)
    parts = vector(values)
    kind = _BITS.get(kind, kind)
    size = TYPE_BYTES[kind]
    # The address register may be among the destinations.
    code = [f"char* const p = {o.pointer(place, space)};"]
    if space not in ("param", "local"):  # memory of a single thread needs no check
        code.append(f"PTX_OBSERVE({'write' if store else 'read'}, p, {size * len(parts)});")
    for i, part in enumerate(parts):
        at = f"p + {i * size}" if i else "p"
        there = f"PTX_AT({CPP_TYPE[kind]}, {at})"
        code.append(f"{there} = {o.read(part, kind)};" if store else o.write(part, there, kind))
    return "{ " + " ".join(code) + " }"


@handles("mov")
def _mov(o: Operands, words: list[str], operands: tuple[str, ...]) -> str:
    only(words[1:-1])
    kind = _BITS.get(words[-1], words[-1])
    to, value = operands
    if "{" in value:
        half = f"b{int(kind[1:]) // len(vector(value))}"
        parts = ", ".join(o.read(v, half) for v in vector(value))
        return o.write(to, f"ptx::pack<{CPP_TYPE[kind]}>({parts})", kind)
    if "{" in to:
        parts = vector(to)
        bits = int(kind[1:]) // len(parts)
        code = [
            o.write(p, f"static_cast<uint{bits}_t>(whole >> {i * bits})", f"b{bits}")
            for i, p in enumerate(parts)
        ]
        return f"{{ const auto whole = {o.read(value, kind)}; {' '.join(code)} }}"
    return o.write(to, o.read(value, kind), kind)


@handles("cvta")
def _cvta(o: Operands, words: list[str], operands: tuple[str, ...]) -> str:
    only(words[1:], "to", *_SPACES, "u64")
    value = o.read(operands[1], "u64")
    if "shared" not in words:
        return o.write(operands[0], value, "u64")
    direction = "to_shared" if "to" in words else "from_shared"
    return o.write(operands[0], f"ptx::{direction}({value})", "u64")


_OPERATORS = {"add": "+", "sub": "-", "mul": "*", "and": "&", "or": "|", "xor": "^"}


def _operator(name: str, kind: str) -> str | None:
    """Return the C++ operator for the instruction, or None. Types narrower than int have none,
    because C++ promotes them, nor has bool.
    """
    plain = kind in FLOATS or width(kind) in (32, 64)
    return _OPERATORS.get(name) if plain else None


def _unsigned(kind: str) -> str:
    """Return the type in which integers wrap; the low bits are the same."""
    return kind if kind in FLOATS else f"u{width(kind)}"


# Functions of values of the instruction's last type, by their number of operands.
_PLAIN = {
    **dict.fromkeys(("and", "or", "xor", "min", "max", "add", "sub", "div", "rem", "copysign"), 2),
    **dict.fromkeys(("not", "neg", "abs", "cnot", "sqrt", "rcp", "brev"), 1),
    "fma": 3,
}


@handles(*_PLAIN)
def _plain(o: Operands, words: list[str], operands: tuple[str, ...]) -> str:
    name, *modifiers, kind = words
    rounded = kind in ("f32", "f64") and name in ("add", "sub", "div", "sqrt", "rcp", "fma")
    only(modifiers, *(("rn",) if rounded else ()))
    if rounded and modifiers != ["rn"]:
        raise PtxError("without .rn the assembler may contract it")
    if len(operands) != _PLAIN[name] + 1:
        raise PtxError("the number of operands")
    if sign := _operator(name, kind):
        kind = _unsigned(kind)
        return o.write(operands[0], f" {sign} ".join(o.read(v, kind) for v in operands[1:]), kind)
    values = ", ".join(o.read(v, kind) for v in operands[1:])
    return o.write(operands[0], f"ptx::{name}_<{CPP_TYPE[kind]}>({values})", kind)


@handles("mul", "mad")
def _mul(o: Operands, words: list[str], operands: tuple[str, ...]) -> str:
    name, *modifiers, kind = words
    cpp = CPP_TYPE[kind]
    values = [o.read(v, kind) for v in operands[1:3]]
    if kind in ("f32", "f64"):
        if name == "mad" or modifiers != ["rn"]:
            raise PtxError("without .rn the assembler may contract it")
        return o.write(operands[0], " * ".join(values), kind)
    only(modifiers, "lo", "hi", "wide")
    (part,) = modifiers
    product = f"ptx::mul_{part}<{cpp}>({', '.join(values)})"
    if part == "lo" and _operator(name="mul", kind=kind):
        kind = _unsigned(kind)
        product = " * ".join(o.read(v, kind) for v in operands[1:3])
    if part == "wide":
        kind = kind[0] + str(2 * width(kind))
        if width(kind) == 64:
            product = f"static_cast<{CPP_TYPE[kind]}>({values[0]}) * {values[1]}"
    if name == "mad" and _operator("add", kind):
        kind = _unsigned(kind)
        product = f"{product} + {o.read(operands[3], kind)}"
    elif name == "mad":
        product = f"ptx::add_<{CPP_TYPE[kind]}>({product}, {o.read(operands[3], kind)})"
    return o.write(operands[0], product, kind)


@handles("shl", "shr")
def _shift(o: Operands, words: list[str], operands: tuple[str, ...]) -> str:
    name, kind = words
    value, amount = o.read(operands[1], kind), o.read(operands[2], "u32")
    bits = width(kind)
    if bits in (32, 64) and operands[2].isdecimal() and int(operands[2]) < bits:
        return o.write(operands[0], f"{value} {'<<' if name == 'shl' else '>>'} {amount}", kind)
    return o.write(operands[0], f"ptx::{name}_<{CPP_TYPE[kind]}>({value}, {amount})", kind)


@handles("shf")
def _funnel(o: Operands, words: list[str], operands: tuple[str, ...]) -> str:
    name, direction, mode, kind = words
    only([direction, mode, kind], "l", "r", "wrap", "clamp", "b32")
    values = ", ".join(o.read(v, "u32") for v in operands[1:])
    wraps = str(mode == "wrap").lower()
    return o.write(operands[0], f"ptx::{name}_{direction}({values}, {wraps})", "u32")


@handles("bfe", "bfi", "prmt", "lop3", "popc", "clz")
def _bits(o: Operands, words: list[str], operands: tuple[str, ...]) -> str:
    name, kind = words
    fields = {"bfe": [kind, "u32", "u32"], "bfi": [kind, kind, "u32", "u32"]}.get(name, [kind] * 4)
    values = ", ".join(o.read(v, k) for v, k in zip(operands[1:], fields, strict=False))
    # popc and clz return 32 bits for any operand.
    result = "u32" if name in ("popc", "clz") else kind
    return o.write(operands[0], f"ptx::{name}_<{CPP_TYPE[kind]}>({values})", result)


@handles("cvt")
def _cvt(o: Operands, words: list[str], operands: tuple[str, ...]) -> str:
    *modifiers, to, source = words[1:]
    only(modifiers, "rn", "rni", "rzi", "rmi", "rpi")
    mode = modifiers[0] if modifiers else "none"
    value = o.read(operands[1], source)
    if to not in FLOATS and source not in FLOATS:
        return o.write(operands[0], f"static_cast<{CPP_TYPE[to]}>({value})", to)
    rounded = f"ptx::cvt<{CPP_TYPE[to]}, {CPP_TYPE[source]}>({value}, ptx::Round::{mode})"
    return o.write(operands[0], rounded, to)


# For integers, and for floats if a comparison with NaN is false.
_COMPARISONS = dict(
    zip(
        ("eq", "lt", "le", "gt", "ge", "lo", "ls", "hi", "hs"),
        ("==", "<", "<=", ">", ">=", "<", "<=", ">", ">="),
        strict=True,
    )
)


@handles("setp")
def _setp(o: Operands, words: list[str], operands: tuple[str, ...]) -> str:
    _, comparison, *combine, kind = words
    only(combine, "and", "or", "xor")
    values = [o.read(v, kind) for v in operands[1:3]]
    operator = {"and": "&", "or": "|", "xor": "^"}
    code = []
    for register, sign in zip(operands[0].split("|"), ("", "!"), strict=False):
        value = f"{sign}holds"
        if combine:
            other = _predicate(o, operands[3])
            value = f"static_cast<bool>(({value}) {operator[combine[0]]} ({other}))"
        code.append(o.write(register, value, "pred"))
    if sign := _COMPARISONS.get(comparison):
        result = f"{values[0]} {sign} {values[1]}"
    elif comparison == "ne" and kind not in FLOATS:
        result = f"{values[0]} != {values[1]}"
    else:
        result = f"ptx::compare_{comparison}<{CPP_TYPE[kind]}>({', '.join(values)})"
    return f"{{ const bool holds = {result}; {' '.join(code)} }}"


@handles("selp")
def _selp(o: Operands, words: list[str], operands: tuple[str, ...]) -> str:
    (kind,) = words[1:]
    kind = _BITS.get(kind, kind)
    yes, no = (o.read(v, kind) for v in operands[1:3])
    return o.write(operands[0], f"{o.register(operands[3])} ? {yes} : {no}", kind)


_BARRIER = {
    ("sync",): ("kSync", ""),
    ("red", "popc", "u32"): ("kCount", "uint32_t"),
    ("red", "and", "pred"): ("kAnd", "bool"),
    ("red", "or", "pred"): ("kOr", "bool"),
}


@handles("bar", "barrier")
def _bar(o: Operands, words: list[str], operands: tuple[str, ...]) -> str:
    form = tuple(w for w in words[1:] if w not in ("cta", "aligned"))
    if form == ("warp", "sync"):
        return f"ptx::sync_warp({o.read(operands[0], 'u32')}, __COUNTER__);"
    operation, result = _BARRIER[form]
    if (operands[1:2] if result else operands) != ("0",):
        raise PtxError("only barrier 0 of the whole block is modelled")
    vote = _predicate(o, operands[2]) if result else "false"
    call = f"ptx::barrier(emulation::BarrierOp::{operation}, {vote}, __COUNTER__)"
    if not result:
        return f"{call};"
    kind = "pred" if result == "bool" else "u32"
    return o.write(operands[0], f"static_cast<{result}>({call})", kind)


def _predicate(o: Operands, operand: str) -> str:
    if operand.startswith("!"):
        return f"!{o.register(operand[1:])}"
    return "true" if operand == "1" else "false" if operand == "0" else o.register(operand)


@handles("membar", "fence")
def _fence(o: Operands, words: list[str], operands: tuple[str, ...]) -> str:
    only(words[1:], "gl", "sys", "cta", "gpu", "sc", "acq_rel")
    return f"emulation::fence({str('cta' not in words).lower()});"


@handles("shfl")
def _shfl(o: Operands, words: list[str], operands: tuple[str, ...]) -> str:
    _, sync, mode, kind = words
    only([sync, kind], "sync", "b32")
    modes = {"idx": "kShuffle", "up": "kShuffleUp", "down": "kShuffleDown", "bfly": "kShuffleXor"}
    to, *within = operands[0].split("|")
    values = ", ".join(o.read(v, "u32") for v in operands[1:])
    code = [o.write(to, "result.value", "u32")]
    code += [o.write(w, "result.within", "pred") for w in within]
    call = f"ptx::shuffle(emulation::WarpOp::{modes[mode]}, {values}, __COUNTER__)"
    return f"{{ const auto result = {call}; {' '.join(code)} }}"


@handles("vote")
def _vote(o: Operands, words: list[str], operands: tuple[str, ...]) -> str:
    _, sync, operation, kind = words
    only([sync, operation, kind], "sync", "any", "all", "ballot", "pred", "b32")
    vote, mask = _predicate(o, operands[1]), o.read(operands[2], "u32")
    return o.write(operands[0], f"ptx::vote_{operation}({vote}, {mask}, __COUNTER__)", kind)


@handles("match")
def _match(o: Operands, words: list[str], operands: tuple[str, ...]) -> str:
    _, operation, sync, kind = words
    only([operation, sync], "any", "sync")
    value, mask = o.read(operands[1], kind), o.read(operands[2], "u32")
    call = f"ptx::match_any<{CPP_TYPE[kind]}>({value}, {mask}, __COUNTER__)"
    return o.write(operands[0], call, "u32")


@handles("redux")
def _redux(o: Operands, words: list[str], operands: tuple[str, ...]) -> str:
    _, sync, operation, kind = words
    only([sync, operation, kind], "sync", "add", "min", "max", "and", "or", "xor", "u32", "b32")
    value, mask = o.read(operands[1], kind), o.read(operands[2], "u32")
    call = f"ptx::reduce(emulation::WarpOp::k{operation.title()}, {value}, {mask}, __COUNTER__)"
    return o.write(operands[0], call, "u32")


_ATOMIC = {
    **{name: f"atomic_{name}" for name in ("add", "min", "max", "and", "or", "xor")},
    "exch": "atomic_exchange",
    "cas": "atomic_compare_and_swap",
    "inc": "atomic_increment",
}
_ATOMIC_TYPE = {
    "u32": "unsigned",
    "b32": "unsigned",
    "s32": "int",
    "u64": "unsigned long long",
    "b64": "unsigned long long",
    "f32": "float",
    "f64": "double",
    "b16": "unsigned short",
}


@handles("atom", "red")
def _atomic(o: Operands, words: list[str], operands: tuple[str, ...]) -> str:
    name, *modifiers, operation, kind = words
    only(modifiers, "global", "shared", "relaxed", "gpu", "cta", "sys")
    pointer = o.pointer(operands[name == "atom"], "shared" if "shared" in modifiers else "")
    cpp = _ATOMIC_TYPE[kind]
    values = ", ".join(
        f"static_cast<{cpp}>({o.read(v, kind)})" for v in operands[1 + (name == "atom") :]
    )
    call = f"emulation::{_ATOMIC[operation]}<{cpp}>(reinterpret_cast<{cpp}*>({pointer}), {values})"
    if name == "red":
        return f"{call};"
    return o.write(operands[0], f"static_cast<{CPP_TYPE[kind]}>({call})", kind)


@handles("trap", "brkpt")
def _trap(o: Operands, words: list[str], operands: tuple[str, ...]) -> str:
    return "emulation::trap();"
