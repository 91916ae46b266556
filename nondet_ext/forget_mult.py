"""The recurrence of quasi-recurrent networks (Bradbury, Merity, Xiong and Socher 2017,
"Quasi-Recurrent Neural Networks"), as one op for all steps.
"""

from collections.abc import Sequence

import torch
from torch.nn import functional as F

from nondet_ext import _check
from nondet_ext import _forget_mult_ops as ops
from nondet_ext.philox import philox_uniform


def _check_like(
    name: str, value: object, other: str, model: torch.Tensor, shape: Sequence[int]
) -> torch.Tensor:
    """Return `value` as a tensor of this shape, with the dtype and device of `model`, which errors
    call `other`.
    """
    tensor = _check.float_tensor(name, value)
    _check.refuse_stray(name, tensor)
    if tensor.dtype != model.dtype:
        raise TypeError(f"{name} must be {model.dtype} as {other} is, got {tensor.dtype}")
    if tensor.shape != torch.Size(shape):
        raise ValueError(
            f"{name} must have shape {tuple(shape)} to go with {other}, got {tuple(tensor.shape)}"
        )
    if tensor.device != model.device:
        raise ValueError(f"{name} must be on {model.device} as {other} is, got {tensor.device}")
    return tensor


def forget_mult(
    z: torch.Tensor,
    f: torch.Tensor,
    o: torch.Tensor | None = None,
    initial: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute the states of a gated recurrence over the first dimension: f-pooling, or fo-pooling
    if there is an output gate (Bradbury et al. 2017, eq. 3 and 4).

    Equal, bit for bit in float64 and float32, to:
    ``for t in range(T): c = f[t] * c + (1 - f[t]) * z[t]; h[t] = o[t] * c``.

    Args:
        z, f, o: candidates, forget gates and output gates, (T, ...) of one shape, dtype and device;
            any strides; float64, float32, float16 or bfloat16. Without `o`, h is the state itself.
        initial: the state before the first step, (...), zeros if None.

    Returns:
        (h, last): the outputs, (T, ...), and the state after the last step, (...); a copy of
        `initial` where T is 0. Each product and sum is rounded by itself. The state of float16 and
        bfloat16 is kept in float32, and results are rounded once.

    The bits do not depend on the number of threads, the instruction set, the split of the columns
    or the device. First derivatives in reverse mode come from a reverse recurrence in the same
    arithmetic (docs/numerics.md), which saves the inputs alone and recomputes the states. Higher
    ones and those in forward mode come from recurrences of this kind and elementwise operators.
    Under torch.vmap each entry has the bits that a call for it alone would give.

    Raises:
        TypeError: an argument is not a dense floating-point tensor, or dtypes differ.
        ValueError: shapes or devices do not fit.
    """
    _check.float_tensor("z", z)
    if z.dim() == 0:
        raise ValueError("z must have the steps as its first dimension, got a 0-d tensor")
    _check_like("f", f, "z", z, z.shape)
    if o is not None:
        _check_like("o", o, "z", z, z.shape)
    if initial is not None:
        _check_like("initial", initial, "z", z, z.shape[1:])
    return ops.forget_mult(z, f, o, initial)


def qrnn(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    *,
    hidden: torch.Tensor | None = None,
    previous: torch.Tensor | None = None,
    window: int = 1,
    zoneout: float = 0.0,
    key: Sequence[int] | None = None,
    counter: Sequence[int] = (),
    training: bool = False,
    output_gate: bool = True,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Apply a quasi-recurrent layer: gates from a window of inputs by one product over all steps,
    then :func:`forget_mult` (Bradbury et al. 2017, Sec. 2).

    z, f, o are tanh, sigmoid and sigmoid of the three (two without output gate) equal parts of
    ``torch.nn.functional.linear(seen, weight, bias)``, where `seen` is x_t, or with a window of 2
    x_t followed by x_{t-1}.

    Args:
        x: (T, B, I), T at least 1.
        weight: (G H, window I) with G = 3, or 2 without output gate; bias: (G H).
        hidden: (B, H), the state before the first step; zeros if None.
        previous: (B, I), the input before the first one, with a window of 2; zeros if None.
        zoneout: the probability that a state keeps its value (Krueger et al. 2017; Bradbury et
            al. 2017, eq. 6). In training f is 1 where ``philox_uniform((T, B, H), seed=key[0],
            stream=key[1], counter=counter)`` is below it; else f becomes its mean over these draws,
            1 - (1 - zoneout)(1 - f).
        key, counter: of those draws; needed in training with zoneout above 0.

    Returns:
        (h, last): (T, B, H), and the state after the last step, (B, H).

    Raises:
        TypeError, ValueError: an argument is not as above; the message names it.
    """
    _check.refuse_stray("x", _check.float_tensor("x", x))
    _check.refuse_stray("weight", _check.float_tensor("weight", weight))
    window = _check.integer("window", window, 1, 2)
    gates = 3 if output_gate else 2
    if x.dim() != 3 or x.shape[0] == 0:
        raise ValueError(f"x must have shape (T, B, I) with T at least 1, got {tuple(x.shape)}")
    _, batch, inputs = x.shape
    if weight.dim() != 2 or weight.shape[0] % gates or weight.shape[1] != window * inputs:
        raise ValueError(
            f"weight must have shape ({gates} H, {window * inputs}), got {tuple(weight.shape)}"
        )
    _check_like("weight", weight, "x", x, weight.shape)
    if bias is not None:
        _check_like("bias", bias, "weight", weight, weight.shape[:1])
    if hidden is not None:
        _check_like("hidden", hidden, "x", x, (batch, weight.shape[0] // gates))
    if window == 1 and previous is not None:
        raise ValueError("previous is given, but a window of 1 does not look back")
    if previous is not None:
        _check_like("previous", previous, "x", x, (batch, inputs))
    zoneout = _check.real("zoneout", zoneout)
    if not 0 <= zoneout < 1:
        raise ValueError(f"zoneout must lie in [0, 1), got {zoneout}")
    if zoneout > 0 and training and (key is None or len(key) != 2):
        raise ValueError(f"key must be (seed, stream) in training with zoneout, got {key}")
    seen = x
    if window == 2:
        first = x.new_zeros(1, batch, inputs) if previous is None else previous[None]
        seen = torch.cat([x, torch.cat([first, x[:-1]])], 2)
    parts = F.linear(seen, weight, bias).chunk(gates, 2)
    z, f = torch.tanh(parts[0]), torch.sigmoid(parts[1])
    if zoneout > 0 and training:
        assert key is not None
        draws = philox_uniform(
            tuple(f.shape), seed=key[0], stream=key[1], counter=tuple(counter), device=f.device
        )
        f = torch.where(draws < zoneout, torch.ones_like(f), f)
    elif zoneout > 0:
        f = 1 - (1 - zoneout) * (1 - f)
    return forget_mult(z, f, torch.sigmoid(parts[2]) if output_gate else None, hidden)
