"""Failures of the writer of streams are told once, and leave the traced program alone."""

import errno
import os
import resource
import threading
from itertools import count

import pytest

import nondet.tracing.format.appending as appending
import nondet.tracing.format.writer as writing
from factories.traces import StreamMaker, write_stream
from factories.written import ENTRY, INFO, read, values
from nondet.tracing.format import (
    StreamWriter,
    read_trace,
    write_command,
)
from nondet.tracing.records import Kept, TensorType, Unseen


def test_after_the_end_nothing_is_written(writer, tmp_path):
    entry = writer.entry(ENTRY)
    writer.step(0, [entry], [1], whole=True)
    writer.close()
    before = (tmp_path / "0.stream").read_bytes()
    use_every_method(writer)
    assert (tmp_path / "0.stream").read_bytes() == before
    assert writer.failed is None


def use_every_method(writer):
    assert writer.line("other.py", 1, "f", "") == 0
    entry = writer.entry(ENTRY._replace(name="new"))
    assert entry == 0
    writer.step(1, [entry], [2], whole=True)
    writer.kept(Kept(0, 0, 0, TensorType("uint8", (1,), "cpu"), b"1"))
    writer.unseen(Unseen("a", "b"))
    writer.close()


class Disk:
    """A disk with room for so many bytes, in place of os.write."""

    def __init__(self, room):
        self.room, self.write = room, os.write

    def __call__(self, descriptor, data):
        if self.room == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        data = bytes(data)[: self.room]
        self.room -= len(data)
        return self.write(descriptor, data)


def write_until_full(writer):
    """Use all methods until one fails; return how many steps were written before."""
    steps = 0
    try:
        for number in count():
            entry = writer.entry(ENTRY._replace(name=f"op {number}"))
            writer.step(number, [entry] * 3, [number] * 3, whole=True)
            steps += 1
            writer.unseen(Unseen("dropped", "x"))
            writer.kept(Kept(0, 0, 0, TensorType("uint8", (9,), "cpu"), bytes(9)))
    except OSError:
        return steps


def test_a_full_disk_is_told_once(writer, tmp_path, monkeypatch):
    path = tmp_path / "0.stream"
    for room in range(1, 1500, 23):
        monkeypatch.setattr(appending.os, "write", Disk(room))
        steps = write_until_full(writer)
        assert writer.failed.errno == errno.ENOSPC
        size = path.stat().st_size
        use_every_method(writer)
        assert path.stat().st_size == size
        stream = read(tmp_path)
        assert stream.problem == "has no end mark: its process was killed, or still runs"
        assert values(stream) == [[number] * 3 for number in range(steps)]
        monkeypatch.undo()
        path.unlink()
        writer = StreamWriter(path, INFO)
    assert steps > 2  # at the largest


def test_a_file_that_takes_few_bytes_at_a_time_is_whole(writer, tmp_path, monkeypatch):
    write = os.write
    monkeypatch.setattr(appending.os, "write", lambda file, data: write(file, bytes(data)[:7]))
    entry = writer.entry(ENTRY)
    for number in range(3):
        writer.step(number, [entry] * 3, [number] * 3, whole=True)
    writer.close()
    stream = read(tmp_path)
    assert stream.complete
    assert values(stream) == [[number] * 3 for number in range(3)]


def test_a_full_disk_at_the_start_is_told(tmp_path, monkeypatch):
    write_command(tmp_path, {})
    monkeypatch.setattr(appending.os, "write", Disk(20))
    with pytest.raises(OSError, match="No space left"):
        StreamWriter(tmp_path / "0.stream", INFO)
    assert read(tmp_path).problem == "is empty"


def test_a_full_disk_at_the_end_is_told(writer, tmp_path, monkeypatch):
    monkeypatch.setattr(appending.os, "write", Disk(5))
    with pytest.raises(OSError, match="No space left"):
        writer.close()
    writer.close()
    assert read(tmp_path).problem


def in_a_fork(work):
    """Run a function in a forked process; return what it returns, an integer below 256."""
    child = os.fork()
    if child == 0:
        code = 255
        try:
            code = work()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_file_that_cannot_grow_is_told_once(writer, tmp_path):
    # A limit of the system: the first write that exceeds it is cut short, the next one fails.
    path = tmp_path / "1.stream"

    def work():
        other = StreamWriter(path, INFO)
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
        steps = write_until_full(other)
        assert other.failed.errno == errno.EFBIG
        use_every_method(other)
        return steps

    steps = in_a_fork(work)
    assert 1 <= steps < 20
    stream = next(each for each in read_trace(tmp_path).streams if each.file == path.name)
    assert len(stream.steps) == steps


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_writes_nothing(writer, tmp_path):
    entry = writer.entry(ENTRY)
    writer.step(0, [entry], [1], whole=True)

    def work():
        use_every_method(writer)
        return 3

    with writer._lock:  # as another thread may hold it while the process forks
        assert in_a_fork(work) == 3
    writer.step(1, [entry], [2], whole=True)
    writer.close()
    stream = read(tmp_path)
    assert stream.complete
    assert values(stream) == [[1], [2]]


