"""What records of many steps share, written once as an entry; and the JSON that holds it."""

from typing import Any, NamedTuple, get_args

from nondet.json_files import kind_of
from nondet.tracing.format.blocks import CALLERS, VERSION
from nondet.tracing.format.objects import HIGHEST, CheckedObject, encode, format_type
from nondet.tracing.records import Kind, Line, Origin, Phase, Source, TensorType

NUMBERS = {"f": "float64", "i": "int64", "u": "uint64"}
"""The letters of `Entry.numbers`: what the 64 bits of a number are."""

MANY = "[]"
"""The ending of a name in `Entry.value_facts` that stands once for each element of a tuple: with
("rows[]", "rows[]"), the fact "rows" of a record is a tuple of two values.
"""

MOST_VALUES = 1 << 20
"""Most values of a record."""

DEEPEST_FACT = 10
"""Most levels of lists in a fact."""

_LOWEST_FACT, _HIGHEST_FACT = -(2**63), 2**64 - 1


class ReadShape(NamedTuple):
    """All of a tensor that a record reads, save its digest.

    hashed: for the origin "new", True if its digest stands in the values. Digests of other origins
    are those of the tensors that the source names, whatever `hashed` is.
    """

    type: TensorType
    source: Source
    hashed: bool
    alignment: int = 64
    is_contiguous: bool = True

    @property
    def has_value(self) -> bool:
        """True if its digest stands in the values."""
        return self.hashed and self.source.origin == "new"


class WriteShape(NamedTuple):
    """All of a tensor that a record writes, save its digest.

    hashed: True if its digest stands in the values. into, view_of: as in `records.Write`.
    """

    type: TensorType
    hashed: bool
    into: int | None = None
    view_of: int | None = None


class Entry(NamedTuple):
    """All of a record that the records of other steps can share.

    The values of a record are 64-bit words in this order: its numbers, the generator's state, the
    digests of reads that are "new" and hashed, the digests of writes that are hashed, the facts
    named by `value_facts`.
    """

    kind: Kind
    name: str
    phase: Phase
    module: str
    line: int  # the id of a line of the stream, -1 for none
    caller: int
    backward_line: int
    backward_caller: int
    arguments: str
    numbers: str  # a letter of `NUMBERS` for each number
    has_state: bool
    reads: tuple[ReadShape, ...]
    writes: tuple[WriteShape, ...]
    facts: tuple[tuple[str, Any], ...]  # values: None, bool, int, float, str, tuples of these
    value_facts: tuple[str, ...]  # facts that are unsigned 64-bit integers; see `MANY`

    @property
    def value_count(self) -> int:
        """The number of values of each record."""
        digests = sum(read.has_value for read in self.reads)
        digests += sum(write.hashed for write in self.writes)
        return len(self.numbers) + self.has_state + digests + len(self.value_facts)


def format_entry(entry: Entry, lines: int) -> str:
    """Return an entry as JSON. Raises ValueError for one that `parse_entry` would refuse."""
    reads = [
        {
            **format_type(read.type),
            **read.source._asdict(),
            "hashed": read.hashed,
            "alignment": read.alignment,
            "is_contiguous": read.is_contiguous,
        }
        for read in entry.reads
    ]
    writes = [
        {
            **format_type(write.type),
            "hashed": write.hashed,
            "into": write.into,
            "view_of": write.view_of,
        }
        for write in entry.writes
    ]
    record = entry._asdict()
    record |= {"reads": reads, "writes": writes, "facts": dict(entry.facts)}
    record["value_facts"] = list(entry.value_facts)
    try:
        # What it returns is what will be read, but for tuples given as lists and the like.
        if parse_entry(record, lines)[:-2] != entry[:-2]:
            raise ValueError("it has lists in place of tuples")
        _check_facts(entry)
        return encode(record)
    except ValueError as error:
        raise ValueError(f"the entry {ascii(entry.name)[:60]}: {error}") from None


