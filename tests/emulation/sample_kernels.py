"""The sample kernels as functions of arrays, and what they should compute."""

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from . import build
from .reports import Report, take_reports

# The values of TreeDefect and WarpSample in samples/samples.cuh.
TREE_DEFECTS = (
    "none",
    "spare barrier",
    "no barrier in tree",
    "no barrier after store",
    "no fence",
    "no acquire",
    "no barrier after flag",
    "scratch reused",
    "divergent barrier",
)
WARP_SAMPLES = ("exchange", "rotate", "divergent vote", "reverse", "lookup", "wait")
TREE_BLOCK = 128


@dataclass(frozen=True)
class Outcome:
    """What a launch computed, what was reported about it, and whether it was aborted."""

    result: bytes
    reports: list[Report]
    aborted: bool


def module(variant: str) -> ModuleType:
    """The emulated module of the samples."""
    return build.load(variant, build.samples())


def mixed_magnitudes(n: int, dtype: type[np.floating[Any]]) -> np.ndarray:
    """Numbers whose sum depends on the order of summation in nearly every pair of orders."""
    rng = np.random.default_rng(20)
    return (rng.standard_normal(n) * 10.0 ** rng.integers(-6, 6, n)).astype(dtype)


def _run(emulated: ModuleType, result: np.ndarray, launch: Any) -> Outcome:
    try:
        launch()
        aborted = False
    except RuntimeError as error:
        if "aborted" not in str(error):
            raise
        aborted = True
    return Outcome(result.tobytes(), take_reports(emulated), aborted)


def tree_sum(emulated: ModuleType, x: np.ndarray, blocks: int = 4, defect: str = "none") -> Outcome:
    """The deterministic sum of `x`, with a planted defect."""
    partial = np.full(blocks, np.nan, x.dtype)
    done = np.zeros(1, np.uint32)
    out = np.full(1, np.nan, x.dtype)
    return _run(
        emulated,
        out,
        lambda: emulated.tree_sum(
            wide=x.dtype == np.float64,
            defect=TREE_DEFECTS.index(defect),
            x=x.ctypes.data,
            n=x.size,
            blocks=blocks,
            partial=partial.ctypes.data,
            done=done.ctypes.data,
            out=out.ctypes.data,
        ),
    )


def tree_sum_naive(x: np.ndarray, blocks: int = 4) -> bytes:
    """The same sum by plain loops, in the order that samples.cuh promises."""

    def add_block(values: list[Any]) -> Any:
        half = TREE_BLOCK // 2
        while half > 0:
            for t in range(half):
                values[t] = values[t] + values[t + half]
            half //= 2
        return values[0]

    def add_strided(values: Any, first: int, step: int) -> Any:
        total = x.dtype.type(0)
        for value in values[first::step]:
            total = total + value
        return total

    step = TREE_BLOCK * blocks
    partial = [add_block([add_strided(x, TREE_BLOCK * b + t, step) for t in range(TREE_BLOCK)]) for b in range(blocks)]
    total = add_block([add_strided(partial, t, TREE_BLOCK) for t in range(TREE_BLOCK)])
    return np.array([total], x.dtype).tobytes()


def atomic_sum(emulated: ModuleType, x: np.ndarray, blocks: int = 6) -> Outcome:
    """The sum of `x` by atomics."""
    out = np.zeros(1, np.float32)
    return _run(
        emulated, out, lambda: emulated.atomic_sum(x=x.ctypes.data, n=x.size, blocks=blocks, out=out.ctypes.data)
    )


def warp_sample(emulated: ModuleType, sample: str, x: np.ndarray, defect: bool) -> Outcome:
    """One of WARP_SAMPLES on 64 numbers."""
    out = np.full(64, np.nan, np.float32)
    number = WARP_SAMPLES.index(sample)
    return _run(
        emulated,
        out,
        lambda: emulated.warp_sample(sample=number, defect=defect, x=x.ctypes.data, out=out.ctypes.data),
    )


def warp_sample_naive(sample: str, x: np.ndarray) -> bytes:
    """What a sample without its defect computes."""
    i = np.arange(64)
    halves = np.repeat((x.reshape(4, 16) > 0).any(axis=1), 16)
    out = {
        "exchange": x[i ^ 1],
        "rotate": x[i - i % 16 + (i + 1) % 16],
        "divergent vote": halves.astype(np.float32),
        "reverse": x[63 - i],
        "lookup": x,
        "wait": np.repeat(x[:1], 64),
    }
    return np.ascontiguousarray(out[sample]).tobytes()
