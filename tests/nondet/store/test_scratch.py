"""Test the records of a scratch folder."""

import inspect
import json
import sys

import pytest

from nondet.json_files import format_checksummed
from nondet.store.scratch import (
    check_records,
    digest_of,
    find_record,
    read_record,
    write_record,
)


@pytest.fixture
def folder(tmp_path):
    """Return a folder with a state and two records, one of a file."""
    work = write_record(tmp_path / "state.json", {"version": 1})
    (tmp_path / "a.npy").write_bytes(b"values")
    files = {"a.npy": digest_of(tmp_path / "a.npy"), "removed.npy": "0" * 64}
    write_record(tmp_path / "a.json", {"work": work, "files": files})
    write_record(tmp_path / "b.json", {"work": work, "number": 1})
    return tmp_path


def test_a_record_is_read_for_its_own_work_only(folder):
    state = read_record(folder / "state.json")
    assert state is not None
    assert state.entries == {"version": 1}
    assert json.loads((folder / "state.json").read_text())["sha256"] == state.checksum
    assert find_record(folder / "b.json", state.checksum) == {"number": 1}
    assert find_record(folder / "b.json", "other") is None
    assert find_record(folder / "c.json", state.checksum) is None
    assert read_record(folder / "c.json") is None


def test_a_record_under_another_name_is_none(folder):
    state = read_record(folder / "state.json")
    assert state is not None
    (folder / "b.json").rename(folder / "c.json")
    assert find_record(folder / "c.json", state.checksum) is None
    with pytest.raises(ValueError, match=r"it is the record 'b\.json'"):
        read_record(folder / "c.json")


STRANGE = [b"", b"[]", b"null", b'"\xff"', b"{", b"[" * 100_000, b'{"sha256": 1}', b"9" * 5000]


@pytest.mark.parametrize("data", STRANGE)
@pytest.mark.parametrize("name", ["state.json", "b.json"])
def test_strange_json_is_told_and_not_used(folder, name, data):
    (folder / name).write_bytes(data)
    assert find_record(folder / name, "") is None
    [problem] = check_records(folder, "state.json")
    assert problem.startswith(f"{name}: ")


def test_a_folder_in_place_of_a_record_is_told(folder):
    (folder / "b.json").unlink()
    (folder / "b.json").mkdir()
    assert find_record(folder / "b.json", "") is None
    assert check_records(folder, "state.json")[0].startswith("b.json: ")


def test_undamaged_folders_have_no_problems(folder):
    assert check_records(folder, "state.json") == []
    (folder / "unfinished.npy").write_bytes(b"")
    assert check_records(folder, "state.json") == []
    (folder / "state.json").unlink()  # nothing of it is used
    assert check_records(folder, "state.json") == []
    assert check_records(folder / "missing", "state.json") == []


def test_damaged_files_and_records_are_told(folder):
    (folder / "a.npy").write_bytes(b"valuez")
    assert check_records(folder, "state.json") == ["a.json: a.npy does not match its SHA-256"]
    (folder / "b.json").write_bytes((folder / "b.json").read_bytes().replace(b"1\n", b"2\n"))
    assert len(check_records(folder, "state.json")) == 2


def test_records_of_other_work_are_told(folder):
    write_record(folder / "b.json", {"work": "other"})
    assert check_records(folder, "state.json") == ["b.json: it belongs to other work"]
    write_record(folder / "b.json", {})
    assert check_records(folder, "state.json") == ["b.json: it belongs to other work"]


def test_no_depth_ends_in_a_traceback(folder):
    """A record that is nested too deeply is told, whichever function is the first to reach the
    limit of recursion.
    """
    deep: dict = {}
    for _ in range(90):
        deep = {"a": deep}
    write_record(folder / "b.json", {"deep": deep})
    limit, here = sys.getrecursionlimit(), len(inspect.stack())
    found = []
    for more in range(60, 180):
        sys.setrecursionlimit(here + more)
        try:
            found += check_records(folder, "state.json")
        finally:
            sys.setrecursionlimit(limit)
    assert len(found) == 120
    assert "nested too deeply" in found[0]
    assert "belongs to other work" in found[-1]


def test_python_versions_that_parse_deeper_end_in_no_traceback(folder, monkeypatch):
    """The C parser of Python 3.12 reads JSON that is nested too deeply for functions in Python."""

    def overflow(*_):
        raise RecursionError

    monkeypatch.setattr("nondet.store.scratch.parse_checksummed", overflow)
    assert "nested too deeply" in check_records(folder, "state.json")[0]


@pytest.mark.parametrize("files", [[], None, {"../a.npy": "0"}, {"": "0"}, {"\ud800": "0"}])
def test_strange_files_of_records_are_told(folder, files):
    state = read_record(folder / "state.json")
    assert state is not None
    write_record(folder / "b.json", {"work": state.checksum, "files": files})
    [problem] = check_records(folder, "state.json")
    assert problem.isprintable()


def test_records_name_themselves_once(folder):
    (folder / "b.json").write_bytes(format_checksummed({"work": "other"}))
    with pytest.raises(ValueError, match="it is the record None"):
        read_record(folder / "b.json")
