"""Outputs of a model, block by block, and their checks."""

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np


class Source(Protocol):
    """The outputs of one model on a text. Every iteration gives the same bits, in the order of the
    tokens, in blocks of any sizes.
    """

    @property
    def tokens(self) -> int:
        """Return the number of tokens of the text, N."""

    @property
    def types(self) -> int:
        """Return the size of the vocabulary, V."""

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield the logits, (n, V) float32 each; N rows in all."""

    def hidden(self) -> Iterator[dict[str, np.ndarray]]:
        """Yield representations by name of the layer, (n, width) float32 each; N rows in all."""


def shape_of(sources: Sequence[Source]) -> tuple[int, int]:
    """Return N and V of at least two sources. Raises ValueError if they differ."""
    if len(sources) < 2:
        raise ValueError(f"sources must be at least two, to have a pair, got {len(sources)}")
    shape = sources[0].tokens, sources[0].types
    if min(shape) < 1:
        raise ValueError(f"sources[0] must have tokens and types, got {shape[0]} and {shape[1]}")
    for i, source in enumerate(sources):
        for what, mine, first in zip(
            ("tokens", "types"), (source.tokens, source.types), shape, strict=True
        ):
            if mine != first:
                raise ValueError(f"sources[{i}] must have {first} {what}, as the first has: {mine}")
    return shape


def widths_of(source: Source) -> dict[str, int]:
    """Return the widths of a model's representations by layer, from its first block."""
    found = next(iter(source.hidden()), None)
    if found is None:
        raise ValueError("sources[0].hidden() must yield blocks, got none")
    widths = {}
    for tap, x in found.items():
        if not tap or x.ndim != 2 or not x.shape[1]:
            raise ValueError(
                "sources[0].hidden() must yield (n, width) arrays by the names of layers, "
                f"got {x.shape} for {tap!r}"
            )
        widths[tap] = x.shape[1]
    return widths


def cut(
    name: str, block: object, begin: int, shape: tuple[int, int], elements: int
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (position, rows) for consecutive rows of a block, about `elements` elements at most, in
    C order.

    name: the source of the block, for errors. begin: the position of its first row. shape: of all
    blocks together.

    Raises:
        TypeError: the block is no float32 array.
        ValueError: another shape, too many rows, or a value that is NaN or infinite.
    """
    if not isinstance(block, np.ndarray) or block.dtype != np.float32:
        found = block.dtype if isinstance(block, np.ndarray) else type(block).__name__
        raise TypeError(f"{name} must yield float32 arrays, got {found}")
    if block.ndim != 2 or block.shape[1] != shape[1]:
        raise ValueError(f"{name} must yield shapes (n, {shape[1]}), got {block.shape}")
    if begin + len(block) > shape[0]:
        raise ValueError(
            f"{name} must yield {shape[0]} rows in all, got {begin + len(block)} or more"
        )
    step = max(1, elements // shape[1])
    for first in range(0, len(block), step):
        rows = np.ascontiguousarray(block[first : first + step])
        if not (np.isfinite(rows.min()) and np.isfinite(rows.max())):
            row, column = np.argwhere(~np.isfinite(rows))[0]
            raise ValueError(
                f"{name} must yield finite values, got {rows[row, column]} in row "
                f"{begin + first + row}, column {column}"
            )
        yield begin + first, rows


def refuse_few(name: str, rows: int, wanted: int) -> None:
    """Raise ValueError if the blocks ended early."""
    if rows < wanted:
        raise ValueError(f"{name} must yield {wanted} rows in all, got {rows}")
