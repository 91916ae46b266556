"""Test that every op gives the bits in op_digests.json whatever the defaults of torch are."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from digests.test_op_digests import changed_within
from nondet.checking.digests.ops import FAMILIES


@contextmanager
def default(value: torch.dtype | str) -> Iterator[None]:
    """Make a dtype or a device the default within the context."""
    try:
        if isinstance(value, torch.dtype):
            torch.set_default_dtype(value)
        else:
            torch.set_default_device(value)
        yield
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_default_device(None)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("value", ["meta", torch.float64, torch.float16], ids=str)
@pytest.mark.parametrize("family", FAMILIES)
def test_defaults_change_no_bit(family, value):
    # One dtype is enough, for kernels make no tensors.
    dtypes = ("float32", "int64")
    assert not changed_within(
        family, lambda: default(value), lambda name: name.split("/")[1] in dtypes
    )
