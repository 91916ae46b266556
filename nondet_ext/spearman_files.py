"""Spearman's rank correlation of vectors that do not fit in memory."""

import warnings
from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path

import numpy as np
import torch

from nondet_ext import _check
from nondet_ext._float_mode import in_default_mode
from nondet_ext._quotients import correlations
from nondet_ext._spearman_files import shares as _shares
from nondet_ext._spearman_files.products import multiply_all
from nondet_ext._spearman_files.progress import Progress, run_all
from nondet_ext._spearman_files.ranks import rank_vector
from nondet_ext._spearman_files.scratch import Scratch
from nondet_ext._spearman_files.shares import Shares
from nondet_ext._spearman_files.vectors import Vector, open_vector
from nondet_ext._warnings import DegenerateInputWarning
from nondet_ext.memory import parse_bytes


@in_default_mode
def spearman_files(
    files: Sequence[str | PathLike[str] | np.ndarray],
    *,
    memory: int | str = "2GB",
    scratch: str | PathLike[str] | None = None,
    resume: bool = True,
    progress: Callable[[int, int, str], object] | bool | None = None,
) -> torch.Tensor:
    """Compute Spearman's rank correlation of every pair of R vectors that do not fit in memory.

    Equal bit for bit to :func:`spearman` of the vectors as rows: ranks (ties averaged), their
    products and sums are integers without error, and each quotient is rounded once. Memory, threads
    and interruptions cannot change a bit.

    Args:
        files: R >= 1 paths of .npy files, ``numpy.memmap`` or arrays; float16, float32 or float64,
            any shape in C order, n >= 2 values each. Files are read piece by piece, memory maps
            through their files.
        memory: the limit of this whole process, in bytes or as "2GB", "500MB", "1.5GiB". The more,
            the less is written to and read from `scratch`.
        scratch: a folder, created if missing, with room for R n integers of 4 bytes (8 from
            n = 2**31 on) and n values for each vector that is ranked at once. By default a
            temporary folder. Its files are removed in the end.
        resume: with a `scratch` folder, keep finished rank files and partial products when the call
            is interrupted (by an exception or the end of the process), and continue from them when
            it is repeated. False starts anew and keeps nothing.
        progress: called as progress(bytes done, total bytes, description), from several threads but
            one at a time; True writes a line to stderr.

    Returns:
        (R, R) float64 on the CPU, symmetric, with ones on the diagonal. NaN for constant vectors.

    Warns:
        DegenerateInputWarning: vectors are constant; it names them.

    Raises:
        TypeError: an input is neither a path nor an array, or has values of another dtype.
        ValueError: vectors have different sizes, a NaN (the message names the first) or another
            order than C; there is too little memory; the scratch folder holds unfinished work of
            other inputs.
        OSError: the disk of `scratch` is too small (checked before anything is written), or a file
            cannot be read.
        RuntimeError: called in code that ``torch.compile`` traces: it reads and writes files.

    Changed inputs are recognised by path, size, time of change and a hash of samples; files of the
    scratch folder by their SHA-256: a damaged one is computed again. See
    :func:`spearman` for the ranks, docs/comparing.md for the disk space and time at the sizes of
    the paper.
    """
    _check.not_compiling("spearman_files", "it reads and writes files; call it outside")
    vectors = _open_all(files)
    rows, n = len(vectors), vectors[0].n
    itemsize = max(vector.dtype.itemsize for vector in vectors)
    limit = parse_bytes("memory", memory)
    threads = torch.get_num_threads()
    shares = _shares.share_out(limit, rows, n, itemsize, threads)
    folder = None if scratch is None else Path(scratch).resolve()
    rank = np.dtype(f"i{shares.rank_bytes}")
    store = Scratch(folder, resume, [vector.identity() for vector in vectors], n, rank)
    # Two-byte keys are ranked by a table alone.
    store.check(n * max(itemsize, rank.itemsize) * shares.workers if itemsize > 2 else 0)
    # Each vector counts twice: when its values are first counted and when its ranks are written.
    total = sum(n * (2 * vector.dtype.itemsize + rank.itemsize) for vector in vectors)
    reporter = Progress(progress, total)
    with store:
        _rank_all(vectors, store, shares, reporter)
        products = multiply_all(rows, n, store, shares, reporter)
    squares = np.diagonal(products)
    constant = [vectors[i].name for i in np.nonzero(squares == 0)[0]]
    if constant:
        warnings.warn(
            f"constant vectors have no rank correlation, the result is NaN: {', '.join(constant)}",
            DegenerateInputWarning,
            stacklevel=2,
        )
    return torch.from_numpy(correlations(products, squares, squares))


def rank_bytes(n: int) -> int:
    """Return how many bytes of scratch space :func:`spearman_files` takes per value of a vector of
    n values.
    """
    return _shares.rank_bytes(n)


def require_memory(limit: int, rows: int, n: int, itemsize: int, threads: int) -> None:
    """Raise ValueError if `limit` bytes for this process do not suffice for
    :func:`spearman_files` of `rows` vectors of n values of `itemsize` bytes.
    """
    _shares.share_out(limit, rows, n, itemsize, threads)


def _open_all(files: object) -> list[Vector]:
    if not isinstance(files, Sequence) or isinstance(files, str | bytes):
        raise TypeError(f"files must be a sequence of paths or arrays, got {type(files).__name__}")
    if not files:
        raise ValueError("files must name at least one vector, got none")
    vectors = [open_vector(f"files[{i}]", source) for i, source in enumerate(files)]
    for vector in vectors:
        if vector.n != vectors[0].n:
            raise ValueError(
                f"files must have equal sizes, got {vectors[0].n} values in {vectors[0].name} and "
                f"{vector.n} in {vector.name}"
            )
    if vectors[0].n < 2:
        raise ValueError(f"files must have at least two values each, got {vectors[0].n}")
    return vectors


def _rank_all(vectors: list[Vector], store: Scratch, shares: Shares, progress: Progress) -> None:
    """Write a rank file for every vector without one, several at once."""
    missing = store.unranked()
    for i in set(range(len(vectors))).difference(missing):
        progress.skip(2 * vectors[i].n * vectors[i].dtype.itemsize)

    def rank(i: int) -> None:
        def report(step: str, count: int) -> None:
            progress.advance(f"vector {i + 1} of {len(vectors)}: {step}", count)

        unfinished = store.work(2 * i)
        digest = rank_vector(vectors[i], unfinished, store.work(2 * i + 1), shares, report)
        store.finish_ranks(i, unfinished, digest)

    run_all(rank, missing, shares.workers, progress)
