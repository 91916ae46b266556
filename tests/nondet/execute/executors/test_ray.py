"""Executing items as tasks of a real Ray with two processors on this machine."""

import hashlib
import importlib.util
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from factories import jobs
from factories.commands import SMALL
from factories.jobs import describe_process, process_item, processes, run_job_until_killed
from nondet.execute import runner
from nondet.execute.executors import ExecutorError, JobFailedError, LocalPool, RayTasks
from nondet.execute.executors.ray_connection import probe
from nondet.execute.runner import run_study
from nondet.files import is_unfinished
from nondet.store import Store
from nondet.studies.catalog import find_study

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed"),
]


@pytest.fixture(scope="module")
def ray(tmp_path_factory):
    """A local Ray. Functions of `factories.jobs` are sent by value, as workers cannot import it."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
            patch.delenv(name, raising=False)
        patch.setenv("HOME", str(home := tmp_path_factory.mktemp("home")))
        with RayTasks(workers=2) as tasks:
            from ray import cloudpickle  # not before: RayTasks sets variables that Ray then reads

            cloudpickle.register_pickle_by_value(jobs)
            try:
                yield tasks
            finally:
                cloudpickle.unregister_pickle_by_value(jobs)
        assert list(home.rglob("auth_token")) == []
        assert "RAY_AUTH_MODE" not in os.environ


ROWS = ("control", "initialization", "shuffling", "low-level order", "one bit")


class Progress:
    """Records messages and events of a running study."""

    def __init__(self):
        self.messages, self.failed, self.done = [], [], 0

    def message(self, text):
        self.messages.append(text)

    def proving(self):
        pass

    def start(self, plan, done, workers):
        pass

    def finished(self, job, outcome):
        self.done += 1
        if outcome.failed:
            self.failed.append(job)


def descendants(process):
    """Return the IDs of a process and of all that it started, directly or not."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    found = {process}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def listening(process):
    """Return the addresses on which a process accepts connections, as texts in hexadecimal."""
    sockets = set()
    for path in Path(f"/proc/{process}/fd").iterdir():
        with suppress(OSError):
            sockets.add(str(path.readlink()))
    found = []
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/{process}/net/{name}").read_text().splitlines()[1:]:
            _, local, _, state, *_, inode = line.split()[:10]
            if state == "0A" and f"socket:[{inode}]" in sockets:
                found.append(local.partition(":")[0])
    return found


def test_a_ray_that_is_started_listens_on_the_loopback_interface(ray):
    """As do all processes of it, those of tasks included."""
    assert dict(ray.map(abs, [-1, 2])) == {-1: 1, 2: 2}
    addresses = Counter()
    for process in descendants(os.getpid()):
        with suppress(FileNotFoundError):  # it has ended
            addresses.update(listening(process))
    assert sum(addresses.values()) >= 3
    ipv4, ipv6 = "0100007F", "00000000000000000000000001000000"
    assert set(addresses) <= {ipv4, ipv6, f"0000000000000000FFFF0000{ipv4}"}


RIGHT = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "right" * 8}
CLUSTER = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"  # "0": of this machine alone, for the tests


@pytest.fixture
def silent():
    """A socket that listens, and never answers."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        found.listen()
        yield found


@pytest.fixture
def closing(silent):
    """A socket that closes every connection at once."""

    def close():
        with suppress(OSError):
            while True:
                silent.accept()[0].close()

    threading.Thread(target=close, daemon=True).start()
    return silent


@pytest.mark.parametrize("kind", ["silent", "closing"])
def test_a_service_that_is_no_ray_is_left(kind, request, monkeypatch):
    """After the deadline; Ray itself would go on trying."""
    port = request.getfixturevalue(kind).getsockname()[1]
    monkeypatch.setenv(CLUSTER, "0")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    text = probe(f"127.0.0.1:{port}", 20)
    assert text.startswith("it has not answered within 20 s")


@contextmanager
def started(folder):
    """Start a Ray by `ray start`, whose token is RIGHT; yield its process and its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [Path(sys.executable).with_name("ray"), "start", "--head", f"--port={port}"]
    command += ["--num-cpus=2", "--include-dashboard=false", "--disable-usage-stats", "--block"]
    with (folder / "log").open("w") as log:
        head = subprocess.Popen(
            [*map(str, command)], stdout=log, stderr=log, env=os.environ | RIGHT | {CLUSTER: "0"}
        )
    try:
        while "--block" not in (folder / "log").read_text():
            assert head.poll() is None, (folder / "log").read_text()
            time.sleep(0.1)
        yield head, f"127.0.0.1:{port}"
    finally:
        head.terminate()
        head.wait()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """The address of a Ray that `ray start` has started."""
    with started(tmp_path_factory.mktemp("cluster")) as (_, address):
        yield address


