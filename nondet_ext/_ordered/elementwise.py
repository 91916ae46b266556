"""Elementwise functions whose bits depend on an element's value alone.

Torch computes most of a tensor with vector instructions and the rest of each thread's share with
scalar ones. The two agree only for single operations of IEEE 754, so exp or pow of one value can
have two results. Here such a function gets one-dimensional tensors of a length that leaves no rest
in any thread's share, so that every element takes the vector instructions.
"""

import functools
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch._decomp import decomposition_table
from torch._prims_common import compute_elementwise_output_logical_to_physical_perm

aten = torch.ops.aten


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Untagged by torch. Those with an argument `reduction`, and glu, have decompositions.
UNTAGGED = _names("""
    _add_relu _amp_foreach_non_finite_check_and_unscale_ _prelu_kernel _prelu_kernel_backward
    binary_cross_entropy_backward elu_backward floor_divide floor_divide_ glu glu_backward
    hardsigmoid_backward hardswish hardswish_ hardswish_backward hardtanh_backward
    huber_loss_backward leaky_relu_backward log_sigmoid_backward log_sigmoid_forward mish_backward
    mse_loss_backward polar rrelu_with_noise_backward smooth_l1_loss_backward
    soft_margin_loss_backward softplus_backward softshrink_backward hardshrink_backward
    _fused_adagrad _fused_adagrad_ _fused_adam _fused_adam_ _fused_adamw _fused_adamw_ _fused_sgd
    _fused_sgd_
""")

# Of real numbers: selections, comparisons, and one correctly rounded operation.
_ONE_OPERATION = _names("""
    __lshift__ __rshift__ __xor__ __ilshift__ __irshift__ __ixor__ abs add bitwise_and
    bitwise_left_shift bitwise_not bitwise_or bitwise_right_shift bitwise_xor ceil clamp clamp_max
    clamp_min clip clone conj_physical copysign deg2rad div eq floor fmax fmin fmod frac frexp gcd
    ge gt hardshrink hardtanh heaviside isfinite isinf isnan isneginf isposinf lcm le leaky_relu
    logical_and logical_not logical_or logical_xor lt masked_fill maximum minimum mul nan_to_num
    native_dropout_backward ne neg nextafter positive rad2deg reciprocal relu relu6 round rsub sgn
    sign signbit sqrt square sub threshold threshold_backward true_divide trunc where
    _add_relu _amp_foreach_non_finite_check_and_unscale_ _prelu_kernel hardtanh_backward
    leaky_relu_backward softshrink_backward hardshrink_backward
""")
_OF_COMPLEX = _names("""
    add clone conj_physical eq isfinite isinf isnan logical_and logical_not logical_or
    logical_xor masked_fill ne neg positive rsub sub where
""")
# Of complex numbers: the vector code of torch treats its lanes differently.
_BY_LANE = _names("lerp")
_OF_INTEGERS = _names("addcmul div floor_divide pow remainder")

# Torch gives a thread at least this many elements, by function.
_SHORT_SHARE, _LONG_SHARE = 2048, 32768
# Elements that the loop of any dtype and instruction set takes at once, or a multiple.
_STEP = 64
_ALIGNMENT = 64


@functools.cache
def is_elementwise(op: torch._ops.OpOverload) -> bool:
    """Return True for functions of the elements at one position, random draws and questions
    about whole tensors excluded."""
    if {torch.Tag.nondeterministic_seeded, torch.Tag.data_dependent_output} & set(op.tags):
        return False
    if op.namespace != "aten":
        return torch.Tag.pointwise in op.tags
    packet = op.overloadpacket.__name__
    if packet in UNTAGGED:
        return True
    # Torch tags only some overloads of a function (in place, out=). Others are reductions: max.dim.
    if packet.startswith("_foreach_"):
        packet = packet.removeprefix("_foreach_")
        return packet not in ("max", "min") and any(map(_is_tagged, _relatives(packet)))
    inputs = _inputs(op)
    return any(_is_tagged(each) and _inputs(each) == inputs for each in _relatives(packet))


