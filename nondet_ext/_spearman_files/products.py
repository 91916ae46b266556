"""Products of all pairs of rank files, by stripes of columns with one thread each."""

import io
import time

import numpy as np
import torch

from nondet_ext._integer_products import IntegerProducts
from nondet_ext._spearman_files.progress import Progress, run_all
from nondet_ext._spearman_files.scratch import Scratch
from nondet_ext._spearman_files.shares import Shares
from nondet_ext._spearman_files.vectors import read_exactly

SAVE_SECONDS = 20.0

_ELEMENTS = 1 << 15
"""Ranks that are multiplied at once: their limbs should fit a core's cache."""


def multiply_all(
    rows: int, n: int, store: Scratch, shares: Shares, progress: Progress
) -> np.ndarray:
    """Return the exact inner products, (rows, rows), as Python integers."""
    saved = store.load_products()
    count = next(iter(saved.values()))[1] if saved else min(shares.stripes, n)
    products = [
        saved[k][0] if k in saved else IntegerProducts(rows, None, n - 1) for k in range(count)
    ]

    def multiply(k: int) -> None:
        torch.set_num_threads(1)  # in this thread: the stripes run in parallel
        stripe = range(n * k // count, n * (k + 1) // count)
        _multiply(products[k], stripe, rows, store, shares.columns, progress, (k, count))

    threads = torch.get_num_threads()
    try:
        run_all(multiply, range(count), count, progress)
    finally:
        torch.set_num_threads(threads)  # new threads would start with the workers' number
    total = np.zeros((rows, rows), object)
    for part in products:
        total += part.totals().astype(object)
    return total


def _multiply(
    total: IntegerProducts,
    stripe: range,
    rows: int,
    store: Scratch,
    columns: int,
    progress: Progress,
    place: tuple[int, int],
) -> None:
    """Add the missing columns of a stripe, block by block; `place` is the stripe's index and the
    number of stripes.
    """
    buffer = np.empty((rows, min(columns, len(stripe))), store.rank)
    progress.skip(total.columns * rows * store.rank.itemsize)
    step = max(1, _ELEMENTS // rows)
    saved = time.monotonic()
    for first in stripe[total.columns :: columns]:
        block = buffer[:, : stripe.stop - first]
        for i, row in enumerate(block):
            with io.FileIO(store.ranks(i), "rb") as file:
                file.seek(first * store.rank.itemsize)
                read_exactly(file, row, str(store.ranks(i)))
        values = torch.from_numpy(block)
        for begin in range(0, values.shape[1], step):
            total.add(values[:, begin : begin + step])
        if time.monotonic() - saved >= SAVE_SECONDS:
            store.save_products(total, place)
            saved = time.monotonic()
        progress.advance("multiplying ranks", block.nbytes)
