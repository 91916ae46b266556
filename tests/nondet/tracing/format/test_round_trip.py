"""What is written to a trace is read back."""

import itertools
import math
import struct
from array import array

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factories.traces import COMMAND, NO_LINES, StreamMaker, entry_of, make_trace, values_of
from nondet.tracing.format import (
    Entry,
    ReadShape,
    StreamWriter,
    WriteShape,
    read_trace,
    stream_path,
    write_command,
)
from nondet.tracing.records import (
    Kept,
    Line,
    Read,
    Record,
    Source,
    StreamInfo,
    TensorType,
    Unseen,
    Write,
)

INFO = StreamInfo("main", 1, "MainThread", 1.5)
TYPE = TensorType("float32", (2, 3), "cpu")
PLAIN = Entry("operation", "op", "forward", "", *NO_LINES, "", "", False, (), (), (), ())


def training(steps=3):
    """Return a stream whose records read from all origins."""
    stream = StreamMaker(header={"threads": 2, "nested": {"tf32": [True, None]}})
    w = stream.parameter("fc.weight")
    for step in range(steps):
        x, y = stream.batch(bits=step, out=2, facts={"rows": (1, 2**64 - 1), "indices": 2**63})
        h = stream.op("aten.mm.default", x, w, line=12, module="Net.fc", numbers=(0.5, -1, 2**63))
        t = stream.op("aten.t.default", h, view_of=0, line=13)
        d = stream.draw("aten.bernoulli.default", t, state=2**64 - 1)
        stream.op("aten.mul.Tensor", d, y, w, facts={"training": True, "autocast": "bfloat16"})
        w = stream.op("aten.add_", w, h, into=0, phase="backward", line=12, backward_line=15)
        stream.step()
    return stream


def all_records(stream):
    return [record for i in range(len(stream.steps)) for record in stream.records(i)]


def test_streams_are_read_back(tmp_path):
    first, second = training(), StreamMaker("rank 1", pid=7, thread="Thread-1 (work)", started=9.0)
    first.keep(first.op("aten.ones"), np.arange(5.0))
    first.unseen.append(Unseen("process", "python -S helper.py", 3))
    second.op("aten.rand.default", state=5)
    trace = make_trace(tmp_path / "a.trace", first, second)
    assert trace.command == COMMAND
    assert [each.info.role for each in trace.streams] == ["rank 1", "main"]  # in time
    for read, made in zip(trace.streams, (second, first), strict=True):
        assert read.info == made.info
        assert (read.complete, read.problem) == (True, None)
        assert all_records(read) == made.records
        assert list(read.kept) == made.kept
        assert read.unseen == made.unseen


def test_the_sources_of_all_origins_are_among_the_records():
    origins = {read.source.origin for record in training().records for read in record.reads}
    assert origins == {"output", "read", "earlier", "new"}


def test_digests_of_reads_are_those_of_the_tensors_that_they_name(tmp_path):
    reads = [
        (),
        (Source("new", label="w"),),
        (Source("output", 2, 1), Source("read", 1, 0)),
        (Source("read", 1, 1), Source("read", 0, 0), Source("output", 3, 0)),
    ]
    later = [
        (Source("earlier", 0, 1), Source("earlier", 3, 0), Source("earlier", 0, 0)),
        (Source("read", 1, 0),),
        (Source("read", 1, 0), Source("read", 2, 2)),
        (),
    ]
    write_command(tmp_path, {})
    writer = StreamWriter(stream_path(tmp_path), INFO)
    writes = (WriteShape(TYPE, False, view_of=None), WriteShape(TYPE, True))
    for step, sources in enumerate((reads, later)):
        ids = [
            writer.entry(
                PLAIN._replace(
                    reads=tuple(ReadShape(TYPE, source, True) for source in each),
                    writes=writes if index == 0 else (WriteShape(TYPE, True),),
                    value_facts=("seed",),
                )
            )
            for index, each in enumerate(sources)
        ]
        seeds = [(100 + i) for i in range(4)]
        words = [[11], [12], [13], [14]] if step == 0 else [[21], [22], [23], [24]]
        values = [(*words[i], seeds[i]) for i in range(4)]
        if step == 0:
            values[1] = (99, *values[1])  # of the parameter
        writer.step(step, ids, [word for each in values for word in each], whole=True)
    writer.close()
    [stream] = read_trace(tmp_path).streams
    found = [
        [[read.digest for read in record.reads] for record in stream.records(i)] for i in (0, 1)
    ]
    assert found[0] == [[], [99], [11, 99], [99, 99, None]]
    assert found[1] == [[11, 14, None], [11], [11, None], []]
    assert stream.records(-1) == stream.records(1)
    with pytest.raises(IndexError):
        stream.records(2)


