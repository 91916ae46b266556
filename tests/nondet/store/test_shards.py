"""Test which shards of a study may be under way at the same time, and what is known of them."""

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import ExitStack

import pytest

from nondet.environment import describe_environment
from nondet.store import MixedStudyError, Store, StoreError, list_runs, lock, verify
from nondet.store.commands import read_commands, recorded
from nondet.store.shards import FOLDER, shard_states
from nondet.studies.shards import Shard

HERE = {("cpu", 1): describe_environment("cpu")}
ELSEWHERE = {("cpu", 1): {**HERE["cpu", 1], "torch_cpu_capability": "SSE9"}}


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "study")


def running(store):
    return [str(state.shard) for state in shard_states(store.root) if state.running]


def test_shards_share_a_folder_that_no_whole_study_shares(store, plan):
    with store.opened_for(plan, Shard(1, 3)), Store(store.root).opened_for(plan, Shard(3, 3)):
        assert running(store) == ["1/3", "3/3"]
        with pytest.raises(StoreError, match=r"in use by shard 1/3 \(process \d+ on .*shard 3/3 "):
            Store(store.root).opened_for(plan).__enter__()
    assert running(store) == []
    with (
        store.opened_for(plan),
        pytest.raises(StoreError, match=rf"in use by another process \(process {os.getpid()} on "),
    ):
        Store(store.root).opened_for(plan, Shard(2, 3)).__enter__()
    with store.opened_for(plan, Shard(2, 3)):
        assert running(store) == ["2/3"]


def test_a_shard_is_trained_by_one_process(store, plan, monkeypatch):
    monkeypatch.setattr("nondet.store.shards._LONGEST_LOOK", 0.0)
    with store.opened_for(plan, Shard(2, 3)):
        with pytest.raises(StoreError, match=rf"2/3 of .* already by process {os.getpid()} on "):
            Store(store.root).opened_for(plan, Shard(2, 3)).__enter__()
        assert running(store) == ["2/3"]  # the refused one has not ended it


def test_shards_of_another_number_wait(store, plan):
    with (
        store.opened_for(plan, Shard(2, 3)),
        pytest.raises(
            StoreError, match=r"number of shards than 4: shard 2/3 \(process \d+ on [^,]*\. W"
        ),
    ):
        Store(store.root).opened_for(plan, Shard(4, 4)).__enter__()
    with store.opened_for(plan, Shard(4, 4)):
        assert running(store) == ["4/4"]


def test_a_shard_that_fails_ends(store, plan):
    with pytest.raises(KeyError), store.opened_for(plan, Shard(2, 3)):
        raise KeyError
    assert shard_states(store.root) == []