def parse_entry(value: Any, lines: int, version: int = VERSION) -> Entry:
    """Return the entry that `format_entry` was given. Raises ValueError for other JSON.

    lines: how many lines the stream has so far. version: of the stream; those of the first version
    tell no callers.
    """
    if version < CALLERS and isinstance(value, dict):
        value = dict.fromkeys(_CALLERS, -1) | value
    record = CheckedObject(value, "an entry", Entry._fields)
    reads = tuple([_parse_read(each) for each in record.typed("reads", list)])
    facts: dict[str, Any] = record.typed("facts", dict)
    entry = Entry(
        kind=record.text("kind", _KINDS),
        name=record.text("name"),
        phase=record.text("phase", _PHASES),
        module=record.text("module"),
        line=record.integer("line", -1, lines - 1),
        caller=record.integer("caller", -1, lines - 1),
        backward_line=record.integer("backward_line", -1, lines - 1),
        backward_caller=record.integer("backward_caller", -1, lines - 1),
        arguments=record.text("arguments"),
        numbers=record.text("numbers"),
        has_state=record.typed("has_state", bool),
        reads=reads,
        writes=tuple([_parse_write(each, len(reads)) for each in record.typed("writes", list)]),
        facts=tuple([(name, _freeze(fact)) for name, fact in facts.items()]),
        value_facts=record.texts("value_facts"),
    )
    if not set(entry.numbers) <= NUMBERS.keys():
        raise ValueError(f"numbers of an entry may have the letters {', '.join(NUMBERS)}")
    _check_facts(entry)
    if entry.value_count > MOST_VALUES:
        raise ValueError(f"an entry has {entry.value_count} values; at most {MOST_VALUES}")
    return entry


def format_line(line: Line) -> str:
    """Return a line of source as JSON. Raises ValueError for one that `parse_line` refuses."""
    parse_line(list(line))
    return encode(line)


def parse_line(value: Any) -> Line:
    """Return the line that `format_line` was given. Raises ValueError for other JSON."""
    if not isinstance(value, list) or [type(each) for each in value] != [str, int, str, str]:
        raise ValueError("a line of source is no list of file, number, function and text")
    line = Line(*value)
    if not 0 <= line.number <= HIGHEST:
        raise ValueError(f"the number of a line of source is not from 0 to {HIGHEST}")
    return line


def _parse_read(value: Any) -> ReadShape:
    record = CheckedObject(value, "a read", _READ)
    source = Source(
        record.text("origin", _ORIGINS),
        record.integer("back"),
        record.integer("slot"),
        record.text("label"),
    )
    return ReadShape(
        record.tensor_type(),
        source,
        record.typed("hashed", bool),
        record.integer("alignment", 1, 64),
        record.typed("is_contiguous", bool),
    )


def _parse_write(value: Any, reads: int) -> WriteShape:
    record = CheckedObject(value, "a write", _WRITE)
    into, view_of = (
        None if record[name] is None else record.integer(name, 0, reads - 1)
        for name in ("into", "view_of")
    )
    return WriteShape(record.tensor_type(), record.typed("hashed", bool), into, view_of)


def _freeze(fact: Any, depth: int = 0) -> Any:
    """Return a fact with tuples in place of lists, so that entries can be keys.

    Raises ValueError for what is no fact.
    """
    kind = type(fact)
    if kind in (list, tuple) and depth < DEEPEST_FACT:
        return tuple([_freeze(each, depth + 1) for each in fact])
    integer = kind is int and _LOWEST_FACT <= fact <= _HIGHEST_FACT
    if fact is None or kind in (bool, float, str) or integer:  # JSON has finite numbers only
        return fact
    raise ValueError(
        "facts are null, true, false, integers of 64 bits, finite numbers, texts, and lists of "
        f"these of at most {DEEPEST_FACT} levels; one is {kind_of(fact)}"
    )


def _check_facts(entry: Entry) -> None:
    """Raise ValueError if two facts have the same name."""
    single = [name for name in entry.value_facts if not name.endswith(MANY)]
    many = {name.removesuffix(MANY) for name in entry.value_facts if name.endswith(MANY)}
    names = [*(name for name, _ in entry.facts), *single, *many]
    if len(set(names)) < len(names):
        raise ValueError("an entry has two facts of the same name")


_CALLERS = ("caller", "backward_caller")
_KINDS, _PHASES, _ORIGINS = get_args(Kind), get_args(Phase), get_args(Origin)
_TYPE = ("dtype", "shape", "device")
_READ = frozenset((*_TYPE, *Source._fields, "hashed", "alignment", "is_contiguous"))
_WRITE = frozenset((*_TYPE, "hashed", "into", "view_of"))
