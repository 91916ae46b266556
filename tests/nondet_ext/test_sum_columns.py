"""A sum of columns has the bits of the sum of each column alone, whatever is summed beside it."""

import pytest
import torch

import nondet_ext

DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]
ORDERS = [("fixed", None), ("exact", None), ("seeded", 3)]
ROWS = [1, 2, 3, 5, 8, 9, 16, 31, 32, 33, 40, 64, 300, 1025]
COLUMNS = [4, 15, 16, 17, 33, 67, 130]


def values(rows: int, columns: int, dtype: torch.dtype) -> torch.Tensor:
    """Return numbers of mixed size and sign with zeros, an infinity and a NaN among them."""
    x = nondet_ext.philox_normal((rows, columns), seed=rows, dtype=torch.float64)
    x = x * torch.exp2(8 * nondet_ext.philox_normal(columns, seed=columns, dtype=torch.float64))
    x[0, 0] = torch.inf
    x[-1, 1] = torch.nan
    x[:, 2] = -0.0
    return x.to(dtype)


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return torch.equal(a.contiguous().view(torch.uint8), b.contiguous().view(torch.uint8))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("order", "seed"), ORDERS, ids=["fixed", "exact", "seeded"])
@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.usefixtures("cpu_isa")
def test_columns_side_by_side(rows: int, order: str, seed: int | None, dtype: torch.dtype) -> None:
    for columns in COLUMNS:
        x = values(rows, columns, dtype)
        alone = [
            nondet_ext.sum(x[:, c].contiguous(), order=order, seed=seed) for c in range(columns)
        ]
        assert same(nondet_ext.sum(x, 0, order=order, seed=seed), torch.stack(alone))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("length", [1023, 1024, 1025, 3000, 5 * 1024, 9 * 1024 + 7])
@pytest.mark.usefixtures("cpu_isa")
def test_rows_side_by_side(length: int, dtype: torch.dtype) -> None:
    x = nondet_ext.philox_normal((11, length), seed=1, dtype=torch.float64).to(dtype)
    alone = torch.stack([nondet_ext.sum(row) for row in x])
    assert same(nondet_ext.sum(x, 1), alone)
    by_parts = x.view(11, 1, length).expand(11, 3, length).reshape(11, 3 * length)
    pieces = torch.stack([x, x, x]).transpose(0, 1)  # three runs for each row
    assert same(nondet_ext.sum(pieces, (1, 2)), nondet_ext.sum(by_parts, 1))
