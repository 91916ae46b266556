"""The folder of a study belongs to one plan, and to one process at a time."""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from nondet import files
from nondet.store import FORMAT, MixedStudyError, Store, StoreError


def test_only_the_same_plan_opens_a_study_again(tmp_path, plan):
    store = Store(tmp_path)
    with store.opened_for(plan):
        pass
    with store.opened_for(plan):
        assert store.plan() == plan
    with (
        pytest.raises(StoreError, match=r"another study .*runs"),
        store.opened_for(replace(plan, runs=3)),
    ):
        pass


def test_a_folder_with_other_files_is_rejected_and_unchanged(tmp_path, plan):
    (tmp_path / "thesis.tex").write_text("years of work")
    with (
        pytest.raises(StoreError, match="not empty"),
        Store(tmp_path).opened_for(plan),
    ):
        pass
    assert (tmp_path / "thesis.tex").read_text() == "years of work"
    assert not (tmp_path / "study.json").exists()


STRANGE = ["", "{", "[]", "{}", "7", '{"format": 2, "study": "quick"}', '{"format": 3, "plan": {}}']
STRANGE += ["[" * 100_000, '{"format": ' + "1" * 5000 + "}", '{"format": NaN}', "\x00"]


@pytest.mark.parametrize("text", STRANGE, ids=lambda text: text[:20])
def test_an_unreadable_plan_is_an_error(tmp_path, plan, text):
    (tmp_path / "study.json").write_text(text)
    with (
        pytest.raises(StoreError, match=r"study.json cannot be read"),
        Store(tmp_path).opened_for(plan),
    ):
        pass
    assert (tmp_path / "study.json").read_text() == text


@pytest.mark.parametrize(
    ("entries", "version"),
    [(("study",), 1), (("study", 1), 1), (("study", 9), 9), (("plan", 4), 4), (("plan", 1), 1)],
)
def test_a_study_of_another_version_is_an_error(tmp_path, plan, entries, version):
    layout, *number = entries
    made = plan.to_json() if layout == "study" else {"plan": plan.to_json(), "data": {}}
    text = json.dumps(made | ({"format": number[0]} if number else {}))
    (tmp_path / "study.json").write_text(text)
    message = rf"another version of nondet \(format {version}; .* format {FORMAT}\)"
    with pytest.raises(StoreError, match=message), Store(tmp_path).opened_for(plan):
        pass
    assert (tmp_path / "study.json").read_text() == text


def test_a_study_of_the_former_format_is_read_but_not_continued(tmp_path, plan):
    text = json.dumps({"format": FORMAT - 1} | plan.to_json())
    (tmp_path / "study.json").write_text(text)
    store = Store(tmp_path)
    assert store.plan() == plan
    with (
        pytest.raises(StoreError, match=r"\(format 2; .* read and reported, but not continued"),
        store.opened_for(plan),
    ):
        pass
    assert (tmp_path / "study.json").read_text() == text


def test_a_changed_bit_of_a_plan_is_noticed(tmp_path, plan):
    store = Store(tmp_path)
    with store.opened_for(plan):
        pass
    path = tmp_path / "study.json"
    whole = path.read_bytes()
    for place in range(0, len(whole), 13):
        changed = bytes([whole[place] ^ 1 << place % 8])
        path.write_bytes(whole[:place] + changed + whole[place + 1 :])
        with pytest.raises(StoreError, match=r"study.json (cannot be read|was written)"):
            store.plan()
    path.write_bytes(whole)
    assert store.plan() == plan


def test_data_are_recorded_and_only_mixed_on_request(tmp_path, plan):
    store = Store(tmp_path)
    with store.opened_for(plan):
        store.set_data({"digits": "a" * 64})
        store.set_data({"digits": "a" * 64})
        with pytest.raises(MixedStudyError, match=r"'digits' has changed .* aaaaaaaaaaaaaaa.* bb"):
            store.set_data({"digits": "b" * 64})
        assert Store(tmp_path).plan().data == {"digits": "a" * 64}
        store.set_data({"digits": "b" * 64}, allow_mixed=True)
    assert store.study().data == {"digits": ("a" * 64, "b" * 64)}
    assert Store(tmp_path).plan().data == {"digits": "b" * 64}
    with store.opened_for(plan):  # the data do not belong to what was asked for
        store.set_data({"digits": "a" * 64}, allow_mixed=True)
    assert store.study().data == {"digits": ("b" * 64, "a" * 64)}


def test_a_folder_without_study_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path, tmp_path / "none", tmp_path / "file"):
        with pytest.raises(StoreError, match="no study"):
            Store(folder).plan()


def test_a_file_in_place_of_the_folder_is_an_error(tmp_path, plan):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(StoreError, match=r"/file: File exists"),
        Store(tmp_path / "file").opened_for(plan),
    ):
        pass


def test_unfinished_folders_of_ended_writers_are_removed(tmp_path, plan):
    """On this host if the process ended; of another host if nothing changed for an hour."""
    store = Store(tmp_path)
    with store.opened_for(plan):
        pass
    ended = subprocess.Popen(["true"])
    ended.wait()
    here = files.unfinished(store.runs / "abc").name.split(".")[1].rpartition("-")[0].rsplit("-")[0]
    names = {
        "dead": f"abc.{here}-{ended.pid}-00000001.tmp",
        "alive": f"abc.{here}-{os.getpid()}-00000002.tmp",
        "elsewhere": f"abc.another_host-{ended.pid}-00000003.tmp",
        "forgotten": f"abc.another_host-{ended.pid}-00000004.tmp",
        "theirs": "notes.tmp",
    }
    for name in names.values():
        (store.runs / name).mkdir()
        (store.runs / name / "run.json").write_text("half")
    long_ago = time.time() - files.ABANDONED_AFTER - 10
    for path in (store.runs / names["forgotten"] / "run.json", store.runs / names["forgotten"]):
        os.utime(path, (long_ago, long_ago))
    os.utime(store.runs / names["elsewhere"], (long_ago, long_ago))  # but it has a new file
    with store.opened_for(plan):
        left = {path.name for path in store.runs.iterdir()}
    assert left == {names["alive"], names["elsewhere"], names["theirs"]}


def test_a_crash_before_the_plan_is_written_leaves_a_usable_folder(tmp_path, plan):
    ended = subprocess.Popen(["true"])
    ended.wait()
    name = files.unfinished(tmp_path / "study.json").name
    (tmp_path / name.replace(str(os.getpid()), str(ended.pid))).write_text("{")
    store = Store(tmp_path)
    with store.opened_for(plan):
        assert store.plan() == plan
    assert not list(tmp_path.glob("*.tmp"))


def test_one_process_at_a_time(tmp_path, plan):
    store = Store(tmp_path)
    script = (
        "import json, sys; from pathlib import Path\n"
        "from nondet.store import Store, StoreError; from nondet.studies.study import Plan\n"
        "try:\n"
        "    plan = Plan.from_json(json.loads(sys.argv[2]))\n"
        "    with Store(Path(sys.argv[1])).opened_for(plan): print('opened')\n"
        "except StoreError as error: print(error)\n"
    )

    def open_elsewhere():
        return subprocess.run(
            [sys.executable, "-c", script, store.root, json.dumps(plan.to_json())],
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    with store.opened_for(plan):
        assert f"in use by another process (process {os.getpid()} " in open_elsewhere()
    assert open_elsewhere() == "opened\n"
