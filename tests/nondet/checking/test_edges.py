"""Test that the inputs of calls at edges are what they are said to be."""

import pytest
import torch

from nondet.checking.digests.inputs import FLOATS, floats
from nondet.checking.edges import LAYOUTS, laid_out, values


@pytest.mark.parametrize("shape", [(1,), (33,), (33, 3)], ids=str)
@pytest.mark.parametrize("dtype", FLOATS)
def test_layouts(dtype, shape):
    x = floats(dtype, *shape, seed=1)
    for layout in LAYOUTS:
        view = laid_out(x, layout)
        assert torch.equal(view, x)
        assert view.data_ptr() != x.data_ptr()
        if layout != "gaps":
            assert view.data_ptr() % 16 == (x.itemsize if layout == "misaligned" else 0)
        if x.numel() > 1:
            assert view.is_contiguous() is (layout != "gaps")


@pytest.mark.parametrize("dtype", FLOATS)
def test_strange_values(dtype):
    subnormal = values(dtype, "subnormal", 33, seed=1)
    smallest = torch.finfo(subnormal.dtype).smallest_normal
    assert (subnormal != 0).all()
    assert (subnormal.to(torch.float64).abs() < smallest).all()
    infinite, nan = (values(dtype, kind, 33, 3, seed=1) for kind in ("infinite", "nan"))
    assert (int(infinite.isinf().sum()), int(nan.isnan().sum())) == (1, 1)
