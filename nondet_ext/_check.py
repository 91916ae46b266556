"""Checks of arguments. Errors name the argument, its value and the allowed values."""

import difflib
import operator
from collections.abc import Collection, Sequence
from typing import SupportsIndex, TypeGuard

import numpy as np
import torch
from torch.autograd import forward_ad
from torch.nn.parameter import is_lazy

from nondet_ext import _tracing

FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
_ALL = [tuple(range(ndim)) for ndim in range(8)]
_STRIDED = torch.strided
# torch cannot compute with all unsigned integers.
_SIGNED = {torch.uint16: torch.int32, torch.uint32: torch.int64}
INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, *_SIGNED)
_FLAGS = (bool, np.bool_)
PLAIN = (torch.Tensor, torch.nn.Parameter)


def unknown_choice(name: str, value: object, known: Sequence[str], more: str = "") -> ValueError:
    """Return the error for an argument that is none of the known words, with similar ones.

    more: what else is allowed, such as "a function".
    """
    words = [*map(repr, known), *([more] if more else [])]
    allowed = f"{', '.join(words[:-1])} or {words[-1]}"
    close: list[str] = []
    # torch.compile cannot trace difflib.
    if isinstance(value, str) and not torch.compiler.is_dynamo_compiling():
        close = difflib.get_close_matches(value.lower(), known)
    meant = f"; did you mean {' or '.join(map(repr, close))}?" if close else ""
    return ValueError(f"{name} must be {allowed}, got {value!r}{meant}")


def no_tangent(**tensors: torch.Tensor | None) -> None:
    """Raise NotImplementedError if a tensor carries a forward-mode tangent, for a function without
    derivative, which would drop it silently.
    """
    if torch.compiler.is_dynamo_compiling():
        if not _tracing.has_tangents():
            return
    # A caller may have handled the tangents.
    elif forward_ad._current_level < 0 or not torch._C._is_fwd_grad_enabled():
        return
    for name, tensor in tensors.items():
        if tensor is not None:
            _tracing.refuse_tangent(name, tensor)


def not_compiling(name: str, reason: str) -> None:
    """Raise RuntimeError in code that torch.compile traces. (Without ``fullgraph=True`` torch then
    leaves the caller uncompiled.)
    """
    if torch.compiler.is_dynamo_compiling():
        raise RuntimeError(f"nondet_ext.{name} cannot be compiled by torch.compile: {reason}")


def no_derivative(out: torch.Tensor, x: torch.Tensor) -> None:
    """Raise an error if autograd would have to record that `out` is computed from `x`.

    Raises:
        ValueError: one of them requires grad, or a transform of torch.func is active, which may
            record what cannot be seen here.
        NotImplementedError: one of them carries a forward-mode tangent.
    """
    recorded = torch.is_grad_enabled() and (x.requires_grad or out.requires_grad)
    if recorded or in_transform():
        raise ValueError(
            "out= does not take part in autograd or transforms of torch.func; x and out must not "
            "require grad"
        )
    no_tangent(x=x, out=out)


def in_transform() -> bool:
    """Return True inside of a transform of torch.func, such as vmap or grad."""
    return _tracing.is_transformed()


def in_dual_level() -> bool:
    """Return True where tensors may carry forward-mode tangents."""
    if torch.compiler.is_dynamo_compiling():
        return _tracing.has_tangents()
    return forward_ad._current_level >= 0


def float_tensor(name: str, value: object) -> torch.Tensor:
    return dense(name, value, FLOATS, "be a dense float64, float32, float16 or bfloat16 tensor")


