"""Former names of the serial executor still work, with a warning."""

import pytest

from factories.commands import nondet
from nondet.execute import executors


def test_former_name_of_the_class():
    with pytest.warns(DeprecationWarning, match="Serial"):
        assert executors.InProcess is executors.Serial


def test_unknown_name_is_an_error():
    with pytest.raises(AttributeError, match="Parallel"):
        executors.Parallel  # noqa: B018


def test_former_name_on_the_command_line():
    done = nondet(
        *("verify-resume", "quick", "--model", "linear", "--epochs", "1", "--at", "1"),
        *("--set", "warmup_epochs=0"),
        *("--executor", "inprocess"),
    )
    assert done.exit_code == 0, done.stderr
    assert "deprecated" in done.stderr
    assert "stopped at step 1 of 42" in done.stdout
