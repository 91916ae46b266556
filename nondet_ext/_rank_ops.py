"""Ranks as a torch op: sortable integers, choice of the kernel. ranks.py checks the arguments."""

import torch

from nondet_ext._backend import NATIVE_DTYPE, backend_for
from nondet_ext._op import Op
from nondet_ext._sorting import stable_sort

MOST_IN_A_ROW = 2**32 - 1  # the kernels' positions in a row are 32-bit integers

_BITS = {2: torch.int16, 4: torch.int32, 8: torch.int64}
_WIDENED = {
    torch.bool: torch.int16,
    torch.int8: torch.int16,
    torch.uint8: torch.int16,
    torch.uint16: torch.int32,
    torch.uint32: torch.int64,
}
INTEGERS = (*_WIDENED, torch.int16, torch.int32, torch.int64, torch.uint64)


def ordered_integers(x: torch.Tensor) -> torch.Tensor:
    """Return int16, int32 or int64 numbers in the order of the values of x: -0 and +0 are equal,
    NaNs lie outside `key_bounds`.
    """
    if x.dtype == torch.uint64:
        return x.view(torch.int64) ^ torch.iinfo(torch.int64).min
    if not x.dtype.is_floating_point:
        return x.to(_WIDENED.get(x.dtype, x.dtype))
    # Integer arithmetic on the bits, as in csrc/numerics/ranks.h: comparing floats would depend on
    # the flush-to-zero mode.
    bits = x.view(_BITS[x.itemsize])
    return torch.where(bits < 0, torch.iinfo(bits.dtype).min - bits, bits)


def key_bounds(dtype: torch.dtype) -> tuple[int, int]:
    """Return the lowest and highest of the `ordered_integers` of a dtype's numbers."""
    if not dtype.is_floating_point:
        return -(2**63), 2**63 - 1
    infinity = int(torch.full((), torch.inf, dtype=dtype, device="cpu").view(_BITS[dtype.itemsize]))
    return -infinity, infinity


def refuse_long_rows(n: int) -> None:
    if n > MOST_IN_A_ROW:
        raise ValueError(
            f"x has {n} elements in its last dimension; at most {MOST_IN_A_ROW} can be ranked"
        )


def _refuse_nan(out: torch.Tensor) -> None:
    bad = out[..., 0].isnan()
    if bool(bad.any()):
        row = bad.nonzero()[0].tolist()
        where = f"x[{', '.join(map(str, row))}]" if row else "x"
        raise ValueError(
            f"{where} holds NaN, which has no rank; nan_policy='propagate' or 'omit' allows it"
        )


def _ranks(x: torch.Tensor, centred: bool, refuse_nan: bool = False) -> torch.Tensor:
    """Return float64 ranks along the last dimension, or centred doubled ranks 2 * rank - (n + 1). A
    row that holds a NaN becomes NaN, or raises a ValueError if `refuse_nan`.
    """
    n = x.shape[-1]
    refuse_long_rows(n)
    out = torch.empty(x.shape, dtype=torch.float64, device=x.device)
    if out.numel() == 0:
        return out
    backend = backend_for(x)
    sizes = {"rows": x.numel() // n, "n": n, "out": out.data_ptr(), "centred": centred}
    if backend.launches:
        integers = ordered_integers(x.contiguous())
        keys, positions = stable_sort(integers, "a row of x", launches=True)
        lowest, largest = key_bounds(x.dtype)
        backend.run(
            "ranks",
            width=keys.itemsize,
            keys=keys.data_ptr(),
            positions=positions.data_ptr(),
            lowest=lowest,
            largest=largest,
            **sizes,
        )
    elif x.dtype.is_floating_point:
        rows = x.contiguous()
        backend.run("ranks", dtype=NATIVE_DTYPE[x.dtype], x=rows.data_ptr(), **sizes)
    else:
        rows = ordered_integers(x).to(torch.int64).contiguous()
        backend.run("integer_ranks", x=rows.data_ptr(), **sizes)
    if refuse_nan:
        _refuse_nan(out)
    return out


ranks = Op(
    "ranks",
    _ranks,
    fake=lambda x, *_: torch.empty(x.shape, dtype=torch.float64, device=x.device),
)
