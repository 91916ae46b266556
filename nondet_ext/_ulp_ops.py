"""The ULP family as torch ops: memory, choice of the kernel. ulp.py checks the arguments."""

from collections.abc import Callable, Sequence

import torch

from nondet_ext._backend import NATIVE_DTYPE, backend_for
from nondet_ext._layout import apart, is_dense, merged
from nondet_ext._op import Op
from nondet_ext._sorting import stable_sort

WIDTH = {torch.float64: 64, torch.float32: 32, torch.float16: 16, torch.bfloat16: 16}
DIRECTIONS = (1, -1)


def describe(allowed: Sequence[int]) -> str:
    return f"0 to {len(allowed) - 1}" if isinstance(allowed, range) else "1 or -1"


def refuse_faults(
    numel: int,
    idx: torch.Tensor,
    name: str,
    values: torch.Tensor | None,
    allowed: Sequence[int],
) -> None:
    """Raise an error for the first index out of range, else for the first value that is not
    allowed.

    Checks tensors on the CPU only: reading others would wait for their device.
    """
    if idx.device.type == "cpu" and idx.numel() > 0:
        lowest, highest = idx.aminmax()
        if int(lowest) < -numel or int(highest) >= numel:
            at = int(((idx < -numel) | (idx >= numel)).nonzero()[0])
            range_ = f"allowed: {-numel} to {numel - 1}" if numel else "it has none to change"
            raise IndexError(
                f"idx[{at}] = {int(idx[at])} is out of range for a tensor of {numel} elements "
                f"({range_})"
            )
    if values is not None and values.device.type == "cpu":
        wrong = torch.isin(values, torch.tensor(allowed, device="cpu"), invert=True)
        if bool(wrong.any()):
            at = int(wrong.nonzero()[0])
            raise ValueError(f"{name}[{at}] must be {describe(allowed)}, got {int(values[at])}")


def _next_up(x: torch.Tensor) -> torch.Tensor:
    return _elementwise("neighbor", x, up=True)


def _next_down(x: torch.Tensor) -> torch.Tensor:
    return _elementwise("neighbor", x, up=False)


def _neighbor_out(x: torch.Tensor, up: bool, out: torch.Tensor) -> None:
    _run_elementwise("neighbor", x, out, up=up)


def _spacing(x: torch.Tensor) -> torch.Tensor:
    return _elementwise("spacing", x)


def _elementwise(kernel: str, x: torch.Tensor, **arguments: bool) -> torch.Tensor:
    out = torch.empty_like(x)
    dense = x if is_dense(x) else torch.empty_like(x).copy_(x)
    _run_elementwise(kernel, dense, out, **arguments)
    return out


def _run_elementwise(kernel: str, x: torch.Tensor, out: torch.Tensor, **arguments: bool) -> None:
    if x.numel() == 0:
        return
    backend_for(x).run(
        kernel,
        dtype=NATIVE_DTYPE[x.dtype],
        x=x.data_ptr(),
        out=out.data_ptr(),
        n=x.numel(),
        **arguments,
    )


def _ulp_distance(a: torch.Tensor, b: torch.Tensor, raise_on_nan: bool) -> torch.Tensor:
    out = torch.empty(a.shape, dtype=torch.int64, device=a.device)
    _ulp_distance_out(a, b, raise_on_nan, out)
    return out


def _ulp_distance_out(
    a: torch.Tensor, b: torch.Tensor, raise_on_nan: bool, out: torch.Tensor
) -> None:
    left, right = a.contiguous(), b.contiguous()
    backend = backend_for(a)
    arguments = {
        "dtype": NATIVE_DTYPE[a.dtype],
        "a": left.data_ptr(),
        "b": right.data_ptr(),
        "out": out.data_ptr(),
        "n": out.numel(),
    }
    if out.numel() == 0:
        return
    if backend.launches:
        flag = torch.zeros(1, dtype=torch.int32, device=a.device)
        backend.run("ulp_distance", **arguments, nan_met=flag.data_ptr())
        nan_met = raise_on_nan and bool(flag.item())
    else:
        nan_met = backend.run("ulp_distance", **arguments)
    if raise_on_nan and nan_met:
        first = int((left.isnan() | right.isnan()).reshape(-1).to(torch.int8).argmax())
        raise ValueError(
            f"a or b holds NaN, first at flat index {first}, and NaN has no distance; "
            "nan='propagate' gives the minimum of int64 there"
        )