def test_a_program_that_closes_descriptors_keeps_its_own_files(writer, tmp_path):
    entry = writer.entry(ENTRY)
    writer.step(0, [entry], [1], whole=True)
    descriptor = writer._file._descriptor
    os.close(descriptor)
    mine = tmp_path / "mine"
    assert os.open(mine, os.O_WRONLY | os.O_CREAT) == descriptor
    with pytest.raises(OSError, match="the traced program closed the file"):
        writer.step(1, [entry], [2], whole=True)
    use_every_method(writer)
    os.close(descriptor)  # it is open still
    assert mine.read_bytes() == b""
    assert values(read(tmp_path)) == [[1]]


def test_a_closed_descriptor_is_told(writer):
    os.close(writer._file._descriptor)
    with pytest.raises(OSError, match="the traced program closed the file"):
        writer.close()
    writer.close()


@pytest.mark.parametrize("size", [0, 30, 1000])
def test_a_file_that_something_else_changed_is_told(writer, tmp_path, size):
    os.truncate(tmp_path / "0.stream", size)
    with pytest.raises(OSError, match=f"something else changed the file: {size} bytes"):
        writer.unseen(Unseen("a", "b"))
    use_every_method(writer)


def test_an_interrupted_write_ends_the_trace(writer, tmp_path, monkeypatch):
    entry = writer.entry(ENTRY)
    writer.step(0, [entry], [1], whole=True)

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(writing, "pack_values", interrupt)
    with pytest.raises(KeyboardInterrupt):
        writer.step(1, [entry], [2], whole=True)
    monkeypatch.undo()
    with pytest.raises(OSError, match="a signal interrupted the writing"):
        writer.step(1, [entry], [2], whole=True)
    use_every_method(writer)
    assert values(read(tmp_path)) == [[1]]


def test_a_signal_handler_that_records_meanwhile_ends_the_trace(writer, tmp_path, monkeypatch):
    entry = writer.entry(ENTRY)
    writer.step(0, [entry], [1], whole=True)
    monkeypatch.setattr(writing, "pack_values", lambda *_: writer.step(9, [entry], [9], whole=True))
    with pytest.raises(OSError, match="a signal interrupted the writing"):
        writer.step(1, [entry], [2], whole=True)
    use_every_method(writer)
    assert values(read(tmp_path)) == [[1]]


def test_threads_may_call_in_turn(writer, tmp_path):
    # One thread writes steps while others add entries; every id must stay that of its entry.
    names = [[f"{thread}.{number}" for number in range(200)] for thread in range(3)]
    found = [[] for _ in names]
    start = threading.Barrier(4)

    def add(thread):
        start.wait()
        for name in names[thread]:
            line = writer.line(name, 1, "f", "")
            found[thread].append(writer.entry(ENTRY._replace(name=name, line=line)))

    threads = [threading.Thread(target=add, args=(thread,)) for thread in range(3)]
    first = writer.entry(ENTRY)
    for thread in threads:
        thread.start()
    start.wait()
    for step in range(100):
        writer.step(step, [first], [step], whole=True)
    for thread in threads:
        thread.join()
    ids = [entry for each in found for entry in each]
    writer.step(100, ids, range(600), whole=True)
    writer.close()
    stream = read(tmp_path)
    together = [name for each in names for name in each]
    assert [record.name for record in stream.records(100)] == together
    assert [record.line.file for record in stream.records(100)] == together
    assert values(stream)[:100] == [[step] for step in range(100)]


def test_the_working_directory_may_change(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_command("a.trace", {})
    stream = StreamMaker()
    stream.op("op")
    (tmp_path / "a.trace" / "sub").mkdir()
    write_stream(tmp_path / "a.trace" / "0.stream", stream)
    writer = StreamWriter("a.trace/1.stream", INFO)
    monkeypatch.chdir("/")
    writer.step(0, [], [], whole=True)
    writer.close()
    monkeypatch.chdir(tmp_path / "a.trace")
    other = StreamWriter("2.stream", INFO)
    monkeypatch.chdir("/")
    os.truncate(tmp_path / "a.trace" / "2.stream", 0)
    with pytest.raises(OSError, match="something else changed the file") as caught:
        other.close()
    assert caught.value.filename == str(tmp_path / "a.trace" / "2.stream")
    (tmp_path / "a.trace" / "2.stream").unlink()
    assert [each.complete for each in read_trace(str(tmp_path / "a.trace")).streams] == [True] * 2
