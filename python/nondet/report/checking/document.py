"""The report of a check of a machine."""

from collections.abc import Mapping
from typing import Any

from nondet.checking.results import Difference
from nondet.checking.running import Findings
from nondet.report.document import Cell, Column, Document, Line, Section, Table
from nondet.report.text import NOTHING, fixed, listing, plural
from nondet.units import duration, size

_NAMED = 10
"""Differences that findings name; the table has all."""


def selftest_document(found: Findings, machine: Mapping[str, Any]) -> Document:
    """Return the report: the verdict, each difference, then what was compared, the atomic order and
    the speed. machine: as `describe_machine` returns it.
    """
    sections = [_verdict(found), Section("Checks", tables=(_parts(found),))]
    if found.differences:
        sections.insert(1, Section("Differences", tables=(_differences(found),)))
    if found.variations:
        sections.append(Section("Atomic order", tables=(_variations(found),)))
    if found.speeds:
        sections.append(Section("Speed", tables=(_speeds(found),)))
    return Document(
        title="Does this machine compute the specified bits?",
        subtitle=_subtitle(found, machine),
        sections=tuple(sections),
        notes=tuple(f"{note.rstrip('.')}." for note in found.notes),
        environment=tuple(_flattened(machine)),
        runs="the checks and what each compared",
    )


def difference_words(each: Difference) -> str:
    """Return a difference in a sentence: where, what, and the bits."""
    what = f"{each.case}: " if each.case else ""
    details = [
        f"{name} {value}"
        for name, value in (("shape", each.shape), ("seed", each.seed), ("at", each.element))
        if value
    ]
    details += [f"{each.found} in place of {each.expected}"] if each.found else []
    return f"{each.device}, {each.part}: {what}{each.why}" + "".join(f"; {d}" for d in details)


def _subtitle(found: Findings, machine: Mapping[str, Any]) -> str:
    gpu = machine.get("gpu")
    where = f"{gpu['name']} beside {machine['processor']}" if gpu else machine["processor"]
    length = "quick check" if found.quick else "whole check"
    versions = f"nondet {machine['nondet_ext']['version']}, torch {machine['packages']['torch']}"
    return f"{where}; {versions}; {length}, {duration(found.seconds)}."


def _verdict(found: Findings) -> Section:
    compared = sum(part.compared for part in found.parts if part.name != "atomic order")
    wrong = found.differences
    if wrong:
        first = f"No: {plural(len(wrong), 'difference')} among {plural(compared, 'result')}."
        named = tuple(f"{difference_words(each)}." for each in wrong[:_NAMED])
        more = len(wrong) - len(named)
        rest = (f"{more} more in the table of differences.",) if more else ()
        return Section("Verdict", findings=(first, *named, *rest))
    devices = dict.fromkeys(part.device for part in found.parts if part.compared)
    findings = [
        f"Yes: all {plural(compared, 'result')} that were compared have the specified bits, on "
        f"{listing(devices)}."
        if devices
        else "Nothing was compared."
    ]
    if found.variations:
        varied = sum(each.results > 1 for each in found.variations)
        findings.append(
            f"In the atomic order, {varied} of {plural(len(found.variations), 'call')} gave more "
            "than one result."
        )
    return Section("Verdict", findings=tuple(findings))


def _parts(found: Findings) -> Table:
    columns = (
        Column("check", "check", align="left"),
        Column("device", "on", align="left"),
        Column("compared", "results"),
        Column("differences", "differences"),
        Column("seconds", "seconds"),
    )
    lines = tuple(
        Line(
            (
                Cell(part.name),
                Cell(part.device),
                Cell("left out" if part.left_out else f"{part.compared:,}", part.compared),
                Cell(f"{len(part.differences):,}", len(part.differences)),
                Cell(fixed(part.seconds, 1), part.seconds),
            ),
            strong=bool(part.differences),
        )
        for part in found.parts
    )
    note = (
        "Results are compared bit by bit: with permanent digests, with nondet_ext.reference, with "
        "generic code in one thread, and with the first of 200 repetitions beside other work."
    )
    return Table("checks", "Checks", columns, lines, note)


def _differences(found: Findings) -> Table:
    names = ("device", "part", "op", "dtype", "case", "shape", "seed", "element", "expected")
    columns = tuple(Column(name, name, align="left") for name in (*names, "found", "why"))
    lines = tuple(
        Line(tuple(Cell(getattr(each, column.name) or NOTHING) for column in columns))
        for each in found.differences
    )
    return Table("differences", "Differences", columns, lines, detail=True)


def _variations(found: Findings) -> Table:
    columns = (
        Column("case", "call", align="left"),
        Column("device", "on", align="left"),
        Column("runs", "runs"),
        Column("results", "different results"),
    )
    lines = tuple(
        Line(
            (
                Cell(each.case),
                Cell(each.device),
                Cell(f"{each.runs:,}", each.runs),
                Cell(f"{each.results:,}", each.results),
            )
        )
        for each in found.variations
    )
    note = "A race between threads or blocks, on purpose; one result alone breaks no promise."
    return Table("atomic", "Atomic order", columns, lines, note)


def _speeds(found: Findings) -> Table:
    columns = (
        Column("op", "op", align="left"),
        Column("rate", "ours", "GB/s"),
        Column("peer", "torch's", align="left"),
        Column("peer_rate", "torch's", "GB/s"),
        Column("ratio", "ours / torch's"),
        Column("share", "of the copy", "%"),
    )
    lines = []
    for each in found.speeds:
        peer, copy = each.peer_rate, found.copy_rate
        ratio = None if peer is None else each.rate / peer
        share = None if copy is None else 100 * each.rate / copy
        numbers = [Cell(NOTHING if n is None else fixed(n, 2), n) for n in (peer, ratio)]
        lines.append(
            Line(
                (
                    Cell(each.op),
                    Cell(fixed(each.rate, 2), each.rate),
                    Cell(each.peer or NOTHING),
                    *numbers,
                    Cell(NOTHING if share is None else fixed(share, 1), share),
                )
            )
        )
    note = (
        f"On {found.timed}, float32 alone; medians of calls in turn. GB/s count the bytes that an "
        f"op must read and write; a copy moves {fixed(found.copy_rate or 0, 1)} GB/s here. For "
        "information: nothing is judged by speed, and a busy machine has others."
    )
    return Table("speed", "Speed", columns, tuple(lines), note)


def _flattened(machine: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Return the entries of a description and of those within it, named "packages.torch"."""
    pairs: list[tuple[str, str]] = []
    for name, value in machine.items():
        if isinstance(value, Mapping):
            pairs += _flattened(value, f"{prefix}{name}.")
        else:
            pairs.append((f"{prefix}{name}", _words(name, value)))
    return pairs


def _words(name: str, value: Any) -> str:
    if name == "memory":
        return size(value)
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
