"""Units in the last place: neighbours, distances, and in-place changes of chosen elements.

All functions work on the bits by integer arithmetic, so flush-to-zero modes cannot interfere, and
results are the same on every device. Dtypes: float64, float32, float16, bfloat16.
"""

from collections.abc import Sequence

import torch

from nondet_ext import _check
from nondet_ext import _ulp_ops as ops
from nondet_ext._layout import is_dense, overlap, same_elements, shares_memory

_NAN_POLICIES = ("raise", "propagate")
Indices = int | Sequence[int] | torch.Tensor


def next_up(x: torch.Tensor, *, out: torch.Tensor | None = None) -> torch.Tensor:
    """Return the smallest representable value above each element: IEEE 754-2019 nextUp (5.3.1).

    Zeros of either sign give the smallest subnormal, the largest finite value gives infinity,
    infinity and NaN (payload kept) give themselves, -infinity gives the most negative finite value.

    Args:
        x: any shape and strides; float64, float32, float16 or bfloat16.
        out: a tensor for the result: with the shape, dtype, device and strides of a dense `x`;
            `x` itself is allowed.

    Returns:
        A tensor like `x` (with the strides of `torch.empty_like`), or `out`.

    Raises:
        TypeError: `x` is not a tensor of those dtypes.
        ValueError: `out` does not match `x` or overlaps a part of it, or `x` has gaps or shared
            elements; or it is given where autograd records or a transform of torch.func is active.

    The derivative is 1, as that of torch.nextafter.

    Equivalent to: ``torch.nextafter(x, torch.full_like(x, torch.inf))``, which skips the subnormals
    under ``torch.set_flush_denormal(True)``.
    """
    return _neighbor(x, True, out)


def next_down(x: torch.Tensor, *, out: torch.Tensor | None = None) -> torch.Tensor:
    """Return the largest representable value below each element: IEEE 754-2019 nextDown. See
    :func:`next_up`.
    """
    return _neighbor(x, False, out)


def spacing(x: torch.Tensor) -> torch.Tensor:
    """Return the size of one unit in the last place at each element, bit for bit as numpy.spacing
    gives it for the dtype.

    float64, float32, bfloat16: the distance to the next value away from zero, with the sign of the
    element (NumPy: +0 and -0 give a positive result in float64 and float32; ml_dtypes: -0 gives a
    negative one in bfloat16). float16: the distance to the next value towards +infinity, always
    positive. A step to infinity gives infinity; infinities and NaN give NaN.

    Args:
        x: any shape and strides; float64, float32, float16 or bfloat16.

    Raises:
        TypeError: `x` is not a tensor of those dtypes.

    This is a step function: its derivative is zero, as that of torch.floor.
    """
    return ops.spacing(_check.float_tensor("x", x))


def ulp_distance(
    a: torch.Tensor,
    b: torch.Tensor,
    *,
    nan: str = "raise",
    out: torch.Tensor | None = None,
) -> torch.Tensor:
    """Count the representable values between two tensors, element by element.

    Adjacent values are 1 apart; the signed zeros are equal; an infinity is one past the largest
    finite value. float64 distances beyond int64 (such as from -2 to 2) are given as 2**63 - 1.

    Args:
        a, b: tensors of one dtype and device whose shapes broadcast together.
        nan: "raise", or "propagate": NaN on either side gives the minimum of int64. On CUDA "raise"
            waits for the device, "propagate" does not.
        out: a tensor for the result: contiguous int64 of the broadcast shape, on that device.

    Returns:
        int64, of the broadcast shape; or `out`.

    Raises:
        TypeError: a dtype is not supported, or `a` and `b` have different dtypes.
        ValueError: there is a NaN under ``nan="raise"`` (`out` is written nevertheless), the
            devices differ, `out` does not fit or overlaps `a` or `b`, or `nan` is unknown.
    """
    _check.refuse_stray("a", _check.float_tensor("a", a))
    _check.refuse_stray("b", _check.float_tensor("b", b))
    if nan not in _NAN_POLICIES:
        raise _check.unknown_choice("nan", nan, _NAN_POLICIES)
    if a.dtype != b.dtype:
        raise TypeError(f"a and b must have one dtype, got {a.dtype} and {b.dtype}")
    if a.device != b.device:
        raise ValueError(f"a and b must be on one device, got {a.device} and {b.device}")
    left, right = torch.broadcast_tensors(a, b)
    if out is not None:
        _check.dense("out", out, (torch.int64,), "be a dense int64 tensor")
        _check.writable("out", out)
        fits = out.device == a.device and out.shape == left.shape
        if not fits or not out.is_contiguous():
            raise ValueError(
                f"out must be contiguous int64 of shape {tuple(left.shape)} on {a.device}, got "
                f"{out.dtype} of shape {tuple(out.shape)}, strides {out.stride()}, on {out.device}"
            )
        _refuse_overlap(out, a=a, b=b)
        ops.ulp_distance_out(left, right, nan == "raise", out)
        return out
    return ops.ulp_distance(left, right, nan == "raise")


