"""Test that rows longer than torch sorts on CUDA are refused before anything changes."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import nondet_ext
from emulation.fixtures import running_on
from nondet_ext import _sorting

X = torch.arange(12.0)
INDEX = torch.arange(12)


def change(work: Callable[[torch.Tensor], object]) -> torch.Tensor:
    """Return a tensor that `work` has changed in place, and restore it if that raises."""
    x = X.clone()
    try:
        work(x)
    except ValueError:
        assert torch.equal(x, X)
        raise
    return x


WORKS: dict[str, tuple[str, Callable[[], torch.Tensor]]] = {
    "ranks": ("a row of x", lambda: nondet_ext.rankdata(X.repeat(2, 1))),
    "scatter": ("index", lambda: change(lambda x: nondet_ext.index_add_(x, 0, INDEX, X))),
    "seeded": (
        "index",
        lambda: nondet_ext.index_add(X, 0, INDEX, X, order="seeded", seed=3),
    ),
    "flips": ("idx", lambda: change(lambda x: nondet_ext.flip_ulp(x, INDEX))),
    "permutation": ("a permutation", lambda: nondet_ext.philox_permutation(12, seed=1)),
    "churn": ("labels", lambda: nondet_ext.churn(INDEX.repeat(3, 1) % 2, INDEX % 3)),
}


@pytest.mark.parametrize("work", WORKS)
def test_rows_longer_than_torch_sorts_are_refused(
    work: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, run = WORKS[work]
    expected = run()
    with running_on("emulated"):
        monkeypatch.setattr(_sorting, "MOST_ON_A_DEVICE", 12)
        assert torch.equal(run(), expected)
        monkeypatch.setattr(_sorting, "MOST_ON_A_DEVICE", 11)
        with pytest.raises(
            ValueError, match=f"{name} has 12 elements; on CUDA torch sorts at most"
        ):
            run()
    assert torch.equal(run(), expected)  # a CPU sorts any number


def test_nothing_else_calls_the_sort_of_torch() -> None:
    package = Path(_sorting.__file__).parent
    calls = {path.name for path in package.rglob("*.py") if "torch.sort(" in path.read_text()}
    assert calls == {"_sorting.py"}