FLOATS = [-0.0, math.inf, -math.inf, 5e-324, math.nan, 0.1]
NANS = [0x7FF8000000000001, 0xFFF8DEADBEEF0001, 0x7FF0000000000001, 0xFFFFFFFFFFFFFFFF]


def test_numbers_are_exact(tmp_path):
    write_command(tmp_path, {})
    writer = StreamWriter(stream_path(tmp_path), INFO)
    words = [struct.unpack("<Q", struct.pack("<d", value))[0] for value in FLOATS] + NANS
    letters = "f" * len(words) + "iiii" + "uu"
    words += [2**63, 2**64 - 1, 0, 2**63 - 1, 2**64 - 1, 2**63]
    entry = writer.entry(PLAIN._replace(numbers=letters, has_state=True))
    writer.step(0, [entry], array("Q", [*words, 7]), whole=True)
    writer.close()
    [record] = read_trace(tmp_path).streams[0].records(0)
    floats = len(FLOATS + NANS)
    assert all(type(value) is float for value in record.numbers[:floats])
    assert record.numbers[floats:] == (-(2**63), -1, 0, 2**63 - 1, 2**64 - 1, 2**63)
    packed = [struct.pack("<d", value) for value in record.numbers[:floats]]
    assert [struct.unpack("<Q", each)[0] for each in packed] == words[:floats]
    assert record.state == 7


ODD = ["", "\0\x1b[31m\r\n\t", "é漢字 🜁", "\udc80\udcff", "\ud83d", '"\\/', "\u2028", "a/../../b"]


@pytest.mark.parametrize("text", ODD, ids=ascii)
def test_odd_characters_survive(tmp_path, text):
    stream = StreamMaker(role=f"main{text}", thread=text, header={f"k{text}": [text]})
    kind = TensorType(text, (), text)
    line = Line(text, 3, text, text)
    facts = {f"fact{text}": text, f"n{text}": 5}
    tensor = stream.tensor(1, label=text, dtype=text, device=text)
    stream.op(text, tensor, line=line, module=text, arguments=text, facts=facts)
    stream.unseen.append(Unseen(text, text))
    stream.kept.append(Kept(0, 0, 0, kind, b"12"))
    trace = make_trace(tmp_path / "a.trace", stream, command={text: text})
    [read] = trace.streams
    assert trace.command == {text: text}
    assert read.info == stream.info
    assert read.records(0) == stream.records
    assert read.unseen == stream.unseen
    assert list(read.kept) == stream.kept


def test_a_step_in_parts_is_one_step(tmp_path):
    stream = training(2)
    write_command(tmp_path, {})
    writer = StreamWriter(stream_path(tmp_path), INFO)
    for step in range(2):
        records = [record for record in stream.records if record.step == step]
        for first in range(0, len(records), 2):
            part = records[first : first + 2]
            ids = [writer.entry(entry_of(record, writer)) for record in part]
            values = [word for record in part for word in values_of(record)]
            writer.step(step, ids, values, whole=part[-1] is records[-1])
    writer.close()
    [read] = read_trace(tmp_path).streams
    assert [(step.number, step.whole) for step in read.steps] == [(0, True), (1, True)]
    assert all_records(read) == stream.records


def test_a_step_that_never_ends_is_no_whole_one(tmp_path):
    write_command(tmp_path, {})
    writer = StreamWriter(stream_path(tmp_path), INFO)
    entry = writer.entry(PLAIN)
    for number, whole in ((0, False), (1, True), (1, True), (5, False), (5, False)):
        writer.step(number, [entry], [], whole=whole)
    writer.close()
    [stream] = read_trace(tmp_path).streams
    found = [(step.number, step.whole, len(step.entries)) for step in stream.steps]
    assert found == [(0, False, 1), (1, True, 1), (1, True, 1), (5, False, 2)]
    assert stream.complete


def test_long_steps_are_written_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr("nondet.tracing.format.writer._PART", 7)
    test_streams_are_read_back(tmp_path)


