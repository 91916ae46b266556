"""Inner products of integer vectors without error, on any device and in any blocks.

Integers are cut into limbs so narrow that a float64 matrix product over a bounded number of columns
never exceeds 2^53: every intermediate value is an integer that float64 holds, so the order of
additions, the number of threads and fused multiply-adds do not matter.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from nondet_ext._backend import backend_for

EXACT_BITS = 53
"""Integers of up to this many bits are exact in float64."""

LARGEST_BITS = 63
"""Integers of up to this many bits can be multiplied."""

SHORTEST_CHUNK = 256
"""Matrix products over fewer columns are slow: another limb is cheaper."""

_CACHED = 1 << 19
"""Values converted or cut into limbs at once: temporaries should fit the caches."""

_AT_ONCE = 1 << 30
"""Multiplications in one matrix product on the CPU: it takes less than 0.1 s, and Ctrl-C is
answered between products.
"""

_MOST_ROWS = 512
"""Up to so many rows, three limbs are multiplied by a kernel, which needs fewer products than
torch's matrix multiplication, but more memory.
"""

_KERNEL_COLUMNS = 1 << 17
"""Columns given to the kernel at once."""

_LOW_BITS = 32
_CARRY_EVERY = 256


class _Total:
    """A matrix of integers below 2^95, as two int64 matrices: high * 2^32 + low."""

    def __init__(self, rows: int, columns: int, device: torch.device) -> None:
        self.low = torch.zeros((rows, columns), dtype=torch.int64, device=device)
        self.high = torch.zeros_like(self.low)
        self._added = 0

    def add(self, values: torch.Tensor) -> None:
        """Add integers of magnitude up to 2^54, in float64."""
        self.low += values.to(torch.int64)
        self._added += 1
        if self._added == _CARRY_EVERY:
            self.carry()

    def add_integers(self, values: torch.Tensor) -> None:
        """Add int64 numbers of magnitude up to 2^62."""
        self.carry()
        self.low += values
        self.carry()

    def carry(self) -> None:
        self.high += self.low >> _LOW_BITS
        self.low &= (1 << _LOW_BITS) - 1
        self._added = 0

    def state(self) -> np.ndarray:
        self.carry()
        return torch.stack([self.low, self.high]).cpu().numpy()

    def load(self, state: np.ndarray) -> None:
        low, high = torch.from_numpy(state.copy()).to(self.low.device)
        self.low.copy_(low)
        self.high.copy_(high)

    def value(self) -> np.ndarray:
        """Return int64 numbers if all are below 2^62, else Python integers."""
        self.carry()
        low, high = self.low.cpu().numpy(), self.high.cpu().numpy()
        if (np.abs(high) >= 1 << (62 - _LOW_BITS - 1)).any():
            low, high = low.astype(object), high.astype(object)
        number: np.ndarray = high * (1 << _LOW_BITS) + low
        return number


class IntegerProducts:
    """All inner products of the rows of a matrix of integers, or of two matrices, summed over any
    number of blocks of columns.

    Args:
        left_rows, right_rows: R1 and R2; right_rows=None compares the left rows with each other.
        bound: the largest magnitude of the integers, at most 2^63.
        device: of the sums.
        with_sums: compute the sums of the rows, too.
    """

    def __init__(
        self,
        left_rows: int,
        right_rows: int | None,
        bound: int,
        device: torch.device | str = "cpu",
        with_sums: bool = False,
    ) -> None:
        if not 1 <= bound <= 1 << LARGEST_BITS:
            raise ValueError(f"bound must be in [1, 2^{LARGEST_BITS}], got {bound}")
        self.bound = bound
        self.device = torch.device(device)
        self.symmetric = right_rows is None
        self.rows = (left_rows, left_rows if right_rows is None else right_rows)
        self.limbs, self.width, self.chunk = _limbs_for(self.bound)
        self.columns = 0
        orders = 2 * self.limbs - 1
        self._products = [_Total(*self.rows, self.device) for _ in range(orders)]
        self._squares = [
            [_Total(rows, 1, self.device) for _ in range(orders)]
            for rows in (() if self.symmetric else self.rows)
        ]
        self._sums = [
            [_Total(rows, 1, self.device) for _ in range(self.limbs)]
            for rows in (self.rows[:1] if self.symmetric else self.rows)
            if with_sums
        ]

    @torch.no_grad()
    def add(self, left: torch.Tensor, right: torch.Tensor | None = None) -> None:
        """Add the products over a block of columns.

        Args:
            left: (R1, m) integers of any dtype that holds them: of an integer dtype if the bound
                is above 2^53.
            right: (R2, m), if two matrices are compared.
        """
        if self._has_kernel():
            for begin in range(0, left.shape[1], _KERNEL_COLUMNS):
                block = slice(begin, begin + _KERNEL_COLUMNS)
                self._add_natively(left[:, block], None if right is None else right[:, block])
            self.columns += left.shape[1]
            return
        columns = self.chunk
        if self.device.type == "cpu":
            columns = min(columns, max(_AT_ONCE // math.prod(self.rows), 4 * SHORTEST_CHUNK))
        if self.limbs > 1 or left.dtype != torch.float64:
            columns = min(columns, max(_CACHED // sum(self.rows), SHORTEST_CHUNK))
        for begin in range(0, left.shape[1], columns):
            block = slice(begin, begin + columns)
            self._add_chunk(left[:, block], None if right is None else right[:, block])
        self.columns += left.shape[1]

    def _has_kernel(self) -> bool:
        if self.limbs != 3 or self.bound > 1 << EXACT_BITS or max(self.rows) > _MOST_ROWS:
            return False
        return self.device.type == "cpu" and not backend_for(self._products[0].low).launches

    def _add_natively(self, left: torch.Tensor, right: torch.Tensor | None) -> None:
        sides = [side.to(torch.float64).contiguous() for side in (left, right) if side is not None]
        rows = sum(len(side) for side in sides)
        orders = len(self._products)
        products = torch.empty((orders, *self.rows), dtype=torch.int64, device="cpu")
        squares = torch.empty((orders, rows), dtype=torch.int64, device="cpu")
        limbs = torch.empty((self.limbs, rows), dtype=torch.int64, device="cpu")
        backend_for(products).run(
            "integer_products",
            left=sides[0].data_ptr(),
            left_rows=self.rows[0],
            left_stride=sides[0].stride(0),
            right=0 if self.symmetric else sides[1].data_ptr(),
            right_rows=0 if self.symmetric else self.rows[1],
            right_stride=0 if self.symmetric else sides[1].stride(0),
            n=left.shape[1],
            width=self.width,
            out=products.data_ptr(),
            squares=squares.data_ptr(),
            limbs=limbs.data_ptr(),
        )
        for order, total in enumerate(self._products):
            total.add_integers(products[order])
        begin = 0
        for i, side in enumerate(sides):
            part = slice(begin, begin + len(side))
            begin = part.stop
            for order, total in enumerate(self._squares[i] if self._squares else ()):
                total.add_integers(squares[order, part, None])
            for order, total in enumerate(self._sums[i] if self._sums else ()):
                total.add_integers(limbs[order, part, None])

    def _add_chunk(self, left: torch.Tensor, right: torch.Tensor | None) -> None:
        sides = [self._cut(side) for side in (left, right) if side is not None]
        first, last = sides[0], sides[-1]
        for totals, side in zip(self._sums, sides, strict=bool(self._sums)):
            for total, limb in zip(totals, side, strict=True):
                total.add(limb.sum(dim=1, keepdim=True))
        for k in range(self.limbs):
            for j in range(k if self.symmetric else 0, self.limbs):
                product = _product(first[k], last[j])
                self._products[k + j].add(product)
                if self.symmetric and j > k:
                    self._products[k + j].add(product.T)
        for totals, side in zip(self._squares, sides, strict=not self.symmetric):
            for k, j, factor in self._pairs():
                square = torch.linalg.vecdot(side[k], side[j]).unsqueeze(1)
                totals[k + j].add(factor * square)

    def _pairs(self) -> Iterator[tuple[int, int, int]]:
        for k in range(self.limbs):
            for j in range(k, self.limbs):
                yield k, j, 1 if j == k else 2

    def _cut(self, block: torch.Tensor) -> list[torch.Tensor]:
        """Return the limbs of a block, the lowest first, each of magnitude 2^(width - 1) at most
        except the highest.
        """
        if self.bound > 1 << EXACT_BITS:
            return self._cut_integers(block.to(torch.int64))
        rest = block.to(torch.float64)
        limbs = []
        for _ in range(self.limbs - 1):
            high = torch.round(rest * 2.0**-self.width)
            limbs.append(rest - high * 2.0**self.width)
            rest = high
        return [*limbs, rest]

    def _cut_integers(self, rest: torch.Tensor) -> list[torch.Tensor]:
        limbs = []
        for _ in range(self.limbs - 1):
            high = (rest >> self.width) + (rest >> (self.width - 1) & 1)
            # The product may overflow; the difference, modulo 2^64, does not.
            limbs.append((rest - (high << self.width)).to(torch.float64))
            rest = high
        return [*limbs, rest.to(torch.float64)]

    def totals(self) -> np.ndarray:
        """Return the inner products, (R1, R2): int64 if they fit, else Python integers."""
        return self._joined(self._products)

    def squares(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the inner products of the rows with themselves, (R1,) and (R2,)."""
        if self.symmetric:
            diagonal = np.diagonal(self.totals())
            return diagonal, diagonal
        left, right = (self._joined(totals)[:, 0] for totals in self._squares)
        return left, right

    def sums(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the sums of the rows, (R1,) and (R2,)."""
        sums = [self._joined(totals)[:, 0] for totals in self._sums]
        return sums[0], sums[-1]

    def _joined(self, totals: list[_Total]) -> np.ndarray:
        if len(totals) == 1:
            return totals[0].value()
        joined = totals[0].value().astype(object)
        for order, total in enumerate(totals[1:], start=1):
            joined = joined + total.value().astype(object) * (1 << (order * self.width))
        return joined

    def state(self) -> dict[str, Any]:
        """Return the state for :meth:`restore`, as numbers and int64 arrays."""
        right = None if self.symmetric else self.rows[1]
        return {
            "rows": (self.rows[0], right),
            "bound": self.bound,
            "with_sums": bool(self._sums),
            "columns": self.columns,
            **{f"total{i}": total.state() for i, total in enumerate(self._all())},
        }

    @classmethod
    def restore(
        cls, state: dict[str, Any], device: torch.device | str = "cpu"
    ) -> "IntegerProducts":
        left, right = state["rows"]
        products = cls(left, right, state["bound"], device, state["with_sums"])
        products.columns = state["columns"]
        for i, total in enumerate(products._all()):
            total.load(state[f"total{i}"])
        return products

    def _all(self) -> list[_Total]:
        groups = [self._products, *self._squares, *self._sums]
        return [total for group in groups for total in group]


def _product(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Return left @ right.T, computed for some rows of `left` at a time."""
    rows = max(_AT_ONCE // right.numel(), 1)
    if len(left) <= rows or left.device.type != "cpu":
        return left @ right.T
    result = left.new_empty(len(left), len(right))
    for begin in range(0, len(left), rows):
        torch.mm(left[begin : begin + rows], right.T, out=result[begin : begin + rows])
    return result


def _limbs_for(bound: int) -> tuple[int, int, int]:
    """Return the number of limbs, the bits of a limb, and the columns that can be multiplied at
    once.
    """
    for limbs in (1, 2, 3, 4):
        # Rounding to nearest halves the range of a limb and may carry into the highest.
        width = -(-(bound.bit_length() + 1) // limbs)
        highest = (bound >> (width * (limbs - 1))) + 1
        largest = bound if limbs == 1 else max(highest, 1 << (width - 1))
        chunk = (1 << EXACT_BITS) // largest**2
        if chunk >= SHORTEST_CHUNK:
            break
    return limbs, width, chunk
