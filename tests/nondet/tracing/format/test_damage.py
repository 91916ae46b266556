"""Traces that were cut, or damaged by chance: what is left is right, and what is wrong is told."""

import os
import random
import signal
import time
from itertools import accumulate

import numpy as np
import pytest

from factories.stream_files import DATA, HEADER_BYTES, STEP, UNSEEN, split
from factories.traces import NO_LINES, StreamMaker, write_trace
from nondet.tracing.format import (
    Entry,
    StreamWriter,
    TraceError,
    read_trace,
    stream_path,
    write_command,
)
from nondet.tracing.records import StreamInfo, Unseen

BARE = Entry("operation", "op", "forward", "", *NO_LINES, "", "", True, (), (), (), ())


def make_stream(steps=3, **info):
    """Return a stream with blocks of all kinds."""
    stream = StreamMaker(**info)
    w = stream.parameter("w")
    for step in range(steps):
        h = stream.op("aten.mm.default", w, stream.batch(bits=step), line=step, module="fc")
        w = stream.op("aten.add_", w, h, into=0)
        stream.step()
    stream.keep(w, np.arange(3.0))
    stream.unseen.append(Unseen("process", "python -S"))
    return stream


def everything(stream):
    """Return all that a stream tells, as values that can be compared."""
    records = [stream.records(i) for i in range(len(stream.steps))]
    return (stream.info, records, stream.unseen, list(stream.kept))


def whole_steps(stream):
    return [stream.records(i) for i, step in enumerate(stream.steps) if step.whole]


def test_a_stream_is_readable_wherever_it_is_cut(tmp_path):
    folder = write_trace(tmp_path / "a.trace", make_stream(2))
    path = folder / "0.stream"
    data = path.read_bytes()
    [complete] = read_trace(folder).streams
    steps = whole_steps(complete)
    blocks = split(data)[1]
    kinds = [block[0] for block in blocks]
    ends = list(accumulate(map(len, blocks), initial=HEADER_BYTES))
    assert ends[-1] == len(data)
    for size in range(len(data)):
        path.write_bytes(data[:size])
        [cut] = read_trace(folder).streams
        left = kinds[: max(sum(end <= size for end in ends) - 1, 0)]
        assert cut.problem is not None, size
        assert not cut.complete
        assert whole_steps(cut) == steps[: left.count(STEP)]
        assert len(cut.unseen) == left.count(UNSEEN)
        assert len(cut.kept) == left.count(DATA)
        assert cut.info.role == ("main" if left else "unreadable 0.stream")


@pytest.mark.parametrize(
    ("size", "problem"),
    [
        (0, "is empty"),
        (7, "is cut within its header"),
        (HEADER_BYTES - 1, "is cut within its header"),
        (HEADER_BYTES, "has no end mark: its process was killed, or still runs"),
        (HEADER_BYTES + 5, "is cut within block 0, at byte 53"),
        (HEADER_BYTES + 40, "is cut within block 0, at byte 88"),
        (-32, "has no end mark: its process was killed, or still runs"),
    ],
)
def test_a_cut_is_told(tmp_path, size, problem):
    folder = write_trace(tmp_path / "a.trace", make_stream())
    path = folder / "0.stream"
    path.write_bytes(path.read_bytes()[:size])
    [stream] = read_trace(folder).streams
    assert stream.problem == problem


def test_steps_before_a_random_cut_are_right(tmp_path):
    folder = write_trace(tmp_path / "a.trace", make_stream(60))
    path = folder / "0.stream"
    data = path.read_bytes()
    [complete] = read_trace(folder).streams
    rng = random.Random(0)
    for _ in range(60):
        path.write_bytes(data[: rng.randrange(len(data))])
        [cut] = read_trace(folder).streams
        assert cut.problem
        for mine, theirs in zip(cut.steps, complete.steps, strict=False):
            assert mine.whole
            assert np.array_equal(mine.values, theirs.values)
            assert np.array_equal(mine.entries, theirs.entries)


def test_a_part_of_a_step_is_no_whole_step(tmp_path):
    write_command(tmp_path, {})
    path = stream_path(tmp_path)
    writer = StreamWriter(path, StreamInfo("main", 1, "t", 1.0))
    entry = writer.entry(BARE)
    writer.step(0, [entry], [1], whole=True)
    writer.step(1, [entry], [2], whole=False)
    writer.step(1, [entry], [3], whole=True)
    [stream] = read_trace(tmp_path).streams
    assert [(step.values.tolist(), step.whole) for step in stream.steps] == [
        ([1], True),
        ([2, 3], True),
    ]
    path.write_bytes(path.read_bytes()[:-1])
    [stream] = read_trace(tmp_path).streams
    assert [(step.values.tolist(), step.whole) for step in stream.steps] == [
        ([1], True),
        ([2], False),
    ]
    assert stream.problem


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_stream_of_a_killed_process_is_readable(tmp_path):
    write_command(tmp_path, {})
    path = stream_path(tmp_path)
    child = os.fork()
    if child == 0:
        writer = StreamWriter(path, StreamInfo("main", 1, "t", 1.0))
        entries = [writer.entry(BARE)] * 100
        number = 0
        while True:
            writer.step(number, entries, range(number, number + 100), whole=True)
            number += 1
    try:
        while not path.exists() or path.stat().st_size < 30_000:
            assert os.waitpid(child, os.WNOHANG) == (0, 0)
            time.sleep(0.01)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    [stream] = read_trace(tmp_path).streams
    assert stream.problem
    assert len(stream.steps) > 30
    for number, step in enumerate(stream.steps):
        assert step.number == number
        assert step.values.tolist() == list(range(number, number + 100))


