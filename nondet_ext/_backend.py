"""Which kernels a tensor goes to, and what they need beside its address."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, NamedTuple

import torch

from nondet_ext._native import _C
from nondet_ext.threads import cpu_threads

NATIVE_DTYPE = {
    torch.float64: _C.DType.float64,
    torch.float32: _C.DType.float32,
    torch.float16: _C.DType.float16,
    torch.bfloat16: _C.DType.bfloat16,
}


class Backend(NamedTuple):
    """Kernels and their calling convention: CPU loops take `threads`, CUDA launchers a `stream`."""

    kernels: Any
    launches: bool
    context: dict[str, int]
    device: torch.device

    def run(self, kernel: str, **arguments: object) -> Any:
        """Call a kernel that takes the context, on its device: a stream of another than the current
        one would be refused.
        """
        function = getattr(self.kernels, kernel)
        if not self.launches or self.device.type != "cuda":
            return function(**arguments, **self.context)
        with torch.cuda.device(self.device):
            return function(**arguments, **self.context)

    def run_in_workspace(self, kernel: str, sizes: dict[str, int], **arguments: Any) -> None:
        """Call a kernel of a sum. A launcher needs device memory as well: as many bytes as its
        sizing function returns for the dtype, the order and these `sizes`.
        """
        if not self.launches:
            self.run(kernel, **arguments)
            return
        size_of = getattr(self.kernels, f"{kernel}_workspace")
        size = size_of(dtype=arguments["dtype"], order=arguments["order"], **sizes)
        workspace = torch.empty(size, dtype=torch.uint8, device=self.device)
        self.run(kernel, **arguments, workspace=workspace.data_ptr())


_emulated: ModuleType | None = None


@contextmanager
def use_backend(launchers: ModuleType | None) -> Iterator[None]:
    """Send CPU tensors to `launchers`, a module with the functions of ``_C.cuda``. For tests; not
    thread-safe.
    """
    global _emulated
    before = _emulated
    _emulated = launchers
    try:
        yield
    finally:
        _emulated = before


def emulating() -> bool:
    """Whether :func:`use_backend` is in force."""
    return _emulated is not None


def backend_for(tensor: torch.Tensor) -> Backend:
    """The backend of the tensor's device.

    Raises:
        RuntimeError: a CUDA tensor met a build without CUDA.
        NotImplementedError: the device is neither CPU nor CUDA.
    """
    device = tensor.device
    if tensor.is_cpu:
        if _emulated is not None:
            return Backend(_emulated, True, {"stream": 0}, device)
        return Backend(_C.cpu, False, {"threads": cpu_threads()}, device)
    if device.type == "cuda":
        launchers = getattr(_C, "cuda", None)
        if launchers is None:
            raise RuntimeError(
                f"the tensor is on {device}, but this build of nondet_ext has no CUDA kernels: "
                "with nvcc on PATH, run NONDET_CUDA=on pip install --force-reinstall --no-deps . "
                "in the source checkout"
            )
        stream = torch.cuda.current_stream(device).cuda_stream
        return Backend(launchers, True, {"stream": stream}, device)
    raise NotImplementedError(
        f"the tensor is on {device}; nondet_ext has kernels for cpu and cuda tensors"
    )
