"""Tensor subclasses that compute operators themselves, from operators on other tensors."""

from collections.abc import Iterable
from typing import Any

import torch

# Stand-ins for tensors while a graph is traced; their operators are those of plain tensors.
_TRACED = ("torch._subclasses.fake_tensor", "torch._subclasses.functional_tensor")
# Questions about shape, layout or device, which only the subclass answers.
_QUESTIONS = (
    *("dim", "size", "sym_size", "stride", "sym_stride", "numel", "sym_numel", "storage_offset"),
    *("sym_storage_offset", "is_contiguous", "sym_is_contiguous", "is_strides_like_format"),
    "is_non_overlapping_and_dense",
)
_PLAIN = torch._C._disabled_torch_dispatch_impl  # the __torch_dispatch__ of torch.Tensor


def is_without_elements(types: Iterable[Any]) -> bool:
    """Return True if tensors of these subclasses have shapes but no elements, and no graph is
    recorded: only shapes are asked for, as DTensor does before its first call of an operator.
    """
    return (
        any(each.__module__ == _TRACED[0] for each in types)
        and torch._C._get_dispatch_mode(torch._C._TorchDispatchModeKey.PROXY) is None
    )


def computes_itself(func: Any, types: Iterable[Any]) -> bool:
    """Return True if a call on tensors of these subclasses is left to them.

    DTensor, MaskedTensor and the jagged NestedTensor, for example, compute an operator from
    operators on the tensors that they wrap.
    """
    subclasses = [each for each in types if each.__torch_dispatch__ is not _PLAIN]
    if all(each.__module__ in _TRACED for each in subclasses):
        is_operator = bool(subclasses) and isinstance(func, torch._ops.OpOverload)
        return is_operator and (
            func.namespace == "prim" or func.overloadpacket.__name__ in _QUESTIONS
        )
    return True
