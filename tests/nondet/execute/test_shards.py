"""Shards of a study end with the bits of one that was trained at once, and never mix environments.

Trainings are real.
"""

import threading
from contextlib import contextmanager
from dataclasses import replace

import pytest

from nondet import environment as environments
from nondet.execute import jobs, runner
from nondet.execute.executors import Serial
from nondet.execute.prefixes import Prefix, shared_prefixes
from nondet.execute.runner import LoggedProgress, run_study
from nondet.store import MixedStudyError, Store, verify
from nondet.store.lock import LOCK, acquire
from nondet.studies.catalog import find_study
from nondet.studies.job import Job
from nondet.studies.row import Row
from nondet.studies.seeds import Onset, Seeds
from nondet.studies.shards import Shard
from nondet.training import training

COUNT = 3


@pytest.fixture
def plan(digits):
    """Two models; rows that share runs, and runs that share their beginning."""
    rows = (
        Row("control"),
        Row("shuffling", ("shuffle",)),
        Row("shuffling, once more", ("shuffle",)),
        Row("late", ("bit",), onset=Onset(bit=1)),
        Row("later", ("bit",), onset=Onset(bit=2)),
    )
    plan = find_study("quick").plan(
        models=("linear", "hidden"), runs=2, epochs=3, settings={"warmup_epochs": 0}
    )
    return replace(plan, rows=rows).with_data({"digits": digits.sha256})


class Log(LoggedProgress):
    """Records which runs a process would show, and which it trained."""

    def __init__(self):
        self.share, self.done, self.trained = None, None, []

    def message(self, text):
        raise AssertionError(text)

    def start(self, plan, done, workers, share=None):
        self.share, self.done = share, done

    def finished(self, job, outcome):
        assert not outcome.failed
        self.trained.append(job)


def train(plan, folder, shard=None, log=None):
    """Train a study, or a shard of it; return which runs were trained, and if it ended last."""
    store, log = Store(folder), log or Log()
    with store.opened_for(plan, shard) as opened:
        assert run_study(plan, store, Serial, log, shard=opened) == 0
        return log.trained, opened is None or opened.leave()


def bits(folder):
    """Return every file of every run, but not the times and the checksums of files with times."""
    store = Store(folder)
    found = {}
    for job in store.plan().tasks():
        run = store.load(job)
        place = store.runs / job.address
        arrays = {path.name: path.read_bytes() for path in place.glob("*.safetensors")}
        found[job] = arrays, (place / "history.csv").read_bytes(), run.record["hashes"]
    return found


@pytest.fixture
def whole(plan, tmp_path):
    train(plan, tmp_path / "one" / "whole")
    return bits(tmp_path / "one" / "whole")


def test_shards_in_any_order_have_the_bits_of_the_whole_study(plan, whole, tmp_path):
    folder = tmp_path / "two" / "parts"
    trained = []
    for index in (3, 1, 2):
        mine, last = train(plan, folder, Shard(index, COUNT))
        assert set(mine) == Shard(index, COUNT).share(plan).keys()
        assert last  # none is trained at the same time
        trained += mine
    assert len(trained) == len(set(trained)) == len(plan.tasks())
    assert bits(folder) == whole
    assert verify(folder).problems == []
    assert train(plan, folder) == ([], True)  # nothing is missing


def test_a_shard_proves_the_control_of_its_own_models(plan, tmp_path, monkeypatch):
    proved, prove = [], runner.prove_control
    monkeypatch.setattr(
        runner,
        "prove_control",
        lambda configs, *rest: proved.append(configs) or prove(configs, *rest),
    )
    runs = len({job.address for job in plan.tasks()})
    train(plan, tmp_path / "study", Shard(1, runs))
    log = Log()
    train(plan, tmp_path / "study", Shard(runs, runs), log)
    assert [[config.model for config in configs] for configs in proved] == [["linear"], ["hidden"]]
    assert [job.config.model for job in log.share] == ["hidden"]


def test_a_shard_shows_its_own_runs(plan, tmp_path):
    folder, shard = tmp_path / "study", Shard(2, COUNT)
    train(plan, folder, Shard(1, COUNT))
    store = Store(folder)
    [aside, *_] = shard.share(plan)
    log = Log()
    train(plan, folder, shard, log)
    assert (set(log.share), log.done) == (shard.share(plan).keys(), {})
    store.set_aside(aside)
    log = Log()
    assert train(plan, folder, shard, log)[0] == [aside]
    assert set(log.share) == shard.share(plan).keys()
    assert log.done.keys() == shard.share(plan).keys() - {aside}


