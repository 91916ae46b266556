"""Tests of the list of a report's files, which may be anybody's."""

import errno
import hashlib
import os
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nondet.store.report_files import (
    MANIFEST,
    PAGES,
    check_report,
    format_manifest,
    is_report_file,
    read_manifest,
    remove_report_file,
)

FILES = {
    "report.html": b"<p>page</p>",
    "report.md": b"page",
    "runs.csv": b"",
    "tables/test-set.csv": b"1,2\n",
    "tables/spread.tex": b"1 & 2",
    "figures/results-shufflenet-x0.5.png": bytes(range(256)) * 9000,
    "figures/results.svg": b"<svg/>",
}


def digest(data):
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def folder(tmp_path):
    for name, data in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    write(tmp_path, format_manifest({name: digest(data) for name, data in FILES.items()}))
    return tmp_path


def write(folder, text):
    data = text if isinstance(text, bytes) else text.encode()
    (folder / MANIFEST).write_bytes(data)


def test_a_sound_report_has_no_problems_and_is_read_by_sha256sum(folder):
    assert check_report(folder) == []
    assert read_manifest(folder) == {name: digest(data) for name, data in FILES.items()}
    subprocess.run(["sha256sum", "--check", "--strict", MANIFEST], cwd=folder, check=True)


def test_without_a_report_there_is_nothing_to_check(tmp_path):
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "my-own.csv").touch()
    assert read_manifest(tmp_path) == {}
    assert check_report(tmp_path) == []


@pytest.mark.parametrize("name", [name for name in FILES if FILES[name]])
@pytest.mark.parametrize("change", ["flip", "cut", "longer", "missing", "folder", "pipe", "loop"])
def test_every_change_of_a_file_is_a_problem(folder, name, change):
    path, data = folder / name, FILES[name]
    path.unlink()
    if change == "flip":
        path.write_bytes(bytes([*data[:-1], data[-1] ^ 1]))
    elif change == "cut":
        path.write_bytes(data[:-1])
    elif change == "longer":
        path.write_bytes(data + b" ")
    elif change == "folder":
        path.mkdir()
    elif change == "pipe":  # a reader would wait for a writer
        os.mkfifo(path)
    elif change == "loop":
        path.symlink_to(path)
    [problem] = check_report(folder)
    assert str(path) in problem
    assert "nondet report" in problem


@pytest.mark.slow
def test_every_bit_of_the_list_counts(folder):
    before = (folder / MANIFEST).read_bytes()
    for place in range(len(before)):
        for bit in range(8):
            changed = bytearray(before)
            changed[place] ^= 1 << bit
            write(folder, bytes(changed))
            assert check_report(folder), (place, bit)


def test_every_cut_of_the_list_counts(folder):
    before = (folder / MANIFEST).read_bytes()
    for length in range(len(before)):
        write(folder, before[:length])
        assert check_report(folder), length
    (folder / MANIFEST).unlink()
    assert len(check_report(folder)) == 1


def test_lists_without_sha256_are_checked_for_missing_files(folder):
    write(folder, "".join(f"{name}\n" for name in sorted(FILES)))
    assert read_manifest(folder) == dict.fromkeys(FILES)
    assert check_report(folder) == []
    (folder / "tables/test-set.csv").unlink()
    (folder / "runs.csv").write_text("other")
    [problem] = check_report(folder)
    assert "tables/test-set.csv is missing" in problem


NAMES = [
    "tables/..",
    "tables/.",
    "tables/",
    "tables/../report.csv",
    "tables/../../x.csv",
    "tables/sub/x.csv",
    "tables/.x.csv",
    "tables/-x.csv",
    "tables/x.csv ",
    "tables/x.png",
    "tables/x y.csv",
    "tables/x\x00.csv",
    "tables/\u00e9.csv",
    f"tables/{'x' * 300}.csv",
    "figures/x.csv",
    "runs/x.csv",
    "/tables/x.csv",
    "./report.html",
    "study.json",
    "SHA256SUMS",
    "",
    " report.html",
]


@pytest.mark.parametrize("name", NAMES)
def test_other_names_are_none_of_a_report(folder, name):
    assert not is_report_file(name)
    with pytest.raises(ValueError, match="report"):
        format_manifest({name: "0" * 64})
    sound = (folder / MANIFEST).read_text()
    for text in (f"{'0' * 64}  {name}\n{sound}", f"{name}\n" + "\n".join((*PAGES, ""))):
        write(folder, text)
        with pytest.raises(ValueError, match="line"):
            read_manifest(folder)
        [problem] = check_report(folder)
        assert str(folder / MANIFEST) in problem


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\n",
        b"\xff\xfe",
        b"\x00" * 100,
        "\n".join((*PAGES, "report.md", "")),
        f"{'0' * 64}  report.html\nreport.md\nruns.csv\n",
        f"report.html\n{'0' * 64}  report.md\nruns.csv\n",
        "\r\n".join((*PAGES, "")),
        "\n".join((*PAGES, "figures/x")),
        "\n".join(PAGES),
        "report.html\nreport.md\n",
        "".join(f"{'A' * 64}  {name}\n" for name in PAGES),
        "".join(f"{'0' * 64} *{name}\n" for name in PAGES),
        "".join(f"figures/{i}.svg\n" for i in range(100_000)) + "\n".join((*PAGES, "")),
    ],
)
def test_damaged_lists_are_named(folder, text):
    write(folder, text)
    with pytest.raises(ValueError, match=r"^(is|has|lacks) "):
        read_manifest(folder)
    [problem] = check_report(folder)
    assert str(folder / MANIFEST) in problem
    assert len(problem) < 500


@settings(deadline=None)
@given(data=st.binary() | st.text(alphabet="0aé/.\n \r\x00reporthmlcsv").map(str.encode))
def test_any_list_is_read_or_refused(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("any")
    write(folder, data)
    assert check_report(folder)


@pytest.mark.parametrize("kind", ["folder", "pipe", "loop"])
def test_a_list_that_is_no_file_is_a_problem(folder, kind):
    path = folder / MANIFEST
    path.unlink()
    {"folder": path.mkdir, "pipe": lambda: os.mkfifo(path), "loop": lambda: path.symlink_to(path)}[
        kind
    ]()
    with pytest.raises(OSError, match="report"):
        read_manifest(folder)
    assert len(check_report(folder)) == 1


def test_files_of_a_report_alone_are_removed(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    (other / "results.svg").write_text("of somebody")
    (folder / "figures").rename(folder / "elsewhere")
    (folder / "figures").symlink_to(other)
    (folder / "tables" / "x.csv").symlink_to(other / "results.svg")
    (folder / "tables" / "y.csv").mkdir()
    (folder / "study.json").touch()
    before = set(folder.rglob("*"))
    for name in (*NAMES, "tables/x.csv", "tables/y.csv", "tables/none.csv", "figures/results.svg"):
        remove_report_file(folder, name)
    remove_report_file(folder / "none", "report.html")
    remove_report_file(folder / "study.json", "report.html")
    assert set(folder.rglob("*")) == before
    assert (other / "results.svg").exists()
    for name in ("report.html", "tables/test-set.csv"):
        remove_report_file(folder, name)
        assert not (folder / name).exists()


def test_files_that_cannot_be_removed_are_an_error(folder, monkeypatch):
    def refuse(name, dir_fd):
        raise PermissionError(errno.EACCES, "refused", name)

    monkeypatch.setattr(os, "unlink", refuse)
    with pytest.raises(PermissionError):
        remove_report_file(folder, "tables/test-set.csv")
