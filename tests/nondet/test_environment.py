"""Tests of the description of a run's environment."""

import importlib.metadata
import json
import subprocess

import pytest

from nondet.environment import describe_environment, describe_git
from nondet.training.determinism import deterministic


@pytest.fixture(autouse=True)
def _run_git_again():
    describe_git.cache_clear()
    yield
    describe_git.cache_clear()


def git(folder, *arguments):
    identity = ["-c", "user.name=nobody", "-c", "user.email=nobody@localhost"]
    return subprocess.run(
        ["git", "-C", folder, *identity, *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def repository(tmp_path):
    try:
        git(tmp_path, "init", "--quiet")
    except FileNotFoundError:
        pytest.skip("git is not installed")
    (tmp_path / "notes.txt").write_text("one")
    return tmp_path


def test_an_environment_is_json_and_has_versions_and_threads(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with deterministic(1):
        environment = describe_environment("cpu")
    assert json.loads(json.dumps(environment)) == environment
    assert list(environment["packages"]) == ["nondet", "torch", "numpy", "scikit-learn", "scipy"]
    assert environment["packages"]["scipy"] == importlib.metadata.version("scipy")
    assert (environment["torch_threads"], environment["deterministic_algorithms"]) == (1, True)
    assert environment["git"] is None
    assert "gpu" not in environment


def test_changes_are_those_of_tracked_files(repository):
    assert describe_git(repository) is None  # no commit yet
    git(repository, "add", "notes.txt")
    git(repository, "commit", "--quiet", "--message", "one")
    (repository / "results").mkdir()
    (repository / "results" / "new.txt").write_text("an untracked file")
    describe_git.cache_clear()
    commit = git(repository, "rev-parse", "HEAD")
    assert len(commit) == 40
    assert describe_git(repository) == {"commit": commit, "dirty": False}
    assert describe_git(repository / "results") == {"commit": commit, "dirty": False}

    (repository / "notes.txt").write_text("two")
    assert describe_git(repository)["dirty"] is False  # git runs once per process
    describe_git.cache_clear()
    assert describe_git(repository) == {"commit": commit, "dirty": True}


def test_without_git_there_is_no_commit(repository, monkeypatch):
    monkeypatch.setenv("PATH", str(repository))
    assert describe_git(repository) is None
