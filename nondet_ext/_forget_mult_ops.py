"""forget_mult as torch ops: memory, choice of the kernel, derivatives. forget_mult.py checks the
arguments.
"""

from collections.abc import Sequence
from typing import Any

import torch

from nondet_ext._backend import NATIVE_DTYPE, backend_for
from nondet_ext._op import Op
from nondet_ext._transforms import to_dim, total

Maybe = torch.Tensor | None


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


def _recurrence(
    factors: torch.Tensor, added: torch.Tensor, initial: torch.Tensor | None
) -> torch.Tensor:
    """Return the states s[t] = factors[t] * s[t - 1] + added[t], from `initial` or zeros.

    forget_mult computes them in two steps each: gate -factors[t] with candidate 0 makes the state
    -factors[t] * s, and gate -1 with candidate added[t] / 2 negates it and adds added[t].
    """
    shape = (2 * factors.shape[0], *factors.shape[1:])
    gates = torch.stack([-factors, torch.full_like(factors, -1)], 1).reshape(shape)
    candidates = torch.stack([torch.zeros_like(added), added / 2], 1).reshape(shape)
    return forget_mult(candidates, gates, None, initial)[0][1::2]


def _wide(*tensors: torch.Tensor | None) -> list[Any]:
    """Return tensors of at least float32."""
    low = (torch.float16, torch.bfloat16)
    return [
        each.to(torch.float32) if each is not None and each.dtype in low else each
        for each in tensors
    ]


def _or_zeros(tensor: torch.Tensor | None, like: torch.Tensor) -> torch.Tensor:
    return torch.zeros_like(like) if tensor is None else tensor


def _change_of_states(
    z: torch.Tensor, f: torch.Tensor, initial: torch.Tensor | None, of: Sequence[Maybe]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the states before and after each step, and how they change with the tangents `of` of
    z, f and initial.
    """
    start = z.new_zeros(z.shape[1:]) if initial is None else initial
    after = forget_mult(z, f, None, initial)[0]
    before = torch.cat([start[None], after])[:-1]
    of_z, of_f, of_start = (_or_zeros(x, y) for x, y in zip(of, (z, f, start), strict=True))
    change = _recurrence(f, of_f * (before - z) + (1 - f) * of_z, of_start)
    return before, after, torch.cat([of_start[None], change])[:-1], change


def _forget_mult_tangent(
    op: object, arguments: list[Any], tangents: Sequence[Maybe]
) -> tuple[torch.Tensor, torch.Tensor]:
    dtype = arguments[0].dtype
    z, f, o, initial, *of = _wide(*arguments, *tangents)
    _, after, _, change = _change_of_states(z, f, initial, (of[0], of[1], of[3]))
    start = _or_zeros(of[3], z.new_empty(z.shape[1:]))
    last = torch.cat([start[None], change])[-1]
    if o is not None:
        change = o * change if of[2] is None else o * change + of[2] * after
    return change.to(dtype), last.to(dtype)


def _backward_tangent(
    op: object, arguments: list[Any], tangents: Sequence[Maybe]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the tangents of the gradients of z, f, o and the initial state."""
    dtype = arguments[2].dtype
    grad_h, grad_last, z, f, o, initial, *of = _wide(*arguments, *tangents)
    of_h, of_last, of_z, of_f, of_o, of_initial = of
    before, after, of_before, of_after = _change_of_states(z, f, initial, (of_z, of_f, of_initial))
    grad_h, of_h = _or_zeros(grad_h, z), _or_zeros(of_h, z)
    empty = z.new_empty(z.shape[1:])
    grad_last, of_last = _or_zeros(grad_last, empty), _or_zeros(of_last, empty)
    of_f = _or_zeros(of_f, f)
    # From the last step to the first: the gradients of the states, and their tangents.
    through = grad_h if o is None else grad_h * o
    of_through = of_h if o is None else total(of_h * o, None if of_o is None else grad_h * of_o)
    following = torch.cat([f, torch.ones_like(f[:1])])[1:].flip(0)
    reaching = _recurrence(following, through.flip(0), grad_last).flip(0)
    later = torch.cat([of_f * reaching, torch.zeros_like(f[:1])])[1:]
    of_reaching = _recurrence(following, (of_through + later).flip(0), of_last).flip(0)
    of_grad_z = (1 - f) * of_reaching - of_f * reaching
    of_grad_f = of_reaching * (before - z) + reaching * (of_before - _or_zeros(of_z, z))
    of_grad_o = z.new_empty(0) if o is None else of_h * after + grad_h * of_after
    of_start = (f * of_reaching + of_f * reaching)[0] if z.shape[0] else of_last
    return (
        of_grad_z.to(dtype),
        of_grad_f.to(dtype),
        of_grad_o.to(dtype),
        of_start.to(dtype),
    )


def _save_all(ctx: Any, inputs: tuple[Any, ...], output: object) -> None:
    ctx.has = [each is not None for each in inputs]
    ctx.save_for_backward(*(each for each in inputs if each is not None))
    ctx.set_materialize_grads(False)


def _differentiate_twice(ctx: Any, *gradients: Maybe) -> tuple[Maybe, ...]:
    """Return the gradients of the arguments of forget_mult_backward.

    They are tangents along the given `gradients` as the second derivatives are symmetric.
    """
    saved = list(ctx.saved_tensors)
    given = [saved.pop(0) if has else None for has in ctx.has]
    along = [*gradients[:2], gradients[2] if ctx.has[4] else None, gradients[3]]
    if all(each is None for each in along):
        return (None,) * 6
    first = _forget_mult_tangent(None, given[2:], along)
    second = _backward_tangent(None, given, [None, None, *along])
    return tuple(
        each if has else None for each, has in zip((*first, *second), ctx.has, strict=True)
    )


Dims = list[int | None]


def _batch_forget_mult(op: Any, size: int, dims: Dims, *arguments: Maybe) -> Any:
    # The batch stands behind the steps, and first where there are none.
    given = [
        None if x is None else to_dim(x, d, wanted, size)
        for x, d, wanted in zip(arguments, dims, (1, 1, 1, 0), strict=True)
    ]
    return op(*given), (1, 0)


def _batch_backward(op: Any, size: int, dims: Dims, *arguments: Maybe) -> Any:
    given = [
        None if x is None else to_dim(x, d, wanted, size)
        for x, d, wanted in zip(arguments, dims, (1, 0, 1, 1, 1, 0), strict=True)
    ]
    of_o = None if arguments[4] is None else 1
    return op(*given), (1, 1, of_o, 0)


forget_mult = Op(
    "forget_mult",
    _forget_mult,
    fake=lambda z, *_: (z.new_empty(z.shape), z.new_empty(z.shape[1:])),
    backward=_differentiate,
    setup_context=_save_inputs,
    tangent=_forget_mult_tangent,
    batch=_batch_forget_mult,
)
forget_mult_backward = Op(
    "forget_mult_backward",
    _forget_mult_backward,
    fake=_empty_gradients,
    backward=_differentiate_twice,
    setup_context=_save_all,
    tangent=_backward_tangent,
    batch=_batch_backward,
)
