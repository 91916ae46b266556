"""Test the settings of deterministic training, and what is told where the variable of cuBLAS comes
too late.
"""

import os
import subprocess
import sys

import pytest
import torch

from nondet.training.determinism import deterministic

# What torch's own message says, as far as it matters.
REFUSAL = (
    "Deterministic behavior was enabled with either `torch.use_deterministic_algorithms(True)` or "
    "..., but this operation is not deterministic because it uses CuBLAS; to enable it, set "
    "CUBLAS_WORKSPACE_CONFIG=:4096:8"
)


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (":4096:8", "before nondet set CUBLAS_WORKSPACE_CONFIG=:4096:8, which came too late"),
        (":16:8", "import nondet.training before the first product on a GPU"),
        (
            ":0:0",
            "is ':0:0', with which products on a GPU are not deterministic; set it to :4096:8",
        ),
    ],
)
def test_a_workspace_that_came_too_late_is_told(
    value: str, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", value)
    with pytest.raises(RuntimeError, match=wanted) as caught, deterministic():
        raise RuntimeError(REFUSAL)
    assert str(caught.value.__cause__) == REFUSAL
    assert not torch.are_deterministic_algorithms_enabled()


def test_other_errors_pass_unchanged() -> None:
    error = RuntimeError("out of memory")
    with pytest.raises(RuntimeError) as caught, deterministic():
        raise error
    assert caught.value is error


@pytest.mark.parametrize("before", [None, ":16:8"])
def test_the_variable_is_set_when_training_is_imported(before: str | None) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "CUBLAS_WORKSPACE_CONFIG"}
    if before is not None:
        environment["CUBLAS_WORKSPACE_CONFIG"] = before
    code = (
        "import os, sys, nondet; "
        "print(os.environ.get('CUBLAS_WORKSPACE_CONFIG')); "
        "import nondet.training; "
        "print(os.environ['CUBLAS_WORKSPACE_CONFIG'], 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    # A program that is only traced keeps the environment that it has.
    assert done.stdout.split() == [str(before), before or ":4096:8", "False"]
