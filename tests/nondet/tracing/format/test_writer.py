"""The writer of streams: what it makes of its arguments, and which ones it refuses."""

import os

import numpy as np
import pytest

import nondet.tracing.format.appending as appending
import nondet.tracing.format.writer as writing
from factories.stream_files import contents
from factories.written import ENTRY, INFO, TYPE, read, values
from nondet.tracing.format import (
    ReadShape,
    StreamWriter,
    TraceError,
    WriteShape,
    read_trace,
    stream_path,
    write_command,
)
from nondet.tracing.records import Kept, Source, StreamInfo, TensorType, Unseen


def test_equal_entries_and_lines_have_one_id(writer):
    assert [writer.line("a.py", 1, "f", "x"), writer.line("a.py", 2, "f", "x")] == [0, 1]
    assert writer.line("a.py", 1, "f", "x") == 0
    facts = [True, 1, 1.0, 0.0, -0.0, (1,), (True,), [1], ((1,),), [[1]], None, "1"]
    first = [writer.entry(ENTRY._replace(facts=(("a", fact),))) for fact in facts]
    assert first == list(range(len(facts)))
    assert [writer.entry(ENTRY._replace(facts=(("a", fact),))) for fact in facts] == first


def test_long_texts_of_lines_are_cut(writer, tmp_path):
    assert writer.line("a.py", 1, "f", "x" * 5000) == writer.line("a.py", 1, "f", "x" * 1000)
    writer.close()
    assert read(tmp_path).lines == []  # no step was written
    other = StreamWriter(tmp_path / "1.stream", INFO)
    other.line("a.py", 1, "f", "x" * 5000)
    other.step(0, [], [], whole=True)
    assert [len(each.lines) for each in read_trace(tmp_path).streams] == [0, 1]
    assert read_trace(tmp_path).streams[1].lines[0].text == "x" * 1000


def with_read(**changes):
    read = {"type": TYPE, "source": Source("new"), "hashed": True, **changes}
    return ENTRY._replace(reads=(ReadShape(**read),))


WRONG_ENTRIES = {
    "kind": ENTRY._replace(kind="dance"),
    "name": ENTRY._replace(name=3),
    "no line": ENTRY._replace(line=0),
    "numbers": ENTRY._replace(numbers="d"),
    "list of reads": ENTRY._replace(reads=[*with_read().reads]),
    "list as shape": with_read(type=TYPE._replace(shape=[1])),
    "size": with_read(type=TYPE._replace(shape=(-1,))),
    "NumPy size": with_read(type=TYPE._replace(shape=(np.int64(3),))),
    "origin": with_read(source=Source("sky")),
    "back": with_read(source=Source("output", -1)),
    "alignment": with_read(alignment=128),
    "into": ENTRY._replace(writes=(WriteShape(TYPE, True, into=0),)),
    "nan": ENTRY._replace(facts=(("a", float("nan")),)),
    "infinity": ENTRY._replace(facts=(("a", (1, float("inf"))),)),
    "object": ENTRY._replace(facts=(("a", {}),)),
    "set": ENTRY._replace(facts=(("a", {1}),)),
    "bytes": ENTRY._replace(facts=(("a", b""),)),
    "NumPy fact": ENTRY._replace(facts=(("a", np.float32(1)),)),
    "large fact": ENTRY._replace(facts=(("a", 2**64),)),
    "fact twice": ENTRY._replace(facts=(("a", 1), ("a", 2))),
    "value fact twice": ENTRY._replace(facts=(("a", 1),), value_facts=("a",)),
    "long": ENTRY._replace(arguments="x" * (4 << 20)),
    "values": ENTRY._replace(numbers="f" * (1 << 20)),
}


def recursive():
    value = []
    value.append(value)
    return value


@pytest.mark.parametrize("name", WRONG_ENTRIES)
def test_wrong_entries_are_refused(writer, tmp_path, name):
    good = writer.entry(ENTRY)
    with pytest.raises(ValueError, match="the entry ") as caught:
        writer.entry(WRONG_ENTRIES[name])
    assert len(str(caught.value)) < 400
    other = writer.entry(ENTRY._replace(name="other"))
    writer.step(0, [good, other], [1, 2], whole=True)
    writer.close()
    assert [record.name for record in read(tmp_path).records(0)] == ["op", "other"]


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        (lambda w: w.step(0, [1], [1], whole=True), "no entry has the id 1; there are 1"),
        (lambda w: w.step(0, [-1], [1], whole=True), "ids of entries are integers"),
        (lambda w: w.step(0, np.array([2**31]), [1], whole=True), "no entry has the id 2147483648"),
        (lambda w: w.step(0, [0], [], whole=True), "0 values, where the entries have 1"),
        (lambda w: w.step(0, [0, 0], [1, 2, 3], whole=True), "3 values, where the entries have 2"),
        (lambda w: w.step(2**63, [0], [1], whole=True), "the number of a step is 9223"),
        (lambda w: w.entry(ENTRY._replace(facts=(("a", recursive()),))), "at most 10 levels"),
        (lambda w: w.line("a", -1, "f", ""), "the number of a line of source is not from 0"),
        (lambda w: w.line("a", 1.0, "f", ""), "a line of source is no list"),
        (lambda w: w.kept(Kept(0, 0, 0, TYPE, b"123")), r"shape \(2, 3\) cannot be 3 bytes"),
        (lambda w: w.kept(Kept(0, -1, 0, TYPE, bytes(24))), "index of kept values is not from 0"),
        (lambda w: w.unseen(Unseen("a", "b", -1)), "count of what was not seen is not from 0"),
    ],
)
def test_wrong_arguments_are_refused(writer, tmp_path, call, problem):
    writer.entry(ENTRY)
    with pytest.raises(ValueError, match=problem):
        call(writer)
    assert writer.failed is None
    writer.step(0, [0], [1], whole=True)
    writer.close()
    stream = read(tmp_path)
    assert stream.complete
    assert values(stream) == [[1]]