def start_there(cluster, folder, *options, **variables):
    """Start a small study on a cluster, in a process of its own."""
    command = [sys.executable, "-m", "nondet", *SMALL[:-2], *options, "--quiet", "--out", folder]
    command += ["--executor", "ray", "--ray-address", cluster]
    known = {name: value for name, value in os.environ.items() if "RAY_" not in name}
    return subprocess.Popen(
        [*map(str, command)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=known | {CLUSTER: "0"} | variables,
    )


def test_a_cluster_is_used_with_its_token(cluster, tmp_path):
    process = start_there(cluster, tmp_path / "study", **RIGHT)
    output, errors = process.communicate()
    assert process.returncode == 0, errors
    assert "all sources" in output


@pytest.mark.parametrize(
    ("variables", "text"),
    [
        (
            {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "wrong" * 8},
            "token is missing or incorrect",
        ),
        ({"RAY_AUTH_MODE": "disabled"}, "token is missing or incorrect"),
        ({"RAY_AUTH_MODE": "token", "HOME": "/nonexistent"}, "no authentication token was found"),
    ],
    ids=["wrong", "none", "missing"],
)
def test_a_wrong_token_is_called_that(cluster, variables, text, tmp_path):
    process = start_there(cluster, tmp_path / "study", **variables)
    _, errors = process.communicate()
    assert process.returncode == 2
    assert errors.startswith(f"error: cannot connect to Ray at '{cluster}': ")
    assert text in errors
    assert "no Ray" not in errors


def test_a_cluster_that_is_gone_ends_the_study(tmp_path):
    """Its head is killed while runs are under way, of which there are thousands."""
    folder = tmp_path / "study"
    with started(tmp_path) as (head, address):
        process = start_there(address, folder, "--runs", "500", **RIGHT)
        while not list((folder / "runs").glob("*/run.json")):
            assert process.poll() is None, process.communicate()
            time.sleep(0.1)
        [server] = [
            each
            for each in descendants(head.pid)
            if "gcs_server" in Path(f"/proc/{each}/cmdline").read_text().partition("\0")[0]
        ]
        os.kill(server, signal.SIGKILL)
        _, errors = process.communicate()
    assert process.returncode == 2
    silent = (
        f"error: Ray at {address!r} does not answer: asking for its (nodes|resources) has taken"
    )
    assert re.search(silent, errors)


def test_tasks_have_one_thread_the_working_directory_and_the_data(ray, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NONDET_DATA", "some/folder")
    assert ray.workers == 2
    [(_, (process, directory, threads, variables))] = ray.map(describe_process, [0])
    assert process != os.getpid()
    assert (directory, threads) == (tmp_path, 1)
    assert variables.pop("NONDET_DATA") == str(tmp_path / "some/folder")
    assert set(variables.values()) == {"1"}


def test_a_failing_item_affects_no_other(ray, tmp_path):
    items = ["a", "b", "raise 9", "kill 1", "c", "kill 9", "d", "e"]
    values = dict(ray.attempt(partial(process_item, tmp_path), items))
    raised, died = values.pop("raise 9"), values.pop("kill 9")
    assert values == {item: item.upper() for item in ("a", "b", "kill 1", "c", "d", "e")}
    assert (type(raised), raised.kind) == (JobFailedError, "IndexError")
    assert str(raised) == "IndexError: not now"
    assert "in process_item" in raised.__notes__[0]
    assert (type(died), died.kind) == (JobFailedError, "died")
    assert [len(processes(tmp_path / item)) for item in items] == [1, 1, 2, 2, 1, 2, 1, 1]
    assert len(set(processes(tmp_path / "kill 1"))) == 2


def test_a_fresh_item_has_a_worker_that_nothing_else_had(ray, tmp_path):
    task, ids = partial(process_item, tmp_path), {}
    for kind in ("used", "fresh", "after"):
        items = [f"{kind}{i}" for i in range(5)]
        assert len(dict(ray.map(task, items, fresh=kind == "fresh"))) == 5
        ids[kind] = [process for item in items for process in processes(tmp_path / item)]
    assert len(set(ids["fresh"])) == len(ids["fresh"]) == 5
    assert not set(ids["fresh"]) & set(ids["used"] + ids["after"])
    assert len(set(ids["used"] + ids["after"])) < 10


def bits(plan, store):
    """Return the results of every run, and the hashes of its files."""
    results = {}
    for job in plan.tasks():
        run = store.load(job)
        assert run.failure is None
        folder = store.runs / job.address
        files = {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()
        }
        timed = ("run.json", "SHA256SUMS")  # contain the wall time
        assert set(timed) < set(files)
        kept = {name: digest for name, digest in files.items() if name not in timed}
        results[job] = run.history, run.record["hashes"], run.logits.tobytes(), kept
    return results


def test_a_study_with_a_killed_worker_has_the_bits_of_the_local_pool(ray, tmp_path, monkeypatch):
    plan = find_study("quick").plan(
        models=("linear",), runs=2, epochs=1, settings={"warmup_epochs": 0}
    )
    plan = replace(plan, rows=tuple(row for row in plan.rows if row.name in ROWS))
    local, tasks = Store(tmp_path / "local" / "study"), Store(tmp_path / "ray" / "study")
    with local.opened_for(plan):
        assert run_study(plan, local, lambda: LocalPool(1), Progress()) == 0

    log = tmp_path / "process"
    done_before = []

    def kill():
        while not log.exists():
            time.sleep(0.01)
        while not any(tasks.runs.iterdir()):
            time.sleep(0.01)
        done_before.extend(tasks.runs.iterdir())
        os.kill(int(log.read_text()), signal.SIGKILL)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    monkeypatch.setattr(runner, "run_job", partial(run_job_until_killed, log))
    progress = Progress()
    with tasks.opened_for(plan):
        crashed = run_study(plan, tasks, lambda: RayTasks(folder=tasks.root), progress)
    killer.join(timeout=60)
    assert 0 < len(done_before) < len(plan.tasks())
    assert (crashed, progress.failed, progress.done) == (0, [], len(plan.tasks()))
    [text] = progress.messages
    assert "a run of 'linear' crashed and is tried again" in text
    assert "the process or its node was lost: The worker died unexpectedly" in text
    assert bits(tasks.plan(), tasks) == bits(local.plan(), local)
    assert not any(is_unfinished(path) for path in tasks.root.rglob("*"))


def test_a_node_that_cannot_access_the_study_is_named(ray, tmp_path, monkeypatch):
    # The token file is never created, so that the node does not find it.
    monkeypatch.setattr(Path, "touch", lambda path, **named: None)
    with (
        pytest.raises(ExecutorError, match=r"node \S+ \(.*\) cannot access") as hit,
        RayTasks(folder=tmp_path),
    ):
        pass
    assert str(tmp_path) in str(hit.value)


def test_missing_gpus_are_an_error(ray):
    with pytest.raises(ExecutorError, match=r"gpus_per_run is 0\.5, but .* 0 GPUs"):
        RayTasks(gpus_per_run=0.5).__enter__()


@pytest.mark.parametrize("gpus", [-0.5, 1.5, float("nan")])
def test_impossible_shares_of_a_gpu_are_an_error(gpus):
    with pytest.raises(ValueError, match="gpus_per_run is "):
        RayTasks(gpus_per_run=gpus)


def test_few_tasks_are_active_at_a_time(ray, monkeypatch):
    import ray as library

    most, wait = 0, library.wait

    def counted(handles, **options):
        nonlocal most
        most = max(most, len(handles))
        return wait(handles, **options)

    monkeypatch.setattr(library, "wait", counted)
    assert len(dict(ray.map(abs, range(30)))) == 30
    assert most == 2
    with RayTasks() as unbounded:
        assert len(dict(unbounded.map(abs, range(30)))) == 30
    assert most == 4
