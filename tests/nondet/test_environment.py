"""What is said of where a run was computed."""

import importlib.metadata
import json
import subprocess

import pytest

from nondet.environment import describe_environment, describe_git
from nondet.training.determinism import deterministic


@pytest.fixture(autouse=True)
def _ask_again():
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


def test_environment_is_json_and_says_what_computes(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with deterministic(1):
        found = describe_environment("cpu")
    assert json.loads(json.dumps(found)) == found
    assert list(found["packages"]) == ["nondet", "torch", "numpy", "scikit-learn", "scipy"]
    assert found["packages"]["scipy"] == importlib.metadata.version("scipy")
    assert (found["torch_threads"], found["deterministic_algorithms"]) == (1, True)
    assert found["git"] is None
    assert "gpu" not in found


def test_commit_and_whether_tracked_files_differ(repository):
    assert describe_git(repository) is None  # no commit yet
    git(repository, "add", "notes.txt")
    git(repository, "commit", "--quiet", "--message", "one")
    (repository / "results").mkdir()
    (repository / "results" / "new.txt").write_text("what a study writes changes nothing")
    describe_git.cache_clear()
    commit = git(repository, "rev-parse", "HEAD")
    assert len(commit) == 40
    assert describe_git(repository) == {"commit": commit, "dirty": False}
    assert describe_git(repository / "results") == {"commit": commit, "dirty": False}

    (repository / "notes.txt").write_text("two")
    assert describe_git(repository)["dirty"] is False  # asked once per process
    describe_git.cache_clear()
    assert describe_git(repository) == {"commit": commit, "dirty": True}


def test_without_git_there_is_no_commit(repository, monkeypatch):
    monkeypatch.setenv("PATH", str(repository))
    assert describe_git(repository) is None
