"""Questions about records that several causes ask."""

import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import PurePath
from typing import Any

from nondet.tracing.compare.evidence import Evidence, Pair, Side
from nondet.tracing.header import HeaderDifference
from nondet.tracing.records import Read, Record, Write, in_package

_NEAR = 40
"""How many records after the first difference count as belonging to it."""

_INTEGERS = ("int", "uint", "bool")


# -- one record --------------------------------------------------------------------------------


def base(record: Record) -> str:
    """Return the name of an operation without its namespace and overload: "index_put_"."""
    parts = record.name.split(".")
    return parts[1] if len(parts) > 2 else parts[-1]


def place(record: Record) -> str:
    """Return where a record stands: "train.py:12", or "an unknown line"; of a library's line, also
    that of the script which led to it: "train.py:31 (inside skorch/net.py:7)".
    """
    line, caller = record.line, record.caller
    if line is None:
        return "an unknown line"
    if caller is None:
        return f"{PurePath(line.file).name}:{line.number}"
    inside = f"{in_package(line.file)}:{line.number}"
    return f"{PurePath(caller.file).name}:{caller.number} (inside {inside})"


def named(record: Record) -> str:
    """Return what a record is, and where: "`aten.mm.default` at train.py:12"."""
    return f"`{record.name}` at {place(record)}"


def flag(record: Record, name: str) -> bool:
    """Return True if an operation was called with `name=True`."""
    return re.search(rf"\b{re.escape(name)}=True\b", record.arguments) is not None


def tensors(record: Record) -> list[Read | Write]:
    """Return all tensors that a record reads, and then those that it writes."""
    return [*record.reads, *record.writes]


def on_cuda(record: Record) -> bool:
    """Return True if a tensor of a record is on a CUDA device."""
    return any(each.type.device.startswith("cuda") for each in tensors(record))


def on_cpu(record: Record) -> bool:
    """Return True if all tensors of a record are on the CPU."""
    return all(each.type.device == "cpu" for each in tensors(record))


def is_draw(record: Record) -> bool:
    """Return True for an operation that draws random numbers of a generator of torch."""
    return record.draws and record.kind == "operation"


def is_integer(dtype: str) -> bool:
    """Return True for dtypes of integers and of truth values."""
    return dtype.startswith(_INTEGERS)


def position(record: Record) -> tuple[int, int]:
    """Return what orders the records of a stream."""
    return record.step, record.index


def by_optimizer(record: Record) -> bool:
    """Return True if the line of a record calls an optimizer's `step`."""
    return record.line is not None and re.search(r"\.step\(", record.line.text) is not None


# -- what surrounds the first difference -------------------------------------------------------


def wrote_differently(evidence: Evidence) -> Record | None:
    """Return the record that read equal bits and wrote different ones, if that came first."""
    first = evidence.first
    return first.record if first is not None and first.kind == "wrote" else None


def unpaired(evidence: Evidence) -> tuple[Record, ...]:
    """Return the records from the first difference on that only one run has."""
    assert evidence.first is not None
    start = min(position(record) for record in evidence.first.records)
    return tuple(
        record for record in (*evidence.missing, *evidence.inserted) if position(record) >= start
    )


def lacks_counterpart(evidence: Evidence) -> bool:
    """Return True if the first difference is a record that only one run has, while both go on."""
    first = evidence.first
    return (
        first is not None
        and first.kind in ("missing", "inserted", "replaced")
        and first.ended is None
    )


def pairs_from_first(evidence: Evidence) -> list[Pair]:
    """Return pairs of records of both runs, from the first difference on, that are close to it."""
    assert evidence.first is not None
    start = min(position(record) for record in evidence.first.records)
    pairs = [
        pair
        for pair in evidence.pairs
        if min(position(record) for record in pair if record is not None) >= start
    ]
    both = [pair for pair in pairs[:_NEAR] if pair.a is not None and pair.b is not None]
    first = Pair(evidence.first.a, evidence.first.b)
    return both if None in first else [first, *both]


def differing_fact(evidence: Evidence, name: str) -> tuple[Record, Any, Any] | None:
    """Return a record of a and the values in both of a fact that differs where the runs part."""
    for a, b in pairs_from_first(evidence):
        if a is None or b is None or a.name != b.name:
            continue
        left, right = a.facts.get(name), b.facts.get(name)
        if left != right:
            return a, left, right
    return None


def setting(evidence: Evidence, *patterns: str) -> HeaderDifference | None:
    """Return the first setting that differs whose name fits one of the patterns: of the headers, or
    a switch that was changed later.
    """
    for difference in (*_switched(evidence), *evidence.headers):
        if any(fnmatchcase(difference.name, pattern) for pattern in patterns):
            return difference
    return None


def deciding(evidence: Evidence) -> tuple[HeaderDifference, ...]:
    """Return all settings that differ and may change bits."""
    both = (*_switched(evidence), *evidence.headers)
    return tuple(each for each in both if each.decides)


def settings(evidence: Evidence, *patterns: str) -> tuple[Any, Any]:
    """Return the values in both runs of the first setting whose name fits one of the patterns; None
    where it is not recorded.
    """
    a, b = (
        _first_value({**dict(_entries(side.header)), **switches}, patterns)
        for side, switches in zip(evidence.sides, _switches(evidence), strict=True)
    )
    return a, b


def _switched(evidence: Evidence) -> list[HeaderDifference]:
    """Return the switches that differ where the runs part, and that at least one run changed."""
    found = []
    changed = _switches(evidence)
    for name in sorted(changed[0].keys() | changed[1].keys()):
        a, b = (
            switches.get(name, _first_value(dict(_entries(side.header)), (name,)))
            for side, switches in zip(evidence.sides, changed, strict=True)
        )
        if str(a) != str(b):
            short = name.rpartition(".torch.")[2]
            found.append(HeaderDifference(name, a, b, True, f"{short}: {a} in a, {b} in b"))
    return found


def _switches(evidence: Evidence) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the switches that each run had changed where they part, by their names in a header."""
    given = evidence.first.fact("switches") if evidence.first else (None, None)
    a, b = (
        _named_as_in_header(side, pairs) for side, pairs in zip(evidence.sides, given, strict=True)
    )
    return a, b


def _named_as_in_header(side: Side, pairs: Any) -> dict[str, Any]:
    names = {name.rpartition(".torch.")[2]: name for name, _ in _entries(side.header)}
    # Facts are read from files that anybody may have written.
    pairs = pairs if isinstance(pairs, list | tuple) else ()
    known = [pair for pair in pairs if isinstance(pair, list | tuple) and len(pair) == 2]
    return {names.get(str(name), f"settings.torch.{name}"): value for name, value in known}


def _entries(header: Any) -> Iterable[tuple[str, Any]]:
    """Yield dotted names and values of a header, mappings opened."""
    todo: list[tuple[str, Any]] = [("", header)]
    while todo:
        name, value = todo.pop(0)
        if isinstance(value, Mapping):
            todo += [(f"{name}.{key}" if name else str(key), each) for key, each in value.items()]
        elif name:
            yield name, value


def _first_value(values: Mapping[str, Any], patterns: Iterable[str]) -> Any:
    for name, value in values.items():
        if any(fnmatchcase(name, pattern) for pattern in patterns):
            return value
    return None


def same_command(evidence: Evidence) -> bool:
    """Return True if both runs were started with the same arguments."""
    a, b = (side.command.get("arguments") for side in evidence.sides)
    return bool(a == b)


def mentions(records: Iterable[Record], name: str) -> bool:
    """Return True if one of the records is an operation whose name holds a text."""
    return any(name in record.name for record in records)