def dense(name: str, value: object, dtypes: Collection[torch.dtype], wanted: str) -> torch.Tensor:
    """Return `value`, a tensor of one of the dtypes whose elements lie in one strided memory, or
    will where it is a tracer's.

    Raises:
        TypeError: it is something else: of another type or dtype, sparse, mkldnn, nested,
            quantized, uninitialised, or a FakeTensor outside of its mode.
    """
    if not isinstance(value, torch.Tensor):
        raise TypeError(f"{name} must be a torch.Tensor, got {type(value).__name__}")
    if type(value) not in PLAIN:
        _refuse_unusual(name, value, wanted)
    if value.dtype not in dtypes or value.layout is not _STRIDED or value.is_nested:
        kind = "nested " if value.is_nested else ""
        layout = "" if value.layout == torch.strided else f"{value.layout} "
        raise TypeError(f"{name} must {wanted}, got {kind}{layout}{value.dtype}")
    return value


def _refuse_unusual(name: str, value: torch.Tensor, wanted: str) -> None:
    if torch.compiler.is_compiling():
        return
    if is_lazy(value):
        raise TypeError(f"{name} must {wanted}, got an {type(value).__name__}")
    if torch._C._len_torch_dispatch_stack() == 0 and hasattr(value, "fake_mode"):
        raise TypeError(f"{name} must {wanted}, got a {type(value).__name__} outside of its mode")


