"""Test the record of the commands that trained a study's runs."""

import json
from contextlib import suppress
from datetime import UTC, datetime

import pytest

from factories.commands import SMALL, nondet
from factories.studies import made_study
from nondet.analysis.summary import summarize
from nondet.json_files import format_checksummed, parse_checksummed
from nondet.report.build import build
from nondet.store import StoreError, verify
from nondet.store.commands import NAME, Command, read_commands, recorded
from nondet.training import loop

WORDS = ("nondet", "run", "quick", "--set", "a b", "x\udcff")


@pytest.fixture
def runs(tmp_path):
    (tmp_path / "runs").mkdir()
    return tmp_path / "runs"


def test_a_command_is_recorded_while_it_runs_and_when_it_ends(tmp_path, runs):
    (runs / "one").mkdir()
    before = datetime.now(UTC).replace(microsecond=0)
    with recorded(tmp_path, runs, WORDS):
        [running] = read_commands(tmp_path)
        (runs / "two").mkdir()
        (runs / "three").mkdir()
    [ended] = read_commands(tmp_path)
    assert running == Command((*WORDS[:-1], "x?"), running.began, None, 0)
    assert before <= datetime.fromisoformat(running.began) <= datetime.now(UTC)
    assert (ended.words, ended.began, ended.runs) == (running.words, running.began, 2)
    assert 0 <= ended.seconds < 60


def test_commands_stand_in_order_and_errors_end_them_too(tmp_path, runs):
    for name in ("a", "b"):
        with suppress(KeyboardInterrupt), recorded(tmp_path, runs, [name]):
            (runs / name).mkdir()
            raise KeyboardInterrupt
    assert [each.words for each in read_commands(tmp_path)] == [("a",), ("b",)]
    assert all(each.seconds is not None for each in read_commands(tmp_path))


def test_a_command_that_stores_nothing_leaves_no_trace(tmp_path, runs):
    with recorded(tmp_path, runs, ["idle"]):
        pass
    assert not (tmp_path / NAME).exists()
    with recorded(tmp_path, runs, ["busy"]):
        (runs / "a").mkdir()
    kept = (tmp_path / NAME).read_bytes()
    with recorded(tmp_path, runs, ["idle"]):
        pass
    assert (tmp_path / NAME).read_bytes() == kept


def test_a_killed_command_stays_without_a_duration(tmp_path, runs):
    context = recorded(tmp_path, runs, ["killed"])
    context.__enter__()
    with recorded(tmp_path, runs, ["next"]):
        (runs / "a").mkdir()
    killed, after = read_commands(tmp_path)
    assert (killed.words, killed.seconds) == (("killed",), None)
    assert after.seconds is not None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b'{"format": 3, "commands": []}',
        format_checksummed({"format": 3, "commands": [{"words": ["a"]}]}),
        format_checksummed(
            {
                "format": 3,
                "commands": [{"words": ["a"], "began": "today", "seconds": 1.0, "runs": 1}],
            }
        ),
    ],
)
def test_damage_is_named_and_hides_no_run(tmp_path, data):
    store = made_study(tmp_path / "study")
    (store.root / NAME).write_bytes(data)
    with pytest.raises(StoreError, match=f"{NAME} cannot be read: .*remove it to go on"):
        read_commands(store.root)
    assert any(NAME in problem for problem in verify(store.root).problems)
    summary = summarize(store.plan(), store)
    assert summary.commands == ()
    assert any(NAME in note for note in build(summary).notes)


def test_an_exchanged_word_is_noticed(tmp_path, runs):
    with recorded(tmp_path, runs, ["nondet", "run"]):
        (runs / "a").mkdir()
    path = tmp_path / NAME
    path.write_bytes(path.read_bytes().replace(b'"run"', b'"ran"'))
    with pytest.raises(StoreError, match="SHA-256"):
        read_commands(tmp_path)


def test_a_folder_without_commands_is_sound_and_reported(tmp_path):
    store = made_study(tmp_path / "study")
    sound = verify(store.root)
    assert not (store.root / NAME).exists()
    assert not any(NAME in problem for problem in sound.problems)
    assert build(summarize(store.plan(), store)).commands == ()


def test_the_command_of_a_study_is_in_its_report(tmp_path, monkeypatch):
    out = tmp_path / "study"
    words = [*SMALL, "--out", str(out)]
    monkeypatch.setattr("sys.argv", ["/usr/bin/nondet", *words])
    train, calls = loop.train, 0

    def interrupted(*arguments, **named):
        nonlocal calls
        calls += 1
        if calls == 8:
            raise KeyboardInterrupt
        return train(*arguments, **named)

    monkeypatch.setattr(loop, "train", interrupted)
    assert nondet(*words).exit_code == 130
    monkeypatch.setattr(loop, "train", train)
    addresses = {path.name for path in (out / "runs").iterdir()}
    assert nondet(*words).exit_code == 0
    assert addresses < {path.name for path in (out / "runs").iterdir()}
    first, second = read_commands(out)
    assert first.words == second.words == ("nondet", *words)
    assert first.runs + second.runs == len(list((out / "runs").iterdir()))
    assert verify(out).problems == []
    for name in ("report.html", "report.md"):
        text = (out / name).read_text()
        assert text.count(f"--out {out}") == 2
        assert f"{first.runs} runs stored" in text
        assert f"{second.began[:10]} {second.began[11:19]} UTC" in text
    kept = (out / NAME).read_bytes()
    assert nondet(*words).exit_code == 0  # nothing is left to train
    assert (out / NAME).read_bytes() == kept
    assert parse_checksummed(kept)["format"] == json.loads(kept)["format"] == 3
