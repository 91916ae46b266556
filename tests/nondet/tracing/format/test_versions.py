"""Traces of the first version of the format, which tells no callers."""

import json
import struct

import numpy as np
import pytest

from factories.stream_files import ENTRIES, contents, deflated, forge, inflated
from factories.traces import StreamMaker, write_stream, write_trace
from nondet.json_files import format_checksummed
from nondet.tracing.compare.traces import compare_traces
from nondet.tracing.format import TraceError, read_trace, write_command


def training(callers=True, noise=0):
    """Return a stream with lines of a library."""
    stream = StreamMaker(header={"threads": 2})
    w = stream.parameter("w")
    for step in range(3):
        known = {"caller": 31, "backward_caller": 32} if callers else {}
        h = stream.op("aten.mm", w, line=7, noise=noise * (step == 1), **known)
        w = stream.op("aten.add_", w, h, into=0, line=8, backward_line=9, **known)
        stream.step()
    stream.keep(w, np.arange(3.0))
    return stream


def age(folder):
    """Turn a trace into one of version 1, from the page of the format alone."""
    for path in folder.glob("*.stream"):
        blocks = contents(path)
        data = path.read_bytes()
        path.write_bytes(data[:14] + struct.pack("<H", 1) + data[16:])
        for number, (kind, payload) in enumerate(blocks):
            if kind == ENTRIES:
                entries = inflated(payload)
                for entry in entries:
                    del entry["caller"], entry["backward_caller"]
                blocks[number] = kind, deflated(entries)
        forge(path, blocks)
    record = json.loads((folder / "trace.json").read_bytes())
    del record["sha256"]
    (folder / "trace.json").write_bytes(format_checksummed(record | {"version": 1}))
    return folder


@pytest.fixture
def old(tmp_path):
    return age(write_trace(tmp_path / "old.trace", training()))


def test_an_old_trace_is_read_without_callers(old, tmp_path):
    trace = read_trace(old)
    [stream] = trace.streams
    assert (trace.version, stream.version, stream.complete) == (1, 1, True)
    [same] = read_trace(write_trace(tmp_path / "new.trace", training(callers=False))).streams
    for position in range(3):
        assert stream.records(position) == same.records(position)
    assert list(stream.kept) == list(same.kept)


def test_an_old_trace_equals_a_new_one_of_the_same_run(old, tmp_path):
    new = write_trace(tmp_path / "new.trace", training())
    verdict = compare_traces(old, new)
    assert verdict.outcome == "equal"
    a, b = verdict.unseen
    assert [each.kind for each in a] == ["callers"]
    assert "version 1 of the format" in a[0].what
    assert b == ()
    other = write_trace(tmp_path / "other.trace", training(noise=1))
    assert compare_traces(old, other).streams[0].evidence.first.record.name == "aten.mm"


def test_callers_in_an_old_trace_are_refused(old):
    path = next(old.glob("*.stream"))
    blocks = [
        (kind, deflated([each | {"callers": 0} for each in inflated(payload)]))
        if kind == ENTRIES
        else (kind, payload)
        for kind, payload in contents(path)
    ]
    forge(path, blocks)
    with pytest.raises(TraceError, match="unknown ones: 'callers'"):
        read_trace(old)


def test_nothing_is_added_to_an_old_trace(old):
    before = {path.name: path.read_bytes() for path in old.iterdir()}
    problem = r"trace\.json: is of version 1 of the format; version 2 is written"
    with pytest.raises(TraceError, match=problem):
        write_command(old, {})
    with pytest.raises(TraceError, match=problem):
        write_stream(old / "1.stream", StreamMaker())
    assert {path.name: path.read_bytes() for path in old.iterdir()} == before
