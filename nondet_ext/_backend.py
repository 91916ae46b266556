"""The kernels for a tensor's device, and how they are called."""

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
    """The kernels of a device and their common arguments: `threads` for CPU loops, `stream` for
    CUDA launchers.
    """

    kernels: Any
    launches: bool
    context: dict[str, int]
    device: torch.device

    def run(self, kernel: str, **arguments: object) -> Any:
        """Call a kernel with the common arguments. CUDA refuses a stream of another device than the
        current one, so the device is made current.
        """
        function = getattr(self.kernels, kernel)
        if not self.launches or self.device.type != "cuda":
            return function(**arguments, **self.context)
        with torch.cuda.device(self.device):
            return function(**arguments, **self.context)

    def run_in_workspace(self, kernel: str, sizes: dict[str, int], **arguments: Any) -> None:
        """Call a kernel of a sum. Launchers also need device memory: as many bytes as their sizing
        function returns for the dtype, the order and these `sizes`.
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
    _C.direct.pause(launchers is not None)
    try:
        yield
    finally:
        _emulated = before
        _C.direct.pause(before is not None)


def backend_for(tensor: torch.Tensor) -> Backend:
    """Return the backend of the tensor's device.

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