def with_values(name: str, tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor, for a function whose course depends on its values.

    Raises:
        TypeError: it is on the meta device.
        ValueError: it has left the transform of torch.func that made it.
    """
    if tensor.is_meta:
        raise TypeError(f"{name} must have values, got a tensor on the meta device")
    refuse_stray(name, tensor)
    return tensor


def refuse_stray(name: str, tensor: torch.Tensor) -> None:
    """Raise ValueError if a tensor has left the transform of torch.func that made it."""
    if torch.compiler.is_compiling():
        return
    functorch = torch._C._functorch
    if functorch.is_functorch_wrapped_tensor(tensor) and not _tracing.is_transformed():
        raise ValueError(f"{name} has left the transform of torch.func that made it")


def writable(name: str, tensor: torch.Tensor) -> None:
    """Raise ValueError if a tensor cannot be written to, because it is a lazy negation."""
    if not torch.compiler.is_compiling() and tensor.is_neg():
        raise ValueError(
            f"{name} is a lazy negation of another tensor and cannot be changed in place; "
            f"pass {name}.resolve_neg()"
        )


def index_tensor(name: str, value: object) -> torch.Tensor:
    if not isinstance(value, torch.Tensor):
        raise TypeError(f"{name} must be an int64 or int32 tensor, got {type(value).__name__}")
    return dense(name, value, (torch.int64, torch.int32), "be an int64 or int32 tensor, dense")


def integers(name: str, value: object) -> torch.Tensor:
    """Return a tensor of integers in a dtype that torch can compute with."""
    tensor = dense(
        name,
        value,
        INTEGERS,
        "hold integers: be a dense tensor of int64, int32, int16, int8, uint8, uint16 or uint32",
    )
    signed = _SIGNED.get(tensor.dtype)
    return tensor if signed is None else tensor.to(signed)


def is_index(value: object) -> TypeGuard[SupportsIndex]:
    # isinstance with SupportsIndex takes ten times as long.
    return hasattr(value, "__index__")


def as_int(name: str, value: object) -> int:
    """Return `value`, an int, a NumPy integer, an integer tensor of one element or another object
    with ``__index__``, as an int; refuse booleans and floats.
    """
    if type(value) is int:
        return value
    is_flag = type(value) in _FLAGS or (
        isinstance(value, torch.Tensor) and value.dtype == torch.bool
    )
    if not is_flag and is_index(value):
        try:
            return operator.index(value)
        except TypeError:  # an array or a tensor of floats, or of several elements
            pass
    raise TypeError(f"{name} must be an integer, got {type(value).__name__}")


def flag(name: str, value: object) -> bool:
    """Return `value`, a bool, a NumPy bool, 0 or 1, as a bool."""
    if value is True or value is False:
        return value
    if type(value) in _FLAGS or (type(value) is int and value in (0, 1)):
        return bool(value)
    raise TypeError(f"{name} must be a bool, got {type(value).__name__}")


def real(name: str, value: object) -> float:
    """Return `value`, an int, a float or a NumPy number of such a kind, as a float."""
    if type(value) is float:
        return value
    if type(value) in _FLAGS or not isinstance(value, int | float | np.integer | np.floating):
        raise TypeError(f"{name} must be a float, got {type(value).__name__}")
    return float(value)


def integer(name: str, value: object, low: int, high: int) -> int:
    """Return `value` as an int in [low, high]; refuse booleans."""
    number = as_int(name, value)
    if not low <= number <= high:
        raise ValueError(f"{name} must be in [{low}, {high}], got {number}")
    return number


def word(name: str, value: object) -> int:
    """Return `value` as a word of a Philox key or counter, an int in [0, 2**32)."""
    return integer(name, value, 0, 2**32 - 1)


def integer_tensor(name: str, value: object) -> torch.Tensor:
    """Return an int, a sequence of ints, an array or an integer tensor as a flat int64 tensor, on
    the device of `value` if it is a tensor, else on the CPU.
    """
    if isinstance(value, torch.Tensor):
        tensor = with_values(name, integers(name, value)).detach()
        return tensor.reshape(-1).to(torch.int64).contiguous()
    if type(value) in _FLAGS:
        raise TypeError(f"{name} must hold integers, got {type(value).__name__}")
    array = getattr(value, "__array__", None)
    if array is not None and not isinstance(value, np.integer):
        return integer_tensor(name, torch.as_tensor(array(), device="cpu"))
    if is_index(value):
        number = integer(name, value, -(2**63), 2**63 - 1)
        return torch.full((1,), number, dtype=torch.int64, device="cpu")
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        numbers = [
            integer(f"{name}[{i}]", each, -(2**63), 2**63 - 1) for i, each in enumerate(value)
        ]
        return torch.tensor(numbers, dtype=torch.int64, device="cpu")
    raise TypeError(
        f"{name} must be an int, a sequence of ints or an integer tensor, "
        f"got {type(value).__name__}"
    )


def shape(name: str, value: object) -> tuple[int, ...]:
    """Return an int or a sequence of ints as a shape."""
    sizes = [value] if is_index(value) else value
    if not isinstance(sizes, Sequence) or isinstance(sizes, str | bytes):
        raise TypeError(f"{name} must be an int or a sequence of ints, got {type(value).__name__}")
    return tuple(integer(name, each, 0, 2**62) for each in sizes)


def float_dtype(name: str, value: object) -> torch.dtype:
    if not isinstance(value, torch.dtype) or value not in FLOATS:
        raise TypeError(f"{name} must be torch.float64, float32, float16 or bfloat16, got {value}")
    return value


def reduced_dims(value: object, ndim: int) -> tuple[int, ...]:
    """Return the dimensions that `dim` of a reduction names, in increasing order; all of them for
    None or an empty sequence.
    """
    if value is None:
        return _ALL[ndim] if ndim < len(_ALL) else tuple(range(ndim))
    if type(value) is int and 0 <= value < ndim:
        return (value,)
    if is_index(value):
        given: Sequence[object] = [value]
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
        given = value or range(ndim)
    else:
        raise TypeError(f"dim must be None, an int or a sequence of ints, got {value!r}")
    bound = max(ndim, 1)  # as in torch, a 0-d tensor takes 0 and -1
    dims = []
    for each in given:
        if not is_index(each) or type(each) in _FLAGS:
            raise TypeError(f"dim must hold ints, got {each!r}")
        number = as_int("dim", each)
        if not -bound <= number < bound:
            raise IndexError(f"dim must be in [{-bound}, {bound - 1}], got {number}")
        dims.append(number % bound)
    if len(set(dims)) != len(dims):
        raise ValueError(f"dim names a dimension twice: {value!r}")
    return tuple(sorted(dims)) if ndim else ()
