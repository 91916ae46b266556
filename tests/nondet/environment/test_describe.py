"""Tests of the description of a run's environment."""

import importlib.metadata
import json

from nondet.environment import decisive, describe_environment, describe_git
from nondet.execute.executors import LocalPool, Serial
from nondet.execute.jobs import environment_of
from nondet.training.determinism import deterministic


def test_an_environment_is_json_and_has_versions_and_threads(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    describe_git.cache_clear()
    with deterministic(1):
        environment = describe_environment("cpu")
    assert json.loads(json.dumps(environment)) == environment
    assert list(environment["packages"]) == ["nondet", "torch", "numpy", "scikit-learn", "scipy"]
    assert environment["packages"]["scipy"] == importlib.metadata.version("scipy")
    assert (environment["torch_threads"], environment["deterministic_algorithms"]) == (1, True)
    assert environment["device"] == "cpu"
    assert environment["git"] is None
    assert "gpu" not in environment


def test_a_worker_process_has_the_decisive_parts_of_its_parent():
    tasks = [("cpu", 1), ("cpu", 2)]
    with LocalPool(1) as pool:
        there = dict(pool.map(environment_of, tasks))
    here = dict(Serial().map(environment_of, tasks))
    for task in tasks:
        assert decisive(there[task]) == decisive(here[task])
    assert decisive(here[tasks[0]]) != decisive(here[tasks[1]])