def try_to_read(folder):
    """Return the trace, or the error about it."""
    try:
        return read_trace(folder)
    except TraceError as error:
        return error


def test_every_flipped_bit_is_noticed(tmp_path):
    folder = write_trace(tmp_path / "a.trace", make_stream(2), make_stream(1, role="other"))
    right = {stream.file: everything(stream) for stream in read_trace(folder).streams}
    rng = random.Random(1)
    paths = sorted(folder.iterdir())
    assert [path.name for path in paths] == ["0.stream", "1.stream", "trace.json"]
    noticed = {"by a problem": 0, "by an error": 0}
    for number in range(1000):
        path = paths[number % 3]
        data = path.read_bytes()
        place = rng.randrange(8 * len(data))
        changed = bytearray(data)
        changed[place // 8] ^= 1 << place % 8
        path.write_bytes(changed)
        found = try_to_read(folder)
        path.write_bytes(data)
        if isinstance(found, TraceError):
            assert found.path == path, place
            noticed["by an error"] += 1
            continue
        noticed["by a problem"] += 1
        for stream in found.streams:
            if stream.file != path.name:
                assert everything(stream) == right[stream.file]
            else:
                check_damaged(stream, right[path.name])
    assert noticed["by a problem"] > 500
    assert noticed["by an error"] > 333


def check_damaged(stream, right):
    """Check that a stream tells that it is damaged, and that what it still tells is right."""
    assert stream.problem
    assert not stream.complete
    info, records, unseen, kept = everything(stream)
    assert info == right[0] or (info.role.startswith("unreadable") and not records)
    for mine, theirs in zip((records, unseen, kept), right[1:], strict=True):
        assert mine == theirs[: len(mine)]


def splices():
    """Return ways to rearrange blocks, given those of two streams."""
    return {
        "removed": lambda mine, theirs: mine[:4] + mine[5:],
        "first removed": lambda mine, theirs: mine[1:],
        "last removed": lambda mine, theirs: mine[:-1],
        "repeated": lambda mine, theirs: mine[:5] + mine[4:],
        "last repeated": lambda mine, theirs: [*mine, mine[-1]],
        "swapped": lambda mine, theirs: [*mine[:4], mine[5], mine[4], *mine[6:]],
        "taken": lambda mine, theirs: [*mine[:4], theirs[4], *mine[5:]],
        "rest taken": lambda mine, theirs: mine[:4] + theirs[4:],
        "end taken": lambda mine, theirs: [*mine[:-1], theirs[-1]],
        "all taken": lambda mine, theirs: theirs,
        "zeros behind": lambda mine, theirs: [*mine, bytes(100)],
        "zeros at the end": lambda mine, theirs: [*mine[:-1], bytes(4096)],
    }


@pytest.mark.parametrize("way", splices())
def test_blocks_out_of_their_place_are_noticed(tmp_path, way):
    # Two streams of equal contents: only where the blocks stand tells them apart.
    folder = write_trace(tmp_path / "a.trace", make_stream(), make_stream())
    path, other = (folder / f"{number}.stream" for number in (0, 1))
    header, mine = split(path.read_bytes())
    theirs = split(other.read_bytes())[1]
    assert len(mine) == len(theirs) > 8
    right = whole_steps(read_trace(folder).streams[0])
    path.write_bytes(header + b"".join(splices()[way](mine, theirs)))
    changed = next(each for each in read_trace(folder).streams if each.file == "0.stream")
    assert changed.problem
    assert not changed.complete
    steps = whole_steps(changed)
    assert steps == right[: len(steps)]


def test_a_copy_of_a_stream_is_noticed(tmp_path):
    folder = write_trace(tmp_path / "a.trace", make_stream())
    (folder / "1.stream").write_bytes((folder / "0.stream").read_bytes())
    with pytest.raises(TraceError, match=r"1\.stream: is a copy of 0\.stream"):
        read_trace(folder)


def test_a_stream_of_another_trace_is_noticed(tmp_path):
    first = write_trace(tmp_path / "a.trace", make_stream())
    second = write_trace(tmp_path / "b.trace", make_stream())
    (first / "1.stream").write_bytes((second / "0.stream").read_bytes())
    with pytest.raises(TraceError, match=r"1\.stream: belongs to another trace"):
        read_trace(first)


def test_kept_values_that_changed_after_reading_are_noticed(tmp_path, monkeypatch):
    folder = write_trace(tmp_path / "a.trace", make_stream())
    monkeypatch.chdir(tmp_path)
    [stream] = read_trace("a.trace").streams
    monkeypatch.chdir("/")
    [kept] = stream.kept
    assert kept.data == np.arange(3.0).tobytes()
    path = folder / "0.stream"
    path.write_bytes(path.read_bytes().replace(kept.data, bytes(24)))
    with pytest.raises(TraceError, match="has changed since the trace was read"):
        stream.kept[0]
    path.unlink()
    with pytest.raises(TraceError, match="No such file"):
        list(stream.kept)
