"""Each planted script, run as its plan says: its cause is named, and its line."""

import pytest
import torch

from planted.plan import PLAN, Planted
from planted.tracing import causes, compare, lines_of

QUICK = ("no_seed",)
"""Scripts that the tests of every day run, too."""


def has_low_precision() -> bool:
    """Return True if this processor multiplies matrices in bfloat16, which "medium" asks for."""
    return (
        bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()) and torch.backends.mkldnn.is_available()
    )


def parameters() -> list[object]:
    """Return the planted scripts with their marks."""
    found = []
    for planted in PLAN:
        marks = [] if planted.script in QUICK else [pytest.mark.slow]
        if planted.script == "matmul_precision" and not has_low_precision():
            marks.append(pytest.mark.skip(reason="the processor has no products of bfloat16"))
        found.append(pytest.param(planted, marks=marks, id=planted.script))
    return found


@pytest.mark.early  # the longest file of the slow tests
@pytest.mark.parametrize("planted", parameters())
def test_the_cause_and_the_line_are_named(planted: Planted, tmp_path):
    verdict, again = compare(planted, tmp_path)
    assert verdict.outcome == "different"
    assert causes(verdict) == [planted.cause]
    found = lines_of(planted, verdict)
    assert found
    assert not planted.lines or set(found) <= set(planted.lines)
    if again is not None:
        assert (again.outcome, causes(again)) == ("equal", [])
