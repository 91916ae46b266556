"""docs/trace-format.md describes what the code does."""

import dataclasses
import re
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from factories.stream_files import contents, inflated
from factories.traces import LINES, StreamMaker, write_stream, write_trace
from nondet.json_files import DEEPEST, format_checksummed
from nondet.tracing.format import Entry, StreamWriter, blocks, entries, read_trace, values
from nondet.tracing.format.command import COMMAND, FORMAT
from nondet.tracing.records import Kind, Origin, Phase, StreamInfo, Unseen

PAGE = (Path(__file__).resolve().parents[4] / "docs" / "trace-format.md").read_text()


def section(title):
    """Return a section of the page, up to the next one."""
    [_, rest] = re.split(rf"^#+ {re.escape(title)}$", PAGE, flags=re.MULTILINE)
    return re.split("^#+ ", rest, flags=re.MULTILINE)[0]


def tables(title):
    """Return the tables of a section: lists of rows, lists of cells."""
    found = re.findall(r"^\|.*\|$(?:\n^\|.*\|$)+", section(title), re.MULTILINE)
    return [
        [[cell.strip() for cell in line[1:-1].split(" | ")] for line in table.splitlines()[2:]]
        for table in found
    ]


def names(table):
    """Return the names in the first column of a table."""
    return [name for row in table for name in re.findall("`(.*?)`", row[0])]


@pytest.fixture
def folder(tmp_path):
    """A trace with a block of every kind, and records that read from all origins."""
    stream = StreamMaker(header={"threads": 2})
    w = stream.parameter("w")
    for step in range(4):
        h = stream.op("aten.mm", w, stream.batch(bits=step), line=3, numbers=(step, 0.5, 2**63))
        w = stream.op("aten.add_", w, h, into=0, facts={"rows": (1, step)}, state=step % 2)
        stream.step(-5 if step == 2 else None)
    stream.keep(w, np.arange(3.0))
    stream.unseen.append(Unseen("process", "x"))
    return write_trace(tmp_path / "a.trace", stream)


def test_the_reader_of_the_page_reads_what_ours_reads(folder):
    scope = {}
    [code] = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    exec(compile(code, "trace-format.md", "exec"), scope)
    [stream] = read_trace(folder).streams
    info, lines, found, steps = scope["read_stream"](folder / stream.file)
    assert StreamInfo(**info) == stream.info
    assert [tuple(line) for line in lines] == stream.lines
    assert [entries.parse_entry(entry, len(lines)) for entry in found] == stream.entries
    assert steps == [
        (step.number, step.entries.tolist(), step.values.tolist(), step.whole)
        for step in stream.steps
    ]
    origins = {read.source.origin for entry in stream.entries for read in entry.reads}
    assert origins == set(get_args(Origin))
    # Parts of steps, and a cut.
    path = folder / "1.stream"
    writer = StreamWriter(path, stream.info)
    one = writer.entry(stream.entries[0]._replace(**dict.fromkeys(LINES, -1)))
    words = [5] * stream.entries[0].value_count
    for number, whole in ((0, False), (0, True), (1, False), (2, False), (2, False)):
        writer.step(number, [one], words, whole=whole)
    path.write_bytes(path.read_bytes() + b"rest")
    cut = next(each for each in read_trace(folder).streams if each.file == path.name)
    steps = scope["read_stream"](path)[3]
    assert [len(step[1]) for step in steps] == [2, 1, 2]
    assert steps == [
        (step.number, step.entries.tolist(), step.values.tolist(), step.whole) for step in cut.steps
    ]


def test_the_layouts_are_those_of_the_code():
    header, block, kinds = tables("Streams")
    assert [int(row[0]) for row in header] == [0, 14, 16, 32]
    assert [int(row[1]) for row in header] == [14, 2, 16, 16]
    assert blocks.HEADER.size == 48
    assert [row[1] for row in block] == ["4", "4", "8", "n", str(blocks.CHECKSUM_BYTES)]
    assert blocks.FRAME.size == 16
    assert {row[1]: int(row[0]) for row in kinds} == dict(blocks.BlockKind.__members__)
    [step] = tables("STEP")
    assert [int(row[0]) for row in step[:-1]] == [0, 8, 12, 13, values.STEP.size]
    assert (values.WHOLE, values.BASED) == (1, 2)
    assert "1 if the step ends here, plus 2 if its values are based" in section("STEP")


def test_the_limits_are_those_of_the_code():
    assert f"at most {blocks.LARGEST:,}" in section("Streams")
    assert f"nested at most {DEEPEST} levels" in section("Streams")
    assert f"nested at most {entries.DEEPEST_FACT} levels" in section("ENTRIES")
    assert f"at most {entries.MOST_VALUES:,} values" in section("Values")
    assert f"version {blocks.VERSION} " in section("The format of traces")


def test_the_entries_of_objects_are_those_that_are_written(folder):
    found = dict(reversed(contents(folder / "0.stream")))  # the first of each kind
    [entry, read, origins, write] = tables("ENTRIES")
    written = inflated(found[blocks.BlockKind.ENTRIES])
    assert written[1]["name"] == "DataLoader"
    assert names(entry) == list(Entry._fields) == list(written[0])
    assert names(read) == list(written[0]["reads"][0])
    assert names(write) == list(written[1]["writes"][0])
    assert names(origins) == list(get_args(Origin))
    texts = {row[0].strip("`"): row[1] for row in [*entry, *read]}
    for name, kind in (("kind", Kind), ("phase", Phase), ("origin", Origin)):
        assert re.findall('"([a-z]+)"', texts[name]) == list(get_args(kind))
    info, unseen = (inflated(found[kind]) for kind in (1, 6))
    assert names(*tables("INFO")) == list(info)
    assert names(*tables("INFO")) == [field.name for field in dataclasses.fields(StreamInfo)]
    assert names(*tables("UNSEEN")) == list(unseen)
    assert names(*tables("KEPT and DATA")) == list(inflated(found[7]))


def test_trace_json_is_as_the_page_says(folder):
    trace = read_trace(folder)
    [table] = tables("The folder")
    record = {"format": FORMAT, "version": blocks.VERSION, "id": "", "command": trace.command}
    assert names(table) == ["sha256", *record]
    assert f'`"{FORMAT}"`' in section("The folder")
    header = (folder / "0.stream").read_bytes()[:48]
    record["id"] = header[16:32].hex()
    assert (folder / COMMAND).read_bytes() == format_checksummed(record)
    assert header[:16] == b"nondet stream\n\2\0"


def test_random_bytes_of_headers_differ(folder):
    write_stream(folder / "1.stream", StreamMaker())
    headers = {path.read_bytes()[32:48] for path in folder.glob("*.stream")}
    assert len(headers) == 2
