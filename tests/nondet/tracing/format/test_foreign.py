"""Folders and files that are no traces, or of another version, or no files at all."""

import json
import os
import stat

import pytest

from factories.stream_files import nested
from nondet.json_files import format_checksummed
from nondet.tracing.format import TraceError, read_trace, write_command


def test_a_missing_trace_is_told(tmp_path):
    for path in (tmp_path / "none", tmp_path / "no\0ne", tmp_path / ("x" * 300)):
        with pytest.raises(TraceError) as caught:
            read_trace(path)
        assert caught.value.path == path


def test_a_file_is_no_trace(tmp_path):
    path = tmp_path / "a.trace"
    path.write_bytes(b"")
    with pytest.raises(TraceError, match=r"a\.trace: is a file; a trace is a folder"):
        read_trace(path)


def test_other_folders_are_no_traces(tmp_path):
    with pytest.raises(TraceError, match=r"is no trace: it holds no trace\.json"):
        read_trace(tmp_path)
    (tmp_path / "0.stream").write_bytes(b"")
    with pytest.raises(TraceError, match=r"is no trace: it holds no trace\.json"):
        read_trace(tmp_path)


def test_a_trace_without_streams_is_told(folder):
    (folder / "0.stream").unlink()
    (folder / "notes.txt").write_text("stream")
    with pytest.raises(TraceError, match="holds no streams: nothing was recorded"):
        read_trace(folder)


def test_other_files_and_folders_are_not_looked_at(folder):
    (folder / "notes.txt").write_text("mine")
    (folder / "old").mkdir()
    (folder / "link").symlink_to("/etc/passwd")
    assert read_trace(folder).streams[0].complete


GOOD = {"format": "nondet trace", "version": 2, "id": "ab" * 16, "command": {}}


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "is empty"),
        (b"{", "is damaged: not JSON"),
        (b"[]", "is of something else"),
        (b"{}", "is of something else"),
        (b'{"format": "study"}', "is of something else"),
        (b"[" * 100_000, "nested too deeply"),
        (json.dumps({**GOOD, "version": 3}).encode(), "is newer than this program.*version 3"),
        (json.dumps({**GOOD, "version": 0}).encode(), "version 0 of the format, which never was"),
        (json.dumps({**GOOD, "version": "1"}).encode(), "its version is a text"),
        (json.dumps({**GOOD, "version": True}).encode(), "its version is true"),
        (json.dumps(GOOD).encode(), "is damaged: has no entry 'sha256'"),
        (format_checksummed({**GOOD, "version": 7, "more": 1}), "is newer than this program"),
        (format_checksummed({**GOOD, "id": "zz" * 16}), "its id is no text"),
        (format_checksummed({**GOOD, "id": 3}), "its id is no text"),
        (format_checksummed({**GOOD, "command": []}), "its command is a list"),
        (format_checksummed({**GOOD, "more": 1}), "has other entries"),
        (b" " * ((16 << 20) + 1), "is damaged: it is larger"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_wrong_trace_json_is_told(folder, data, problem):
    (folder / "trace.json").write_bytes(data)
    with pytest.raises(TraceError, match=problem) as caught:
        read_trace(folder)
    assert caught.value.path == folder / "trace.json"
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda data: b"\x89PNG\r\n\x1a\n" + data, "is no stream of a trace"),
        (lambda data: b"\0", "is no stream of a trace"),
        (lambda data: bytes(len(data)), "is no stream of a trace"),
        (lambda data: data[:14] + b"\3\0" + data[16:], "is newer than this program: it is of v"),
        (lambda data: data[:14] + b"\0\0" + data[16:], "version 0 of the format, which never was"),
        (lambda data: data[:14] + b"\1\0" + data[16:], "is of version 1, its trace of version 2"),
        (lambda data: data[:20] + b"\0" + data[21:], "belongs to another trace"),
    ],
)
def test_a_wrong_stream_is_told(folder, change, problem):
    path = folder / "0.stream"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(TraceError, match=problem) as caught:
        read_trace(folder)
    assert caught.value.path == path


@pytest.mark.parametrize("name", ["0.stream", "trace.json"])
def test_links_and_pipes_are_not_followed(folder, tmp_path, name):
    path = folder / name
    outside = tmp_path / "outside"
    path.rename(outside)
    for make, problem in (
        (lambda: path.symlink_to(outside), "is a symbolic link"),
        (lambda: path.symlink_to("nowhere"), "is a symbolic link"),
        (lambda: os.mkfifo(path), "is no regular file"),
        (lambda: path.mkdir(), "is no regular file"),
        (lambda: os.mknod(path, stat.S_IFSOCK), "cannot be read: No such device"),
    ):
        make()
        with pytest.raises(TraceError, match=problem) as caught:
            read_trace(folder)
        assert caught.value.path == path
        path.rmdir() if path.is_dir() else path.unlink()


def test_the_folder_itself_may_be_a_link(folder, tmp_path):
    (tmp_path / "link").symlink_to(folder)
    assert read_trace(tmp_path / "link").streams[0].complete


def test_commands_that_json_lacks_are_refused(tmp_path):
    for command in ({"a": float("nan")}, {"a": {1, 2}}, {"a": nested(200)}, {"a": b""}):
        with pytest.raises(ValueError, match="command cannot be written as JSON"):
            write_command(tmp_path / "a.trace", command)
    assert not (tmp_path / "a.trace" / "trace.json").exists()
    with pytest.raises(ValueError, match="command cannot be written as JSON"):
        write_command(tmp_path / "a.trace", {"a": "b" * (16 << 20)})


def test_a_command_is_replaced_in_its_trace(folder):
    write_command(folder, {"code": 3})
    trace = read_trace(folder)
    assert trace.command == {"code": 3}
    assert trace.streams[0].complete


def test_the_file_of_something_else_is_not_replaced(tmp_path):
    path = tmp_path / "trace.json"
    path.write_text('{"mine": 1}')
    with pytest.raises(TraceError, match="is of something else"):
        write_command(tmp_path, {})
    assert path.read_text() == '{"mine": 1}'