def test_an_empty_shard_does_nothing(plan, tmp_path):
    assert train(plan, tmp_path / "study", Shard(999, 1000)) == ([], True)


@pytest.mark.slow
def test_the_rest_may_be_divided_anew(plan, whole, tmp_path):
    folder = tmp_path / "two" / "parts"
    train(plan, folder, Shard(1, 2))
    mine, _ = train(plan, folder, Shard(1, 3))
    assert set(mine) == Shard(1, 3).share(plan).keys() - Shard(1, 2).share(plan).keys()
    train(plan, folder)
    assert bits(folder) == whole


@pytest.fixture
def elsewhere(monkeypatch):
    """Return a context in which this process has another environment."""
    describe = environments.describe_environment

    @contextmanager
    def elsewhere():
        with monkeypatch.context() as patch:
            for module in (jobs, training):
                patch.setattr(
                    module,
                    "describe_environment",
                    lambda device: {**describe(device), "torch_cpu_capability": "SSE9"},
                )
            yield

    return elsewhere


def test_runs_of_an_ended_shard_of_another_environment_are_not_joined(plan, tmp_path, elsewhere):
    folder = tmp_path / "study"
    with elsewhere():
        stored, _ = train(plan, folder, Shard(1, COUNT))
    with pytest.raises(MixedStudyError, match=rf"{len(stored)} runs were .*: SSE9 there"):
        train(plan, folder, Shard(2, COUNT))
    assert len(list((folder / "runs").iterdir())) == len(stored)


def test_runs_that_are_stored_meanwhile_are_not_joined_either(plan, tmp_path, elsewhere):
    """A shard of another environment begins and ends after this one has looked what is stored."""
    folder = tmp_path / "study"

    class Meanwhile(Serial):
        def __enter__(self):
            with elsewhere():
                train(plan, folder, Shard(1, COUNT))
            return self

    store = Store(folder)
    with (
        store.opened_for(plan, Shard(2, COUNT)) as opened,
        pytest.raises(MixedStudyError, match="SSE9 there"),
    ):
        run_study(plan, store, Meanwhile, Log(), shard=opened)


def test_a_shard_of_another_environment_under_way_is_not_joined(plan, tmp_path, elsewhere):
    """Though neither has stored anything."""
    folder = tmp_path / "study"
    store = Store(folder)

    class Meanwhile(Log):
        def proving(self):
            with (
                pytest.raises(MixedStudyError, match=r"shard 1/3 .*there.* SSE9 here"),
                elsewhere(),
            ):
                train(plan, folder, Shard(2, COUNT))

    with store.opened_for(plan, Shard(1, COUNT)) as opened:
        assert run_study(plan, store, Serial, Meanwhile(), shard=opened) == 0
    assert {run.name for run in store.runs.iterdir()} == {
        job.address for job in Shard(1, COUNT).share(plan)
    }


def test_the_first_shard_computes_the_states_for_all(config):
    """Those on its way; the others find them."""
    long = replace(config, epochs=9)
    late = {
        epoch: Job(long, Seeds(init=1, shuffle=2), onset=Onset(shuffle=epoch))
        for epoch in (2, 4, 6, 8)
    }
    [prefix] = shared_prefixes([late[4]])
    assert prefix.epochs == (4,)
    assert shared_prefixes([late[6]], late.values()) == [Prefix(prefix.job, (2, 4, 6))]
    assert shared_prefixes([late[2], late[8]], [late[4]]) == [Prefix(prefix.job, (2, 4, 8))]
    other = replace(late[4], config=replace(long, lr=0.123))
    assert shared_prefixes([late[4]], [other]) == [prefix]
    assert shared_prefixes([], [late[4]]) == []


def test_a_shared_beginning_is_trained_by_one_process(plan, tmp_path, monkeypatch):
    """Its lock is held while the states are read and computed, and a second process waits."""
    store = Store(tmp_path / "study")
    [prefix] = shared_prefixes(job for job in plan.tasks() if job.config.model == "linear")
    place, make_training, held = prefix.place(store.prefixes), jobs.loop.make_training, []

    def checked(*arguments):
        with (place / LOCK).open("a") as file:
            held.append(not acquire(file))
        return make_training(*arguments)

    monkeypatch.setattr(jobs.loop, "make_training", checked)
    threads = [
        threading.Thread(target=jobs.train_prefix, args=(store, None, prefix)) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert held == [True, True]
    assert sorted(path.name for path in place.glob("epoch-*")) == ["epoch-00001", "epoch-00002"]
