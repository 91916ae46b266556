"""Tests of the description of a run's environment."""

import importlib.metadata
import json
from functools import partial

from nondet.environment import decisive, describe, describe_environment, describe_git
from nondet.environment.describe import describe_driver
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


def test_a_cuda_device_is_described_with_its_libraries_and_the_driver(monkeypatch, tmp_path):
    """Of a made-up device: no GPU is needed."""
    driver = tmp_path / "version"
    driver.write_text("570.86.10\n")
    monkeypatch.setattr(describe, "describe_driver", partial(describe_driver, driver))
    monkeypatch.setattr("nondet.environment.probe.compute_probe", lambda device: {"sum": device})
    monkeypatch.setattr("torch.cuda.get_device_name", lambda device: f"the GPU {device}")
    monkeypatch.setattr("torch.version.cuda", "13.0")
    monkeypatch.setattr("torch.backends.cudnn.version", lambda: 92400)
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    with deterministic(1):
        found = describe_environment("cuda:1")
    assert json.loads(json.dumps(found)) == found
    names = ("gpu", "cuda", "cudnn", "driver")
    assert [found[name] for name in names] == ["the GPU cuda:1", "13.0", 92400, "570.86.10"]
    assert found["settings"]["cuda"]["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"
    switches = found["settings"]["cuda"]["torch"]
    for name in (
        *("backends.cudnn.allow_tf32", "backends.cudnn.conv.fp32_precision"),
        *("backends.cuda.matmul.fp32_precision", "backends.cudnn.benchmark"),
        "backends.cudnn.benchmark_limit",
    ):
        assert f"settings.cuda.torch.{name}" in decisive(found)
    assert switches["backends.cudnn.benchmark"] is False
    assert switches["backends.cudnn.benchmark_limit"] == "10"
    assert "driver" not in decisive(found)


def test_a_system_without_a_driver_has_none(tmp_path):
    assert describe_driver(tmp_path / "none") == ""
    assert describe_driver(tmp_path) == ""
    (tmp_path / "version").write_bytes(b"570\xff\nmore")
    assert describe_driver(tmp_path / "version") == "570\\xff"


def test_a_worker_process_has_the_decisive_parts_of_its_parent():
    tasks = [("cpu", 1), ("cpu", 2)]
    with LocalPool(1) as pool:
        there = dict(pool.map(environment_of, tasks))
    here = dict(Serial().map(environment_of, tasks))
    for task in tasks:
        assert decisive(there[task]) == decisive(here[task])
    assert decisive(here[tasks[0]]) != decisive(here[tasks[1]])
