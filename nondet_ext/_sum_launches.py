"""Sums by CUDA launchers: their workspaces, sorts and flags."""

from collections.abc import Sequence
from typing import Any

import torch

from nondet_ext._backend import NATIVE_DTYPE, Backend

MAX_PARTS = 1024  # kMaxParts of csrc/numerics/summation.h


def run_in_workspace(
    backend: Backend, kernel: str, arguments: dict[str, Any], sizes: dict[str, int], **more: int
) -> None:
    """Run a kernel of a sum; a launcher takes `more` than a CPU loop, and device memory: as much as
    its sizing function says for these `sizes`.
    """
    if not backend.launches:
        backend.run(kernel, **arguments)
        return
    sizing = getattr(backend.kernels, f"{kernel}_workspace")
    bytes_taken = sizing(dtype=arguments["dtype"], order=arguments["order"], **sizes)
    workspace = torch.empty(bytes_taken, dtype=torch.uint8, device=backend.device)
    backend.run(kernel, **arguments, **more, workspace=workspace.data_ptr())


def visiting_order(backend: Backend, n: int, key: Sequence[int]) -> torch.Tensor:
    """The positions 0 to n - 1, the parts of a seeded sum of n elements in their visiting order."""
    size = 1
    while -(-n // size) > MAX_PARTS:
        size *= 2
    parts = torch.empty(-(-n // size), dtype=torch.int32, device=backend.device)
    backend.run("part_order", n=n, key=key, out=parts.data_ptr())
    inside = torch.arange(size, device=backend.device)
    positions = (parts.to(torch.int64)[:, None] * size + inside).reshape(-1)
    if positions.numel() == n:
        return positions
    # Only the last part is short: its positions beyond the end go.
    last = (parts == parts.numel() - 1).to(torch.int8).argmax()
    kept = torch.arange(n, device=backend.device)
    end = (last + 1) * size - (positions.numel() - n)
    return positions[kept + torch.where(kept >= end, positions.numel() - n, 0)]


def launch_index_add(
    backend: Backend,
    out: torch.Tensor,
    index: torch.Tensor,
    source: torch.Tensor,
    outer: int,
    rows: int,
    n: int,
    inner: int,
    order: str,
    key: Sequence[int],
) -> int:
    """As _run_index_add; on a CUDA device a fault is found by an assertion over there."""
    fault = torch.zeros(1, dtype=torch.int32, device=out.device)
    arguments = {
        "dtype": NATIVE_DTYPE[out.dtype],
        "out": out.data_ptr(),
        "source": source.data_ptr(),
        "outer": outer,
        "rows": rows,
        "n": n,
        "inner": inner,
        "fault": fault.data_ptr(),
    }
    if order == "atomic":
        wide = out.dtype in (torch.float64, torch.float32)
        totals = torch.empty(0 if wide else out.numel(), dtype=torch.float32, device=out.device)
        backend.run(
            "index_add_atomic", **arguments, index=index.data_ptr(), totals=totals.data_ptr()
        )
    else:
        # Sources of one destination must meet in one thread, in visiting order: a stable sort
        # brings them together.
        if order == "seeded":
            visits = visiting_order(backend, n, key)
            sorted_index, positions = torch.sort(index.reshape(-1)[visits], stable=True)
            positions = visits[positions]
        else:
            sorted_index, positions = torch.sort(index.reshape(-1), stable=True)
        backend.run(
            "index_add_sorted",
            **arguments,
            sorted=sorted_index.data_ptr(),
            positions=positions.data_ptr(),
            exact=order == "exact",
        )
    if out.device.type == "cuda":
        torch._assert_async(
            fault == 0, f"nondet_ext: index is not in [0, {rows}); nothing was changed"
        )
    elif fault.item():
        flat = index.reshape(-1)
        return int(((flat < 0) | (flat >= rows)).nonzero()[0])
    return -1