def test_sequences_that_were_forgotten_are_written_again(tmp_path, monkeypatch):
    monkeypatch.setattr("nondet.tracing.format.writer._REMEMBERED", 20)
    write_command(tmp_path, {})
    writer = StreamWriter(stream_path(tmp_path), INFO)
    entries = [writer.entry(PLAIN._replace(name=str(i), numbers="u" * 6)) for i in range(5)]
    order = [0, 0, 1, 0, 2, 3, 4, 0, 0, 4, 4]
    for step, which in enumerate(order):
        writer.step(step, [entries[which]], [step] * 6, whole=True)
        assert writer._remembered <= 20
    writer.close()
    [stream] = read_trace(tmp_path).streams
    assert [step.entries.tolist() for step in stream.steps] == [[entries[i]] for i in order]
    assert [step.values.tolist() for step in stream.steps] == [[i] * 6 for i in range(11)]


def test_arrays_are_shared_and_cannot_be_written_to(tmp_path):
    [stream] = make_trace(tmp_path / "a.trace", training(5)).streams
    assert stream.steps[2].entries is stream.steps[3].entries
    for step in stream.steps:
        assert not step.entries.flags.writeable
        assert not step.values.flags.writeable
        assert (step.entries.dtype, step.values.dtype) == (np.uint32, np.uint64)


def test_offsets_tell_where_the_values_of_a_record_begin(tmp_path):
    made = training(2)
    [stream] = make_trace(tmp_path / "a.trace", made).streams
    for position in (0, 1):
        starts = stream.offsets(position).tolist()
        records = [record for record in made.records if record.step == position]
        words = stream.steps[position].values.tolist()
        parts = [words[a:b] for a, b in itertools.pairwise(starts)]
        assert parts == [list(values_of(record)) for record in records]


def test_entries_can_be_keys_and_facts_keep_their_types(tmp_path):
    facts = {"a": True, "b": 1.0, "c": (1, (None, "x")), "d": -1, "e": -0.0}
    stream = StreamMaker()
    stream.op("op", facts=facts)
    [read] = make_trace(tmp_path / "a.trace", stream).streams
    assert dict.fromkeys(read.entries, 1)
    assert repr(read.records(0)[0].facts) == repr(facts)


def test_a_trace_may_be_empty_of_steps(tmp_path):
    [stream] = make_trace(tmp_path / "a.trace", StreamMaker()).streams
    assert (stream.steps, stream.complete, stream.problem) == ([], True, None)


TEXTS = st.text(st.characters(), max_size=4)
TYPES = st.builds(
    TensorType, TEXTS, st.lists(st.integers(0, 2**63 - 1), max_size=3).map(tuple), TEXTS
)
WORDS = st.integers(0, 2**64 - 1)
FACTS = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), -1) | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, min_size=1, max_size=2).map(tuple),
    max_leaves=3,
).filter(lambda fact: "inf" not in repr(fact))
RECORDS = st.builds(
    Record,
    step=st.just(0),
    index=st.just(0),
    kind=st.sampled_from(["operation", "batch", "generator"]),
    name=TEXTS,
    phase=st.sampled_from(["forward", "backward"]),
    module=TEXTS,
    line=st.none() | st.builds(Line, TEXTS, st.integers(0, 2**63 - 1), TEXTS, TEXTS),
    caller=st.none() | st.builds(Line, TEXTS, st.integers(0, 9), TEXTS, TEXTS),
    backward_line=st.none() | st.builds(Line, TEXTS, st.integers(0, 9), TEXTS, TEXTS),
    backward_caller=st.none() | st.builds(Line, TEXTS, st.integers(0, 9), TEXTS, TEXTS),
    arguments=TEXTS,
    numbers=st.lists(st.floats(allow_nan=False) | st.integers(-(2**63), 2**64 - 1)).map(tuple),
    state=st.none() | WORDS,
    reads=st.lists(
        st.builds(
            Read,
            TYPES,
            st.builds(Source, st.just("new"), st.just(0), st.just(0), TEXTS),
            st.none() | WORDS,
            st.sampled_from([1, 2, 64]),
            st.booleans(),
        ),
        max_size=3,
    ).map(tuple),
    writes=st.lists(
        st.builds(Write, TYPES, st.none() | WORDS, st.none(), st.none()), max_size=3
    ).map(tuple),
    facts=st.dictionaries(TEXTS.filter(lambda name: "[" not in name), FACTS | WORDS, max_size=3),
)


@settings(max_examples=50)
@given(st.lists(RECORDS, max_size=3))
def test_any_records_are_read_back(tmp_path_factory, records):
    folder = tmp_path_factory.mktemp("any")
    stream = StreamMaker(records=[])
    for index, record in enumerate(records):
        values = {name: getattr(record, name) for name in Record.__slots__}
        stream.records.append(Record(**values | {"index": index}))
    [read] = make_trace(folder / "a.trace", stream).streams
    assert all_records(read) == stream.records
