"""Test what is said of a Ray that does not answer, with stand-ins for the package and its cluster.

`test_ray` tries a real one.
"""

import importlib.metadata
import importlib.util
import os
import socket
import subprocess
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from nondet.execute.executors import ExecutorError, JobFailedError, RayTasks, ray_tasks
from nondet.execute.executors.deadlines import Caller
from nondet.execute.executors.ray_connection import Connection, check_installed, probe


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Return a function that makes `import ray` in other processes load this code."""

    def package(code):
        (tmp_path / "ray.py").write_text(f"import os, sys, time\n{code}\n")
        paths = [str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))

    return package


def test_a_cluster_that_answers_has_no_problem(package):
    package("nodes = list\ndef init(**settings): assert settings['address'] == 'here:1'")
    assert probe("here:1", 600) is None


def test_a_cluster_that_never_answers_is_left(package):
    package("def init(**settings): time.sleep(600)")
    assert probe("here:1", 0.01) == "it has not answered within 0.01 s"


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (
            "def init(**settings):\n"
            "    try: raise ValueError('the token is wrong')\n"
            "    except ValueError as error: raise RuntimeError('no connection') from error",
            "no connection; caused by: the token is wrong",
        ),
        (
            "def init(**settings):\n"
            "    print('[2026-01-01 00:00:00,0 E 7 7] gcs.h:12: No GCS!', file=sys.stderr)\n"
            "    sys.stderr.flush()\n"
            "    os._exit(3)",
            "Ray ended the process that connected to it, with status 3: No GCS!",
        ),
        (
            "def init(**settings): os._exit(3)",
            "Ray ended the process that connected to it, with status 3: no output",
        ),
        ("def init(**settings): pass\ndef nodes(): raise ConnectionError('gone')", "gone"),
    ],
    ids=["error", "exit", "silent exit", "later"],
)
def test_the_cause_is_passed_on(package, code, text):
    package(code)
    assert probe("here:1", 600) == text


def test_what_ray_says_before_it_hangs_is_passed_on(package, tmp_path, monkeypatch):
    said, wait = tmp_path / "said", subprocess.Popen.wait
    package(
        "def init(**settings):\n"
        "    print('[2026-01-01 E 7 7] rpc_client.h:12: Failed to connect', file=sys.stderr)\n"
        "    sys.stderr.flush()\n"
        f"    open({str(said)!r}, 'w').close()\n"
        "    time.sleep(600)"
    )

    def wait_until_said(process, timeout=None):
        while timeout is not None and not said.exists():
            threading.Event().wait(0.01)
        return wait(process, timeout and 0)

    monkeypatch.setattr(subprocess.Popen, "wait", wait_until_said)
    assert probe("here:1", 5) == "it has not answered within 5 s; Ray said: Failed to connect"


@pytest.fixture
def installed(monkeypatch):
    """Pretend that Ray is installed, and return a function that sets its version."""
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: name == "ray" or find(name, *rest)
    )
    version = importlib.metadata.version

    def set_version(text):
        monkeypatch.setattr(
            importlib.metadata,
            "version",
            lambda name: text if name == "ray" else version(name),
        )

    set_version("2.59.0")
    return set_version


@pytest.mark.parametrize("version", ["2.59.0", "2.60.1", "2.100", "3.0.0rc1", "2.59.0.post1"])
def test_a_ray_that_asks_for_tokens_is_accepted(installed, version):
    installed(version)
    check_installed()


@pytest.mark.parametrize("version", ["2.58.1", "2.9.3", "1.99"])
def test_a_ray_that_asks_nobody_is_refused(installed, version):
    installed(version)
    with pytest.raises(ImportError, match=rf"^Ray {version} is installed.*2\.59 or later"):
        RayTasks()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_an_address_where_nothing_listens_is_refused_at_once(installed, host, monkeypatch):
    monkeypatch.setattr(Connection, "ray", SimpleNamespace(is_initialized=lambda: False))
    with socket.socket() as taken:
        taken.bind(("", 0))  # but it does not listen
        address = f"{host}:{taken.getsockname()[1]}"
        with pytest.raises(ExecutorError, match=r"^no Ray at '.*': Connection refused$") as hit:
            RayTasks(address).__enter__()
    assert address in str(hit.value)


def test_an_address_that_is_none_is_refused_with_the_reason(installed, monkeypatch):
    monkeypatch.setattr(Connection, "ray", SimpleNamespace(is_initialized=lambda: False))
    with pytest.raises(ExecutorError, match=r"^no Ray at '127\.0\.0\.1:65536': there is no port"):
        RayTasks("127.0.0.1:65536").__enter__()


class Ray:
    """A stand-in for the package, connected to a cluster that has one node with two processors."""

    class exceptions:  # noqa: N801
        class RayError(Exception):
            pass

        class GetTimeoutError(RayError):
            pass

        class RayTaskError(RayError):
            pass

        class WorkerCrashedError(RayError):
            pass

    def __init__(self):
        self.ended, self.results = 0, []

    def is_initialized(self):
        return True

    def cluster_resources(self):
        return {"CPU": 2.0}

    def nodes(self):
        return [{"Alive": True}]

    def remote(self, function):
        return SimpleNamespace(
            options=lambda **options: SimpleNamespace(remote=lambda *arguments: arguments[1])
        )

    def wait(self, handles, num_returns, timeout):
        return handles[:1], handles[1:]

    def get(self, task, timeout):
        result = self.results.pop(0) if self.results else task
        if isinstance(result, Exception):
            raise result
        return result

    def cancel(self, handle, force):
        pass


@pytest.fixture
def ray(installed, monkeypatch):
    monkeypatch.setattr(ray_tasks, "_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(ray_tasks, "_ANSWER_SECONDS", 600.0)
    ray = Ray()
    monkeypatch.setattr(Connection, "ray", ray)
    return ray


def test_items_of_a_cluster_that_answers_have_values(ray):
    with RayTasks("here:1") as tasks:
        assert sorted(tasks.map(abs, [1, 2, 3])) == [(1, 1), (2, 2), (3, 3)]


def test_a_run_may_take_longer_than_any_question(ray):
    waits = []

    def wait(handles, num_returns, timeout):
        waits.append(timeout)
        return ([], handles) if len(waits) < 5 else (handles, [])

    ray.wait = wait
    with RayTasks("here:1") as tasks:
        assert list(tasks.map(abs, [7])) == [(7, 7)]
    assert waits == [0.0] * 5


@pytest.mark.parametrize("what", ["its nodes", "the tasks that ended", "a task", "its resources"])
def test_a_cluster_that_stops_answering_ends_the_study(ray, what, monkeypatch):
    """As it does when its head is gone while runs are under way."""
    asked, ended = [], []

    def within(caller, seconds, doing, call):
        asked.append(doing)
        if doing == f"asking for {what}":
            raise ExecutorError(f"{doing} has taken more than {seconds:g} s")
        return call()

    monkeypatch.setattr(Caller, "within", within)
    ray.wait = lambda handles, **named: ([], handles)
    ray.cancel = lambda *arguments, **named: ended.append(arguments)
    text = rf"^Ray at 'here:1' does not answer: asking for {what} has taken more than 600 s$"
    with pytest.raises(ExecutorError, match=text), RayTasks("here:1") as tasks:
        list(tasks.map(abs, [7]))
    assert asked[-1] == f"asking for {what}"  # nothing more is asked
    assert ended == []


def test_an_error_of_the_cluster_is_passed_on(ray):
    def nodes():
        raise RuntimeError("cannot do that") from ValueError("the token is wrong")

    ray.wait = lambda handles, **named: ([], handles)
    ray.nodes = nodes
    text = r"^Ray at 'here:1': cannot do that; caused by: the token is wrong$"
    with pytest.raises(ExecutorError, match=text), RayTasks("here:1") as tasks:
        list(tasks.map(abs, [7]))


def test_a_killed_worker_is_told_of_counted_and_given_up(ray):
    lost = Ray.exceptions.WorkerCrashedError("The worker died unexpectedly. Look at the logs.")
    ray.results = [lost, 7]
    told = []
    with RayTasks("here:1") as tasks:
        assert list(tasks.attempt(abs, [7], 2, lambda *each: told.append(each))) == [(7, 7)]
        [(item, error)] = told
        assert (item, type(error), error.kind) == (7, JobFailedError, "died")
        assert str(error) == "the process or its node was lost: The worker died unexpectedly"
        ray.results = [lost] * 9
        [(_, value)] = tasks.attempt(abs, [7], 3, lambda *each: told.append(each))
    assert (type(value), len(told), len(ray.results)) == (JobFailedError, 3, 6)


def test_a_node_that_runs_no_task_is_named(ray, tmp_path, monkeypatch):
    node = {"Alive": True, "Resources": {"CPU": 1}, "NodeID": "1"}
    ray.nodes = lambda: [{**node, "NodeManagerHostname": "far", "NodeManagerAddress": "10.0.0.9"}]
    ray.util = SimpleNamespace(
        scheduling_strategies=SimpleNamespace(NodeAffinitySchedulingStrategy=lambda *a, **n: None)
    )
    ray.remote = lambda function: SimpleNamespace(
        options=lambda **options: SimpleNamespace(remote=lambda *arguments: 1)
    )
    ray.results = [Ray.exceptions.GetTimeoutError("Get timed out")]
    with pytest.raises(ExecutorError, match=r"^node far \(10\.0\.0\.9\) has not run a task"):
        RayTasks("here:1", folder=tmp_path).__enter__()
    assert list(Path(tmp_path).iterdir()) == []
