"""The ways to compute an op that are compared with one another."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import torch

import nondet_ext
from nondet_ext.instruction_sets import instruction_set

CPU = torch.device("cpu")
Within = Callable[[], AbstractContextManager[object]]


@dataclass(frozen=True)
class Device:
    """A way to compute ops.

    name: in reports, "cpu avx2, 2 threads". place: where tensors lie. using: makes ops of tensors
    there take this way inside of a context. busy: lets other work run there inside of a context.
    """

    name: str
    place: torch.device = CPU
    using: Within = nullcontext
    busy: Within = nullcontext


def cpu_device(isa: str, threads: int) -> Device:
    """Return the CPU with an instruction set of `nondet_ext.build_info` and a number of threads."""

    @contextmanager
    def using() -> Iterator[None]:
        before = torch.get_num_threads()
        with instruction_set(isa):
            torch.set_num_threads(threads)
            try:
                yield
            finally:
                torch.set_num_threads(before)

    plural = "thread" if threads == 1 else "threads"
    return Device(f"cpu {isa}, {threads} {plural}", using=using, busy=_busy_cpu)


def cpu_devices(threads: Sequence[int]) -> list[Device]:
    """Return the CPU with every instruction set that it has, each with these numbers of threads.

    The first has the least of both: generic code in one thread.
    """
    isas = nondet_ext.build_info()["cpu_isas"]
    return [cpu_device(isa, count) for isa in isas for count in threads]


def cuda_device() -> Device:
    """Return the current CUDA device."""
    place = torch.device("cuda", torch.cuda.current_device())
    return Device(f"{place}", place, busy=lambda: _busy_cuda(place))


def missing_device(name: str) -> str | None:
    """Return why ops cannot run on "cpu" or "cuda" here, or None."""
    if name == "cpu":
        return None
    if not nondet_ext.build_info()["cuda"]:
        return "this build of nondet_ext has no CUDA kernels"
    if not torch.cuda.is_available():
        return "torch finds no CUDA device"
    return None


@contextmanager
def _busy_cpu() -> Iterator[None]:
    """Let another thread add numbers, with pauses in which the cores are free."""
    x = torch.ones(1 << 18)

    def work() -> None:
        torch.add(x, 0, out=x)
        time.sleep(0.001)

    with _repeating(work):
        yield


@contextmanager
def _busy_cuda(place: torch.device) -> Iterator[None]:
    """Keep two other streams of the device at work, at most eight kernels ahead each."""
    streams = [torch.cuda.Stream(place) for _ in range(2)]
    tensors = [torch.ones(1 << 20, device=place) for _ in streams]

    def work() -> None:
        for stream, x in zip(streams, tensors, strict=True):
            with torch.cuda.stream(stream):
                for _ in range(8):
                    torch.add(x, 0, out=x)
        for stream in streams:
            stream.synchronize()

    torch.cuda.synchronize(place)
    with _repeating(work):
        yield
    torch.cuda.synchronize(place)


@contextmanager
def _repeating(work: Callable[[], object]) -> Iterator[None]:
    """Call a function again and again in another thread inside of the context. Raises RuntimeError
    at its end if a call failed.
    """
    ended = threading.Event()
    failures: list[Exception] = []

    def repeat() -> None:
        try:
            while not ended.is_set():
                work()
        except Exception as error:
            failures.append(error)

    thread = threading.Thread(target=repeat, name="busy", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    if failures:
        raise RuntimeError(f"the other work failed: {failures[0]}") from failures[0]
