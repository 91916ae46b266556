"""The sample kernels as functions of arrays, and their expected results."""

import ctypes
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
WARP_SAMPLES = (
    "exchange",
    "rotate",
    "divergent vote",
    "reverse",
    "lookup",
    "wait",
    "meet",
    "overrun",
    "trap",
)
READ_SAMPLES = ("strided", "vectors", "triangle", "halves")
TREE_BLOCK = 128
MIXED_WORDS = 48
COLLECTIVE_WORDS = 16


@dataclass(frozen=True)
class Outcome:
    """The result of a launch, its reports, and whether it was aborted."""

    result: bytes
    reports: list[Report]
    aborted: bool


def module(variant: str, folder: str = "", *nvcc_flags: str) -> ModuleType:
    """Return the emulated module of the samples in a folder."""
    return build.load(variant, build.samples(folder), *nvcc_flags)


def mixed_magnitudes(n: int, dtype: type[np.floating[Any]]) -> np.ndarray:
    """Return numbers whose sum differs between nearly all orders of summation."""
    rng = np.random.default_rng(20)
    return (rng.standard_normal(n) * 2.0 ** rng.integers(-11, 12, n)).astype(dtype)


def call(emulated: ModuleType, name: str, *arguments: np.ndarray | float | int) -> None:
    """Call the sample launcher `name` of samples/bindings.cpp; arrays are passed by address."""
    function = ctypes.CDLL(emulated.__file__)[f"sample_{name}"]
    function.restype = ctypes.c_char_p
    converted: list[Any] = []
    for value in arguments:
        if isinstance(value, np.ndarray):
            converted.append(ctypes.c_void_p(value.ctypes.data))
        elif isinstance(value, int):
            converted.append(ctypes.c_int64(value))
        else:
            converted.append(ctypes.c_float(value))
    message = function(*converted)
    if message is not None:
        raise RuntimeError(message.decode())


def outcome_of(emulated: ModuleType, result: np.ndarray, name: str, *arguments: Any) -> Outcome:
    """Call a launcher that writes to `result`; return its outcome."""
    aborted = False
    try:
        call(emulated, name, *arguments)
    except RuntimeError as error:
        if "aborted" not in str(error):
            raise
        aborted = True
    return Outcome(result.tobytes(), take_reports(emulated), aborted)


def tree_sum(emulated: ModuleType, x: np.ndarray, blocks: int = 4, defect: str = "none") -> Outcome:
    """Sum `x` deterministically, with a planted defect."""
    partial = np.full(max(blocks, 0), np.nan, x.dtype)
    done = np.zeros(1, np.uint32)
    out = np.full(1, np.nan, x.dtype)
    name = "tree_sum_double" if x.dtype == np.float64 else "tree_sum_float"
    number = TREE_DEFECTS.index(defect)
    return outcome_of(emulated, out, name, number, x, x.size, blocks, partial, done, out)


def tree_sum_naive(x: np.ndarray, blocks: int = 4) -> bytes:
    """Sum `x` by plain loops in the order that samples.cuh specifies."""

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
    partial = [
        add_block([add_strided(x, TREE_BLOCK * b + t, step) for t in range(TREE_BLOCK)])
        for b in range(blocks)
    ]
    total = add_block([add_strided(partial, t, TREE_BLOCK) for t in range(TREE_BLOCK)])
    return np.array([total], x.dtype).tobytes()


def atomic_sum(emulated: ModuleType, x: np.ndarray, blocks: int = 6) -> Outcome:
    """Sum `x` by atomics."""
    out = np.zeros(1, np.float32)
    return outcome_of(emulated, out, "atomic_sum", x, x.size, blocks, out)


def warp_sample(emulated: ModuleType, sample: str, x: np.ndarray, defect: bool) -> Outcome:
    """Run one of WARP_SAMPLES on 64 numbers."""
    out = np.full(64, np.nan, np.float32)
    return outcome_of(emulated, out, "warp", WARP_SAMPLES.index(sample), defect, x, out)


def read_sample(emulated: ModuleType, sample: str, a: int = 0, b: int = 0) -> np.ndarray:
    """Run one of READ_SAMPLES on the numbers 0 to 2047, which begin at a sector; return its
    results.
    """
    memory = np.zeros(2048 + 8, np.float32)
    x = memory[-(memory.ctypes.data // 4) % 8 :][:2048]
    x[:] = np.arange(2048)
    out = np.zeros(256, np.float32)
    call(emulated, "reads", READ_SAMPLES.index(sample), x, a, b, out)
    return out


def warp_sample_naive(sample: str, x: np.ndarray) -> bytes:
    """Return the result of a sample without its defect."""
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
    return np.ascontiguousarray(out.get(sample, x)).tobytes()