def _is_tagged(op: torch._ops.OpOverload) -> bool:
    return torch.Tag.pointwise in op.tags


def _inputs(op: torch._ops.OpOverload) -> list[tuple[str, str]]:
    return [(a.name, str(a.type)) for a in op._schema.arguments if not a.is_out]


def _relatives(packet: str) -> Iterator[torch._ops.OpOverload]:
    for name in {packet, packet.removesuffix("_")}:
        family = getattr(aten, name, None)
        for overload in family.overloads() if family is not None else ():
            try:
                yield getattr(family, overload)
            except RuntimeError:  # TorchScript's overloads on numbers are not dispatched
                continue


def is_one_operation(op: Any, args: Any, kwargs: Any, tensors: list[torch.Tensor]) -> bool:
    """Return True if a call of an elementwise operator gives every element of some value the same
    bits, wherever it lies: a single operation, or one on a device other than the CPU.
    """
    if all(each.device.type != "cpu" for each in tensors):
        return True
    exactness = _exactness(op)
    values = (*args, *kwargs.values())
    if any(each.is_complex() for each in tensors) or any(isinstance(v, complex) for v in values):
        exact = exactness.of_complex
    elif any(each.is_floating_point() for each in tensors) or any(
        isinstance(v, float) for v in values
    ):
        exact = exactness.of_real
    else:
        if exactness.of_integers:
            return True
        exact = exactness.of_real
    return exact and exactness.holds_with(args, kwargs)


class _Exactness:
    """For which elements an operator is a single operation."""

    def __init__(self, op: torch._ops.OpOverload) -> None:
        full = op.overloadpacket.__name__ if op.namespace == "aten" else ""
        packet = full.removeprefix("_foreach_")
        names = {full, packet, packet if packet.startswith("__") else packet.removesuffix("_")}
        self.of_real = bool(names & _ONE_OPERATION)
        self.of_complex = bool(names & _OF_COMPLEX)
        self.of_integers = bool(names & _OF_INTEGERS)
        # An argument that can make it more than that: its name, its place if it has one.
        self._parameter, self._at = "", -1
        for i, each in enumerate(op._schema.arguments):
            if each.name in ("alpha", "rounding_mode", "decimals"):
                self._parameter, self._at = each.name, -1 if each.kwarg_only else i

    def holds_with(self, args: Any, kwargs: dict[str, Any]) -> bool:
        if not self._parameter:
            return True
        by_place = args[self._at] if 0 <= self._at < len(args) else None
        value = kwargs.get(self._parameter, by_place)
        if self._parameter == "alpha":
            return value is None or (isinstance(value, int | float) and value in (1, -1))
        return value is None or value == 0


@functools.cache
def _exactness(op: torch._ops.OpOverload) -> _Exactness:
    return _Exactness(op)


def tensors_in(*trees: object) -> Iterator[torch.Tensor]:
    """Yield the tensors among an operator's arguments or results. Torch's pytree takes ten times as
    long.
    """
    for tree in trees:
        if isinstance(tree, torch.Tensor):
            yield tree
        elif isinstance(tree, tuple | list):
            yield from tensors_in(*tree)
        elif isinstance(tree, dict):
            yield from tensors_in(*tree.values())


class _Plan:
    """What the schema says of an operator's arguments."""

    def __init__(self, op: torch._ops.OpOverload) -> None:
        arguments = op._schema.arguments
        self.names = [each.name for each in arguments]
        written = [a for a in arguments if a.alias_info is not None and a.alias_info.is_write]
        self.written = [each.name for each in written]
        self.outs = {each.name for each in written if each.kwarg_only or each.is_out}
        packet = op.overloadpacket.__name__
        self.has_own_shape = "reduction" in self.names or packet in ("glu", "glu_backward")
        functional = getattr(op.overloadpacket, "default", None)
        self.decomposition: Callable[..., Any] | None = (
            decomposition_table.get(functional) if functional is not None else None
        )


