"""Rank correlations of staged logits, and how many models the disk holds at once."""

import itertools
import shutil
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

import nondet_ext
from nondet.analysis.streaming.arrays import StagedArray
from nondet.analysis.streaming.progress import Report
from nondet.analysis.streaming.tiles import loads, plan_tiles
from nondet_ext.memory import resident_bytes
from nondet_ext.spearman_files import rank_bytes, require_memory

MARGIN = 192 << 20
"""Bytes of the disk beside logits, ranks and hidden states: what spearman_files leaves free, its
state, results.
"""


@dataclass(frozen=True)
class DiskPlan:
    """Which models are on the disk at once.

    Attributes:
        tiles: sets of models.
        threads: of torch while ranking; each may use as much scratch space as a model's logits.
        needs: bytes of the disk.
    """

    tiles: list[tuple[int, ...]]
    threads: int
    needs: int


def plan_disk(models: int, values: int, hidden: int, free: int, threads: int) -> DiskPlan:
    """Return the plan with the least recomputation; among several, the one with the most threads.

    values: logits of a model, each with a rank. hidden: bytes of its representations. free: bytes
    of the disk. threads: the most to use.

    Raises ValueError if not even two models fit with one thread.
    """
    rank = rank_bytes(values)
    model, work = values * (4 + rank) + hidden, values * max(4, rank)
    plans = []
    for count in sorted({1, min(threads, models)}, reverse=True):
        beside = count * work + MARGIN
        if free < 2 * model + beside:
            continue
        tiles = plan_tiles(models, model, free - beside)
        plans.append(DiskPlan(tiles, count, max(map(len, tiles)) * model + beside))
    if not plans:
        raise ValueError(
            f"disk must be at least {_gigabytes(2 * model + work + MARGIN)} for the logits and "
            f"ranks of two models at once, {values} values each, got {_gigabytes(free)}"
        )
    return min(plans, key=lambda plan: sum(map(len, plan.tiles)))


def parse_plan(data: object, models: int) -> DiskPlan | None:
    """Return the plan for this many models that was stored as JSON; None for anything else."""
    if not isinstance(data, dict) or data.keys() != {"tiles", "threads", "needs"}:
        return None
    tiles, threads, needs = data["tiles"], data["threads"], data["needs"]
    if type(threads) is not int or threads < 1 or type(needs) is not int or needs < 1:
        return None
    if not isinstance(tiles, list) or not all(isinstance(tile, list) for tile in tiles):
        return None
    if not all(len(tile) > 1 and all(type(each) is int for each in tile) for tile in tiles):
        return None
    met = {pair for tile in tiles for pair in itertools.combinations(tile, 2)}
    if met != set(itertools.combinations(range(models), 2)):
        return None
    return DiskPlan([tuple(tile) for tile in tiles], threads, needs)


def refuse_little_memory(models: int, values: int, threads: int, memory: int) -> None:
    """Raise ValueError if `correlate` would need more memory."""
    held = resident_bytes()
    try:
        require_memory(held + memory, models, values, 4, threads)
    except ValueError as error:
        raise ValueError(
            f"memory of {memory} bytes beside the {held} that this process holds does not suffice "
            f"for ranks: {error}"
        ) from None


def describe(plan: DiskPlan) -> str:
    """Describe the plan in a sentence for readers of the results."""
    at_once, models = max(map(len, plan.tiles)), len(set().union(*plan.tiles))
    disk = f"{_gigabytes(plan.needs)} of disk"
    if len(plan.tiles) == 1:
        return f"all {models} models at once, {disk}"
    return (
        f"{at_once} of {models} models at once in {len(plan.tiles)} tiles, {disk}, models computed "
        f"{loads(plan.tiles)} times"
    )


def correlate(
    logits: Sequence[StagedArray],
    memory: int,
    scratch: Path,
    threads: int,
    report: Report,
) -> np.ndarray:
    """Return Spearman's rank correlation of all pairs of flattened matrices, (models, models)
    float64, NaN for constant ones.

    memory: bytes beside what the process holds. scratch: a folder for this call alone; unfinished
    work in it is resumed, and begun anew if its files were copied since. report(fraction) is called
    from time to time.
    """

    def compute() -> np.ndarray:
        found: np.ndarray = nondet_ext.spearman_files(
            [each.path for each in logits],
            memory=resident_bytes() + memory,
            scratch=scratch,
            progress=lambda done, total, what: report(done / total, what),
        ).numpy()
        return found

    with _threads(threads), warnings.catch_warnings():
        warnings.simplefilter("ignore", nondet_ext.DegenerateInputWarning)  # `measure` tells
        try:
            return compute()
        except ValueError:
            if not scratch.exists():
                raise
            shutil.rmtree(scratch)
            return compute()


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(min(count, before))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.2f} GB"