KILLED = """
import json, os, signal, sys
from pathlib import Path
from nondet.store import Store
from nondet.studies.shards import Shard
from nondet.studies.study import Plan
with Store(Path(sys.argv[1])).opened_for(Plan.from_json(json.loads(sys.argv[2])), Shard(2, 3)):
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def killed(store, plan):
    """A study whose shard 2/3 was killed."""
    command = [sys.executable, "-c", KILLED, store.root, json.dumps(plan.to_json())]
    assert subprocess.run(command).returncode == -signal.SIGKILL
    return store


def test_a_killed_shard_is_listed_until_it_is_repeated(killed, plan):
    [state] = shard_states(killed.root)
    assert (str(state.shard), state.running) == ("2/3", False)
    assert state.process.startswith("process ")
    [listed] = list_runs(killed).shards
    assert (listed.state, listed.stored) == (state, 0)
    assert listed.planned == len(Shard(2, 3).share(plan))
    assert verify(killed.root).problems == []
    with killed.opened_for(plan, Shard(2, 3)):
        assert running(killed) == ["2/3"]
    assert shard_states(killed.root) == []


@pytest.mark.parametrize("next_one", [None, Shard(1, 2)])
def test_a_killed_shard_is_forgotten_when_the_runs_are_divided_anew(killed, plan, next_one):
    with killed.opened_for(plan, next_one):
        assert [state.shard for state in shard_states(killed.root)] == [next_one][: bool(next_one)]
    assert shard_states(killed.root) == []


def test_a_killed_shard_leaves_the_others_alone(killed, plan):
    with killed.opened_for(plan, Shard(1, 3)):
        assert [state.running for state in shard_states(killed.root)] == [True, False]


def test_of_shards_that_end_together_one_is_the_last(store, plan):
    count = 8
    barrier, last = threading.Barrier(count), []

    def train(index):
        with Store(store.root).opened_for(plan, Shard(index, count)) as opened:
            barrier.wait()
            last.append(opened.leave())

    threads = [threading.Thread(target=train, args=[i]) for i in range(1, count + 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(last) == [False] * (count - 1) + [True]
    assert store.plan().differences(plan) == []  # they have set it up together
    assert verify(store.root).problems == []


def test_environments_of_shards_under_way_must_agree(store, plan):
    with store.opened_for(plan, Shard(1, 2)) as one:
        with Store(store.root).opened_for(plan, Shard(2, 2)) as other:
            other.announce(ELSEWHERE)  # the first has announced nothing yet
            with pytest.raises(MixedStudyError, match=r"shard 2/2 .*SSE9 there, .* here"):
                one.announce(HERE)
            one.announce(HERE, allow_mixed=True)
            other.announce(ELSEWHERE, allow_mixed=True)
        one.announce(HERE)  # the runs of the other one are compared instead


def test_devices_of_shards_may_differ(store, plan):
    with (
        store.opened_for(plan, Shard(1, 2)) as one,
        Store(store.root).opened_for(plan, Shard(2, 2)) as other,
    ):
        other.announce({("cuda", 1): ELSEWHERE["cpu", 1]})
        one.announce(HERE)


def test_the_environment_of_a_killed_shard_is_not_compared(killed, plan):
    [path] = (killed.root / FOLDER).glob("2-of-3")
    with path.open("r+b", buffering=0) as file:
        lock.write_owner(
            file,
            began="2026-01-01T00:00:00+00:00",
            environments=[
                {"device": "cpu", "threads": 1, "environment": ELSEWHERE["cpu", 1]},
            ],
        )
    [state] = shard_states(killed.root)
    assert state.environments == ELSEWHERE
    with killed.opened_for(plan, Shard(1, 3)) as opened:
        opened.announce(HERE)


@pytest.mark.parametrize("data", ["{}", "x", '{"sha256": "0"}'])
def test_a_damaged_file_is_a_problem_and_no_obstacle(store, plan, data):
    with store.opened_for(plan, Shard(1, 2)):
        pass
    (store.root / FOLDER / "1-of-2").write_text(data)
    [problem] = verify(store.root).problems
    assert "1-of-2" in problem
    [state] = shard_states(store.root)
    assert (state.running, state.process) == (False, "process unknown")
    with store.opened_for(plan, Shard(1, 2)):
        assert running(store) == ["1/2"]
    assert verify(store.root).problems == []


def test_strange_names_are_no_shards(store, plan):
    with store.opened_for(plan, Shard(1, 2)):
        pass
    for name in ("3-of-2", "0-of-2", "1-of-9999999", "01-of-2", "notes.txt", ".hidden"):
        (store.root / FOLDER / name).write_text("x")
    assert shard_states(store.root) == []


@pytest.mark.parametrize("shard", [None, Shard(1, 2)])
def test_a_folder_with_other_files_is_refused_as_it_is(tmp_path, plan, shard):
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(StoreError, match="not empty and holds no study"):
        Store(tmp_path).opened_for(plan, shard).__enter__()
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("shard", [None, Shard(1, 2)])
def test_a_file_system_without_locks_is_named(store, plan, shard, monkeypatch):
    def none(file, operation):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", none)
    with pytest.raises(StoreError, match=r"cannot lock .*\.lock: No locks available\. Choose "):
        store.opened_for(plan, shard).__enter__()


def test_commands_of_shards_do_not_replace_each_other(store, plan):
    """Whichever begins or ends first."""
    with ExitStack() as first:
        one = first.enter_context(store.opened_for(plan, Shard(1, 2)))
        first.enter_context(recorded(store.root, store.runs, ["1"], alone=one.alone))
        with Store(store.root).opened_for(plan, Shard(2, 2)) as other:
            with recorded(store.root, store.runs, ["2"], alone=other.alone):
                (store.runs / ("ab" * 16)).mkdir()
            assert [each.seconds is None for each in read_commands(store.root)] == [True, False]
    assert [each.words for each in read_commands(store.root)] == [("1",), ("2",)]
    assert all(each.seconds is not None for each in read_commands(store.root))
