"""The instruction set of the CPU kernels, which `build_info` names."""

from collections.abc import Iterator
from contextlib import contextmanager

from nondet_ext._native import _C


@contextmanager
def instruction_set(name: str) -> Iterator[None]:
    """Run the CPU kernels of all threads with an instruction set inside the ``with`` block: one of
    ``build_info()["cpu_isas"]``. It changes no bit of a result.

    Raises:
        ValueError: this build lacks it, or the processor does.
    """
    before = _C.cpu.current_isa()
    _C.cpu.set_isa(name)
    try:
        yield
    finally:
        _C.cpu.set_isa(before)
