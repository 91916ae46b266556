"""Tests of the description of a git repository."""

import subprocess

import pytest

from nondet.environment import describe_git


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
