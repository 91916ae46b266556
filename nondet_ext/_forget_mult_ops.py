"""forget_mult as torch ops: memory, choice of the kernel, derivatives. forget_mult.py checks the
arguments.
"""

from typing import Any

import torch

from nondet_ext._backend import NATIVE_DTYPE, backend_for
from nondet_ext._op import Op


def _address(tensor: torch.Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()


def _plain(tensor: torch.Tensor | None) -> torch.Tensor | None:
    """Return the tensor as the kernels read it: contiguous, without lazy negation."""
    return None if tensor is None else tensor.resolve_neg().contiguous()


def _sizes(z: torch.Tensor) -> dict[str, Any]:
    return {
        "dtype": NATIVE_DTYPE[z.dtype],
        "steps": z.shape[0],
        "columns": z.shape[1:].numel(),
    }


def _forget_mult(
    z: torch.Tensor, f: torch.Tensor, o: torch.Tensor | None, initial: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    h = z.new_empty(z.shape)
    last = z.new_empty(z.shape[1:])
    if z.shape[0] == 0 or last.numel() == 0:
        return h, last.zero_() if initial is None else last.copy_(initial)
    read = [_plain(each) for each in (z, f, o, initial)]
    backend_for(z).run(
        "forget_mult",
        **dict(zip(("z", "f", "o", "initial"), map(_address, read), strict=True)),
        h=h.data_ptr(),
        last=last.data_ptr(),
        **_sizes(z),
    )
    return h, last


def _empty_gradients(
    grad_h: object, grad_last: object, z: torch.Tensor, f: object, o: object, initial: object
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    of_o = z.new_empty(0 if o is None else z.shape)
    return z.new_empty(z.shape), z.new_empty(z.shape), of_o, z.new_empty(z.shape[1:])


def _forget_mult_backward(
    grad_h: torch.Tensor | None,
    grad_last: torch.Tensor | None,
    z: torch.Tensor,
    f: torch.Tensor,
    o: torch.Tensor | None,
    initial: torch.Tensor | None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the gradients of z, f, o (empty if o is None) and the initial state."""
    gradients = _empty_gradients(grad_h, grad_last, z, f, o, initial)
    grad_z, grad_f, grad_o, grad_initial = gradients
    if z.shape[0] == 0 or grad_initial.numel() == 0:
        if grad_last is None:
            grad_initial.zero_()
        else:
            grad_initial.copy_(grad_last)
        return gradients
    names = ("z", "f", "o", "initial", "grad_h", "grad_last")
    read = [_plain(each) for each in (z, f, o, initial, grad_h, grad_last)]
    backend = backend_for(z)
    arguments = dict(zip(names, map(_address, read), strict=True))
    if backend.launches:
        # The states before each step and after the last.
        wide = torch.float64 if z.dtype == torch.float64 else torch.float32
        cells = z.new_empty((z.shape[0] + 1, *z.shape[1:]), dtype=wide)
        arguments["cells"] = cells.data_ptr()
    backend.run(
        "forget_mult_backward",
        **arguments,
        grad_z=grad_z.data_ptr(),
        grad_f=grad_f.data_ptr(),
        grad_o=0 if o is None else grad_o.data_ptr(),
        grad_initial=grad_initial.data_ptr(),
        **_sizes(z),
    )
    return gradients


def _save_inputs(
    ctx: Any, inputs: tuple[Any, ...], output: tuple[torch.Tensor, torch.Tensor]
) -> None:
    z, f, o, initial = inputs
    ctx.has = o is not None, initial is not None
    ctx.save_for_backward(z, f, *(each for each in (o, initial) if each is not None))
    ctx.set_materialize_grads(False)


def _differentiate(
    ctx: Any, grad_h: torch.Tensor | None, grad_last: torch.Tensor | None
) -> tuple[torch.Tensor | None, ...]:
    z, f, *more = ctx.saved_tensors
    gated, begun = ctx.has
    if grad_h is None and grad_last is None:
        return None, None, None, None
    o = more.pop(0) if gated else None
    initial = more.pop(0) if begun else None
    grads = forget_mult_backward(grad_h, grad_last, z, f, o, initial)
    return grads[0], grads[1], grads[2] if gated else None, grads[3] if begun else None


forget_mult = Op(
    "forget_mult",
    _forget_mult,
    fake=lambda z, *_: (z.new_empty(z.shape), z.new_empty(z.shape[1:])),
    backward=_differentiate,
    setup_context=_save_inputs,
)
forget_mult_backward = Op("forget_mult_backward", _forget_mult_backward, fake=_empty_gradients)