@functools.cache
def _plan(op: torch._ops.OpOverload) -> _Plan:
    return _Plan(op)


def compute(mode: Any, op: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Compute an elementwise operator of CPU tensors so that an element's bits depend on its value
    alone.

    Returns:
        What the operator returns; NotImplemented, before anything changes, if it needs torch.
    """
    plan = _plan(op)
    if plan.has_own_shape:
        return _decompose(mode, plan, args, kwargs)
    named = dict(zip(plan.names, args, strict=False)) | kwargs
    if "grads" in named:
        return _compute_fused(op, plan, named)
    if any(isinstance(each, list | tuple) for each in named.values()):
        if not op.has_kernel_for_dispatch_key(torch._C.DispatchKey.CompositeExplicitAutograd):
            return NotImplemented
        with mode:  # torch calls the operator of single tensors
            return op._op_dk(torch._C.DispatchKey.CompositeExplicitAutograd, *args, **kwargs)
    tensors = {name: each for name, each in named.items() if isinstance(each, torch.Tensor)}
    if not all(map(_is_plain, tensors.values())):
        return NotImplemented
    inputs = [each for name, each in tensors.items() if name not in plan.outs]
    packet = op.overloadpacket.__name__.removesuffix("_")
    if not inputs or (packet in _BY_LANE and any(each.is_complex() for each in inputs)):
        return NotImplemented
    shape = inputs[0].shape
    if any(each.shape != shape for each in inputs):
        try:
            shape = torch.broadcast_shapes(*(each.shape for each in inputs))
        except RuntimeError:
            return NotImplemented  # torch raises the error
    in_place = [tensors[name] for name in plan.written if name not in plan.outs]
    if any(each.shape != shape for each in in_place):
        return NotImplemented
    if math.prod(shape) == 0:
        return op(*args, **kwargs)
    # Derivatives are recorded, and function modes called, before the dispatcher.
    with torch._C._AutoDispatchBelowAutograd(), torch._C.DisableTorchFunction():
        return _compute_flat(op, plan, named, tensors, inputs, shape)


def _compute_fused(op: Any, plan: _Plan, named: dict[str, Any]) -> Any:
    """Make the step of a fused optimizer for one parameter after the other."""
    if not plan.written or not all(map(_is_plain, tensors_in(named))):
        return NotImplemented
    lists = {name: each for name, each in named.items() if isinstance(each, list | tuple)}
    # Derivatives are recorded, and function modes called, before the dispatcher.
    with torch._C._AutoDispatchBelowAutograd(), torch._C.DisableTorchFunction():
        for i, parameter in enumerate(named["self"]):
            if not parameter.numel():
                continue
            one = {name: [each[i]] if each else [] for name, each in lists.items()}
            size = parameter.numel()
            flats = {
                name: [_flatten(each, size, _padded(size)) for each in group]
                for name, group in one.items()
                if name != "state_steps"
            }
            op(**{**named, **one, **flats})
            for name in flats.keys() & set(plan.written):
                for target, flat in zip(one[name], flats[name], strict=True):
                    if flat.data_ptr() != target.data_ptr():
                        target.copy_(flat[:size].view(target.shape))
    return None


def _is_plain(tensor: torch.Tensor) -> bool:
    return (
        type(tensor) in (torch.Tensor, torch.nn.Parameter)
        and tensor.device.type == "cpu"
        and tensor.layout == torch.strided
        and not tensor.is_quantized
    )


def _decompose(mode: Any, plan: _Plan, args: Any, kwargs: dict[str, Any]) -> Any:
    if plan.decomposition is None or len(plan.outs) > 1:
        return NotImplemented
    rest = {key: each for key, each in kwargs.items() if key not in plan.outs}
    with mode:
        result = plan.decomposition(*args, **rest)
    for name in plan.outs:
        aten.clone.out(result, out=kwargs[name])  # resizes as torch does
        return kwargs[name]
    return result


def _compute_flat(
    op: Any,
    plan: _Plan,
    named: dict[str, Any],
    tensors: dict[str, torch.Tensor],
    inputs: list[torch.Tensor],
    shape: torch.Size,
) -> Any:
    # A tensor without dimensions promotes dtypes in its own way: it stays as it is.
    wide = [each for each in inputs if each.dim() or not shape]
    order = _physical_order(wide, shape)
    is_sorted = order is None
    physical = shape if order is None else torch.Size([shape[d] for d in order])
    inverse = [] if order is None else [order.index(d) for d in range(len(order))]
    size = math.prod(shape)
    padded = _padded(size)

    def unflatten(flat: torch.Tensor) -> torch.Tensor:
        # Cloned to leave no longer storage behind.
        part = flat.narrow(0, 0, size).clone() if padded > size else flat
        part = part if len(physical) == 1 else part.view(physical)
        return part if is_sorted else part.permute(inverse)

    flats: dict[str, torch.Tensor] = {}
    for name, each in tensors.items():
        if name in plan.outs:
            flats[name] = each.new_empty(padded)
        elif each.dim() or not shape:
            seen = each if each.shape == shape else each.expand(shape)
            flats[name] = _flatten(seen if order is None else seen.permute(order), size, padded)
    result = op(**{**named, **flats}) if flats else NotImplemented
    if plan.written:
        for name in plan.written:
            target = tensors[name]
            if name in plan.outs:
                aten.clone.out(unflatten(flats[name]), out=target)  # resizes as torch does
            elif flats[name].data_ptr() != target.data_ptr():
                part = flats[name][:size].view(physical)
                target.copy_(part if is_sorted else part.permute(inverse))
        written = tuple(tensors[name] for name in plan.written)
        return written if isinstance(result, tuple) else written[0]
    if isinstance(result, torch.Tensor):
        return unflatten(result) if result.shape == (padded,) else NotImplemented
    if not all(each.shape == (padded,) for each in result):
        return NotImplemented
    return tuple(unflatten(each) for each in result)


def _physical_order(tensors: list[torch.Tensor], shape: torch.Size) -> list[int] | None:
    """Return the dimensions from the slowest to the fastest, as torch lays out the result; None if
    they are sorted.
    """
    if len(shape) < 2 or all(t.shape == shape and t.is_contiguous() for t in tensors):
        return None
    expanded = [each.expand(shape) for each in tensors]
    order = list(compute_elementwise_output_logical_to_physical_perm(*expanded)[0])
    return None if order == sorted(order) else order


def _flatten(tensor: torch.Tensor, size: int, padded: int) -> torch.Tensor:
    if (
        size == padded
        and tensor.is_contiguous()
        and not tensor.is_conj()
        and not tensor.is_neg()
        and tensor.data_ptr() % _ALIGNMENT == 0
    ):
        return tensor.view(-1)
    flat = tensor.new_empty(padded)
    part = flat.narrow(0, 0, size)
    (part if tensor.dim() == 1 else part.view(tensor.shape)).copy_(tensor)
    if padded > size:
        flat.narrow(0, size, padded - size).fill_(1)  # in the domain of every function
    return flat


def _padded(size: int) -> int:
    """Return the smallest length from `size` on that torch cuts into shares without a rest.

    Torch cuts n elements into shares of ceil(n / k), where k is the number of threads, or the
    largest number of shares with the least length, if that is smaller.
    """
    threads = torch.get_num_threads()
    if size <= _SHORT_SHARE or threads == 1:
        return _round_up(size, _STEP)
    size = max(size, threads * _SHORT_SHARE)
    for shares in range(min(threads, -(-size // _LONG_SHARE)), threads):
        padded = _round_up(size, _STEP * math.lcm(threads, shares))
        if -(-padded // _LONG_SHARE) == shares:
            return padded
    return _round_up(max(size, (threads - 1) * _LONG_SHARE + 1), _STEP * threads)


def _round_up(size: int, step: int) -> int:
    return -(-size // step) * step