def flip_ulp(
    param: torch.Tensor,
    idx: Indices,
    direction: int | torch.Tensor = 1,
    ulps: int = 1,
) -> torch.Tensor:
    """Move elements, in place, to the next representable value(s) up or down.

    Zeros move to the smallest subnormal of the direction's sign, the largest finite value to
    infinity, an infinity inward to the largest finite value and outward to itself; NaN stays.
    Repeated indices accumulate, as if applied one after another.

    Args:
        param: the tensor to change; any shape, and any strides that give every element its own
            memory. A leaf that requires grad is fine: autograd does not record the change, and the
            version counter moves.
        idx: logical flat indices (row-major over the shape, whatever the strides), negative ones
            counting from the end: an int, a sequence of ints, or an integer tensor of any shape.
        direction: 1 (up) or -1 (down), or an integer tensor of these, one per index.
        ulps: how many representable values to move by, 0 or more.

    Returns:
        `param`.

    Raises:
        TypeError: a dtype or type is not supported.
        ValueError: elements of `param` share memory; `direction` is not 1 or -1 or has another
            length than `idx`; `ulps` is negative.
        IndexError: an index is out of range.

    Every error is raised before anything changes. On CUDA the kernel checks the values of tensor
    arguments, without waiting for the device: a bad value changes nothing, and a device-side
    assertion fails, as in torch's own indexing.
    """
    _check.float_tensor("param", param)
    ulps = _check.integer("ulps", ulps, 0, 2**63 - 1)
    where, directions, common = _edit_arguments(param, idx, "direction", direction, ops.DIRECTIONS)
    ops.flip_ulp(param, where, directions, common, ulps)
    return param


def flip_bit(param: torch.Tensor, idx: Indices, bit: int | torch.Tensor) -> torch.Tensor:
    """Toggle one bit of each chosen element, in place, as a soft error would.

    Args:
        param, idx: as in :func:`flip_ulp`; repeated indices toggle again.
        bit: 0 (least significant) to 63, 31 or 15 (the sign) by the width of the dtype, or an
            integer tensor, one per index.

    Returns:
        `param`.

    Raises:
        As :func:`flip_ulp`; ValueError for a bit that the dtype does not have.
    """
    _check.float_tensor("param", param)
    allowed = range(ops.WIDTH[param.dtype])
    where, bits, common = _edit_arguments(param, idx, "bit", bit, allowed)
    ops.flip_bit(param, where, bits, common)
    return param


def _neighbor(x: torch.Tensor, up: bool, out: torch.Tensor | None) -> torch.Tensor:
    _check.float_tensor("x", x)
    if out is None:
        return ops.next_up(x) if up else ops.next_down(x)
    _check.float_tensor("out", out)
    _check.writable("out", out)
    given = (tuple(out.shape), out.dtype, out.device, out.stride())
    wanted = (tuple(x.shape), x.dtype, x.device, x.stride())
    if given != wanted or not is_dense(x):
        raise ValueError(
            f"out must have the shape, dtype, device and strides of a dense x, {wanted}, "
            f"got {given}"
        )
    _check.no_derivative(out, x)
    _refuse_overlap(out, x=x)
    ops.neighbor_out(x, up, out)
    return out


def _refuse_overlap(out: torch.Tensor, **inputs: torch.Tensor) -> None:
    """Raise ValueError if `out` overlaps an input in another way than being it: threads would read
    what others have written.
    """
    for name, given in inputs.items():
        if overlap(out, given) and not same_elements(out, given):
            raise ValueError(f"out overlaps {name} in memory without being {name}; pass another")


def _edit_arguments(
    param: torch.Tensor, idx: Indices, name: str, value: object, allowed: Sequence[int]
) -> tuple[torch.Tensor, torch.Tensor | None, int]:
    """Check the arguments of an edit as far as possible without waiting for a device.

    Returns:
        `idx` on the device of `param`; and `value` as a tensor there with one entry per index, or
        None, and as an int, which is 0 if there is a tensor.
    """
    _check.writable("param", param)
    if shares_memory(param):
        raise ValueError(
            f"param has elements that share memory (shape {tuple(param.shape)}, "
            f"strides {param.stride()}): changing one would change others; "
            "pass a tensor that owns its elements, such as param.clone()"
        )
    where = _check.integer_tensor("idx", idx)
    common, values = 0, None
    if isinstance(value, torch.Tensor):
        values = _check.integer_tensor(name, value)
        if values.numel() != where.numel():
            raise ValueError(
                f"{name} must have one entry per index, {where.numel()}, got {values.numel()}"
            )
    else:
        common = _check.integer(name, value, -(2**63), 2**63 - 1)
        if common not in allowed:
            raise ValueError(f"{name} must be {ops.describe(allowed)}, got {common}")
    if not torch.compiler.is_compiling():
        ops.refuse_faults(param.numel(), where, name, values, allowed)
    if values is not None:
        values = values.to(param.device)
    return where.to(param.device), values, common