def _flip_ulp(
    param: torch.Tensor,
    idx: torch.Tensor,
    directions: torch.Tensor | None,
    direction: int,
    ulps: int,
) -> None:
    _edit(param, idx, "direction", directions, DIRECTIONS, direction=direction, ulps=ulps)


def _flip_bit(param: torch.Tensor, idx: torch.Tensor, bits: torch.Tensor | None, bit: int) -> None:
    _edit(param, idx, "bit", bits, range(WIDTH[param.dtype]), bit=bit)


def _edit(
    param: torch.Tensor,
    idx: torch.Tensor,
    name: str,
    values: torch.Tensor | None,
    allowed: Sequence[int],
    **scalars: int,
) -> None:
    """Edit the elements `idx`; `name` is the argument that has one value per index. The kernels
    check every index and value again before the first change.
    """
    if idx.numel() == 0:
        return
    backend = backend_for(param)
    # An index that the kernel changes while it reads would be another one than was checked.
    idx, values = apart(idx, param), None if values is None else apart(values, param)
    kernel = "flip_ulp" if name == "direction" else "flip_bit"
    sizes, strides = merged(param)
    arguments = {
        "dtype": NATIVE_DTYPE[param.dtype],
        "param": param.data_ptr(),
        "sizes": sizes,
        "strides": strides,
        "numel": param.numel(),
        "n": idx.numel(),
        f"{name}s": 0 if values is None else values.data_ptr(),
        **scalars,
    }
    if not backend.launches:
        faults = getattr(backend.kernels, kernel)(**arguments, idx=idx.data_ptr())
        if max(faults) >= 0:
            refuse_faults(param.numel(), idx, name, values, allowed)
        return
    # Equal indices must go to one thread, in the caller's order: a stable sort brings them
    # together.
    wrapped = torch.where(idx < 0, idx + param.numel(), idx)
    sorted_idx, order = stable_sort(wrapped, "idx", launches=True)
    fault = torch.zeros(1, dtype=torch.int32, device=param.device)
    backend.run(
        kernel,
        **arguments,
        sorted=sorted_idx.data_ptr(),
        order=order.data_ptr(),
        fault=fault.data_ptr(),
    )
    if param.device.type == "cuda":
        # Reading the flag would wait for the device, which checks this assertion itself.
        torch._assert_async(
            fault == 0,
            f"nondet_ext: idx is out of range, or {name} is not {describe(allowed)}; "
            "nothing was changed",
        )
    elif fault.item():
        refuse_faults(param.numel(), idx, name, values, allowed)


def _neighbor(
    name: str, run: Callable[[torch.Tensor], torch.Tensor]
) -> Op[[torch.Tensor], torch.Tensor]:
    return Op(
        name,
        run,
        fake=torch.empty_like,
        backward=lambda ctx, grad: grad,  # as torch.nextafter
        tangent=lambda op, arguments, tangents: tangents[0].clone(),
        batch=lambda op, size, dims, x: (op(x), dims[0]),
    )


next_up = _neighbor("next_up", _next_up)
next_down = _neighbor("next_down", _next_down)
neighbor_out = Op("neighbor_out", _neighbor_out, mutates=("out",))
# A step function: its derivative is zero, as that of torch.floor.
spacing = Op(
    "spacing",
    _spacing,
    fake=torch.empty_like,
    backward=lambda ctx, grad: torch.zeros_like(grad),
    tangent=lambda op, arguments, tangents: torch.zeros_like(tangents[0]),
    batch=lambda op, size, dims, x: (op(x), dims[0]),
)
ulp_distance = Op(
    "ulp_distance",
    _ulp_distance,
    fake=lambda a, *_: torch.empty(a.shape, dtype=torch.int64, device=a.device),
)
ulp_distance_out = Op("ulp_distance_out", _ulp_distance_out, mutates=("out",))
flip_ulp = Op("flip_ulp", _flip_ulp, mutates=("param",))
flip_bit = Op("flip_bit", _flip_bit, mutates=("param",))
