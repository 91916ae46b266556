"""Make the entry of a record, which the records of other steps share."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from nondet.tracing.format import Entry, ReadShape, WriteShape
from nondet.tracing.record.operators import (
    GENERATOR,
    NESTED,
    NUMBER,
    TENSOR,
    TENSORS,
    Operator,
)
from nondet.tracing.record.storages import Layout, Table
from nondet.tracing.record.tensors import FOREIGN, NEW, OLDER, Written
from nondet.tracing.records import Kind, Origin, Phase, Source, TensorType

if TYPE_CHECKING:
    from nondet.tracing.record.stream import Stream

_STORAGES = (torch.UntypedStorage, torch.TypedStorage)

_LONG = 2000
"""Arguments are cut at so many characters."""


class Location(NamedTuple):
    """Where a record stands: see `records.Record`."""

    phase: Phase = "forward"
    module: str = ""
    line: int = -1
    caller: int = -1
    backward_line: int = -1
    backward_caller: int = -1
    training: bool | None = None


class ReadFrom(NamedTuple):
    """A tensor that a record reads: where it comes from, as `Tensors.source` says."""

    layout: Layout
    tag: int
    back: int
    slot: int
    alignment: int


def make_entry(
    kind: Kind,
    name: str,
    location: Location,
    table: Table,
    streams: Sequence["Stream"],
    *,
    arguments: str = "",
    numbers: str = "",
    has_state: bool = False,
    reads: Sequence[ReadFrom] = (),
    writes: Sequence[Written] = (),
    facts: Sequence[tuple[str, Any]] = (),
    value_facts: Sequence[str] = (),
) -> Entry:
    """Return an entry. streams: all of the session, by their ordinals."""
    trained = [] if location.training is None else [("training", location.training)]
    return Entry(
        kind,
        name,
        location.phase,
        location.module,
        location.line,
        location.caller,
        location.backward_line,
        location.backward_caller,
        arguments,
        numbers,
        has_state,
        tuple(_read(each, table, streams) for each in reads),
        tuple(_write(each, table) for each in writes),
        (*trained, *_merge(facts)),
        tuple(value_facts),
    )


def describe_arguments(
    operator: Operator, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[str, str]:
    """Return all arguments that are neither tensors nor numbers, and the letters of the numbers."""
    texts, letters = [], ""
    named = list(operator.named)
    given = [
        (named[i], kind, each)
        for i, (kind, each) in enumerate(zip(operator.kinds, args, strict=False))
    ]
    given += [(name, operator.named.get(name, -1), each) for name, each in kwargs.items()]
    for name, kind, value in given:
        if kind in (NUMBER, TENSOR) and (letter := _letter(value)):
            letters += letter
        elif kind not in (TENSORS, NESTED, GENERATOR) and not isinstance(value, torch.Tensor):
            texts.append(f"{name}={_show(value)}")
    return ", ".join(texts)[:_LONG], letters


def _letter(value: Any) -> str:
    """Return the letter of a number that stands in the values: any float, integers of 64 bits."""
    if type(value) is int:
        return "i" if -(2**63) <= value < 2**63 else ""
    return "f" if type(value) is float else ""


def _show(value: Any) -> str:
    """Return an argument as text; of a storage, no values."""
    return type(value).__name__ if isinstance(value, _STORAGES) else str(value)


def _read(read: ReadFrom, table: Table, streams: Sequence["Stream"]) -> ReadShape:
    device, name = table.tags[read.tag] if read.tag >= 0 else ("cpu", "")
    layout = read.layout
    origin: Origin = "new"
    back = slot = 0
    hashed = True
    label = name
    if read.back >= 0:
        origin = ("output", "read", "earlier")[read.back % 4]
        back, slot = read.back // 4, read.slot
    elif read.back == OLDER:
        label = name or "older"
    elif read.back == FOREIGN:
        label = streams[read.slot].role
    elif read.back != NEW:
        hashed = False
    kind = TensorType(layout.dtype, layout.shape, device)
    source = Source(origin, back, slot, label)
    return ReadShape(kind, source, hashed, read.alignment, layout.is_contiguous)


def _write(write: Written, table: Table) -> WriteShape:
    device = table.tags[write.tag][0] if write.tag >= 0 else "cpu"
    layout = table.by_number[write.layout]
    kind = TensorType(layout.dtype, layout.shape, device)
    return WriteShape(kind, write.hashed, write.into, write.view_of)


def _merge(facts: Sequence[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Gather the facts that number tensors: one fact with all numbers."""
    merged: dict[str, Any] = {}
    for name, value in facts:
        if name in ("uninitialized", "written_meanwhile"):
            merged[name] = (*merged.get(name, ()), value)
        else:
            merged[name] = value
    return list(merged.items())
