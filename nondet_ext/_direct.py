"""Calls that go straight to a kernel, past torch's dispatcher, where nothing watches them."""

import torch
from torch.autograd import forward_ad
from torch.overrides import _get_current_function_mode_stack
from torch.utils._device import DeviceContext

from nondet_ext._native import _C
from nondet_ext.threads import cpu_threads


def _has_watching_mode() -> bool:
    # A default device does not change an op, which makes its tensors on the inputs' device.
    return any(type(mode) is not DeviceContext for mode in _get_current_function_mode_stack())


_C.direct.connect(
    # Without this table (of DLPack's C functions) sums go the longer way, to the same bits.
    capsule=getattr(torch.Tensor, "__dlpack_c_exchange_api__", None),
    tensor=torch.Tensor,
    parameter=torch.nn.Parameter,
    quiet=(
        torch._C._len_torch_dispatch_stack,
        torch._C._functorch.peek_interpreter_stack,
        torch._C._is_tracing,
    ),
    function_modes=torch._C._is_torch_function_mode_enabled,
    has_watching_mode=_has_watching_mode,
    grad_enabled=torch.is_grad_enabled,
    forward_level=vars(forward_ad),
    threads=cpu_threads,
)

# Code that torch.compile traces cannot call the functions below.
is_compiling = torch.compiler.is_dynamo_compiling
is_direct = _C.direct.direct
sum = _C.direct.sum
mean = _C.direct.mean