@pytest.mark.parametrize(
    "info",
    [
        StreamInfo("main", 1, "t", float("nan")),
        StreamInfo("main", -1, "t", 1.0),
        StreamInfo("main", 1, "t", 1.0, {"a": {1}}),
        StreamInfo("main", 1, "t", 1.0, {"a": recursive()}),
        StreamInfo("main", 1, "t", 1.0, {"a": float("inf")}),
    ],
)
def test_an_info_that_json_lacks_is_refused(tmp_path, info):
    write_command(tmp_path, {})
    with pytest.raises(ValueError, match=r"JSON|the info"):
        StreamWriter(tmp_path / "0.stream", info)
    assert not (tmp_path / "0.stream").exists()


def test_no_file_is_replaced(writer, tmp_path):
    with pytest.raises(FileExistsError):
        StreamWriter(tmp_path / "0.stream", INFO)
    (tmp_path / "1.stream").symlink_to("elsewhere")
    with pytest.raises(FileExistsError):
        StreamWriter(tmp_path / "1.stream", INFO)
    assert stream_path(tmp_path) != stream_path(tmp_path)


@pytest.mark.parametrize("folder", ["", "none"])
def test_a_stream_needs_a_trace(tmp_path, folder):
    with pytest.raises(TraceError, match=r"is no trace: it holds no trace\.json"):
        StreamWriter(tmp_path / folder / "0.stream", INFO)


def test_values_and_ids_are_copied(writer, tmp_path):
    entries, words = np.array([writer.entry(ENTRY)] * 3), np.arange(3, dtype=np.uint64)
    for step in range(3):
        writer.step(step, entries, words, whole=True)
        words += 1
    writer.close()
    assert values(read(tmp_path)) == [[0, 1, 2], [1, 2, 3], [2, 3, 4]]


def test_large_kept_values_are_written_in_pieces(writer, tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "_PIECE", 5)
    arrays = [np.arange(100.0), np.zeros((0, 3)), np.ones(())]
    for number, array in enumerate(arrays):
        kind = TensorType("float64", array.shape, "cpu")
        writer.kept(Kept(0, 2, number, kind, array.tobytes()))
    writer.close()
    assert [kind for kind, _ in contents(tmp_path / "0.stream")] == [1, 7, *[8] * 40, 7, 7, 8, 9]
    kept = read(tmp_path).kept
    assert [each.data for each in kept] == [array.tobytes() for array in arrays]
    assert kept.places() == [(0, 2, 0), (0, 2, 1), (0, 2, 2)]
    assert kept.find(0, 2, 1) == kept[1] == kept[-2] == kept[:2][1]
    assert kept.find(1, 2, 1) is None
    with pytest.raises(IndexError):
        kept[3]


def test_many_lines_and_entries_are_written_in_pieces(writer, tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "_PIECE", 300)
    lines = [writer.line("a.py", number, "f", "x") for number in range(100)]
    ids = [writer.entry(ENTRY._replace(line=line)) for line in lines]
    writer.step(0, ids, range(100), whole=True)
    writer.close()
    kinds = [kind for kind, _ in contents(tmp_path / "0.stream")]
    assert kinds.count(2) > 5
    assert kinds.count(3) > 5
    assert [record.line.number for record in read(tmp_path).records(0)] == list(range(100))


def test_a_step_is_one_write(writer, monkeypatch):
    # A loop over values would be slow; several writes could leave half of a step.
    calls = []
    write = os.write
    monkeypatch.setattr(appending.os, "write", lambda *given: calls.append(1) or write(*given))
    ids = [writer.entry(ENTRY._replace(line=writer.line("a", i, "f", ""))) for i in range(50)]
    for step in range(10):
        writer.step(step, ids, range(50), whole=True)
    assert len(calls) == 10
