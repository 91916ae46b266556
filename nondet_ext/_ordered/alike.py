"""Compute elementwise functions so that an element's bits depend on its value alone.

Torch computes most of a tensor with vector instructions and the rest of each thread's share with
scalar ones. The two agree only for single operations of IEEE 754, so exp or pow of one value can
have two results. Here torch gets pieces that no number of threads cuts with a rest, which it
computes where they lie, and a last piece that is copied and extended to such a length. So every
element takes the vector instructions.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any

import torch

from nondet_ext._ordered.elementwise import FUSED, Exactness, exactness_of, inputs_of, tensors_in
from nondet_ext._ordered.fused import step
from nondet_ext._ordered.losses import DECOMPOSITIONS
from nondet_ext._ordered.pieces import (
    SHORT_SHARE,
    STEP,
    extended,
    flatten,
    is_flat,
    physical_order,
    pieces,
)
from nondet_ext._roots import ROOTS

aten = torch.ops.aten

# Of complex numbers: the vector code of torch treats its lanes differently.
_BY_LANE = ("lerp", "lerp_")
_PLAIN = torch._C._disabled_torch_dispatch_impl  # the __torch_dispatch__ of torch.Tensor


class Plan:
    """What is known of an operator before its call."""

    def __init__(self, op: torch._ops.OpOverload, exactness: Exactness) -> None:
        self.op = ROOTS.get(op, op)
        arguments = op._schema.arguments
        packet = op.overloadpacket.__name__
        written = [a for a in arguments if a.alias_info is not None and a.alias_info.is_write]
        self.names = [each.name for each in arguments]
        self.written = [each.name for each in written]
        self.outs = [each.name for each in written if each.is_out]
        self.is_in_place = len(written) > len(self.outs)
        self.is_fused = packet in FUSED
        self.is_by_lane = packet in _BY_LANE
        self.takes_lists = any("List[Tensor]" in str(each.type) for each in arguments)
        self.decomposition = DECOMPOSITIONS.get(packet) if op.namespace == "aten" else None
        # The arguments begin with so many tensors.
        kinds = [str(each.type) for each in arguments if not each.is_out]
        self.tensors = next((i for i, each in enumerate(kinds) if each != "Tensor"), len(kinds))
        self.takes_few = (
            not (self.written or self.takes_lists or self.is_by_lane or exactness.of_real)
            and self.decomposition is None
            and not any("Tensor" in each for each in kinds[self.tensors :])
            and self.tensors > 0
            and len(op._schema.returns) == 1
        )
        # The overload that writes to given tensors, and their names.
        self.to_outs: Any = None
        self.to_names: list[str] = []
        for overload in op.overloadpacket.overloads():
            names = [a.name for a in getattr(op.overloadpacket, overload)._schema.arguments]
            outs = [n for n in names if n not in self.names]
            candidate = getattr(op.overloadpacket, overload)
            if outs and inputs_of(candidate) == inputs_of(op):
                self.to_outs, self.to_names = ROOTS.get(candidate, candidate), outs


@functools.cache
def plan_of(op: torch._ops.OpOverload) -> Plan | None:
    """Return what is known of the operator, None if it is not elementwise."""
    exactness = exactness_of(op)
    return None if exactness is None else Plan(op, exactness)


def compute_few(plan: Plan, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Compute few elements of vectors in the shortest time. The operator must have `takes_few`.

    Returns:
        The result; NotImplemented, before anything changes, if the tensors are not such.
    """
    tensors = args[: plan.tensors]
    if not all(isinstance(each, torch.Tensor) for each in tensors):  # numbers come as such
        return NotImplemented
    first = args[0]
    shape, size, dtype = first.shape, first.numel(), first.dtype
    if not 0 < size <= SHORT_SHARE or not dtype.is_floating_point:
        return NotImplemented
    for each in tensors:
        if each.shape != shape or each.dtype != dtype or not _is_plain(each) or not is_flat(each):
            return NotImplemented
    rest = -size % STEP
    with torch._C._AutoDispatchBelowAutograd(), torch._C.DisableTorchFunction():
        if len(shape) != 1:
            tensors = tuple([each.view(-1) for each in tensors])
        if rest:
            tensors = tuple([extended(each, rest) for each in tensors])
        result = plan.op(*tensors, *args[plan.tensors :], **kwargs)
        if rest:
            result = result.narrow_copy(0, 0, size)
        return result if len(shape) == 1 else result.view(shape)


def compute(mode: Any, plan: Plan, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Compute an elementwise operator of CPU tensors so that an element's bits depend on its value
    alone.

    Returns:
        What the operator returns; NotImplemented, before anything changes, if it needs torch.
    """
    op = plan.op
    if plan.decomposition is not None:
        return _decompose(mode, plan, args, kwargs)
    if plan.is_fused:
        if not plan.is_in_place or not all(map(_is_plain, tensors_in(args))):
            return NotImplemented
        with torch._C._AutoDispatchBelowAutograd(), torch._C.DisableTorchFunction():
            return step(op, plan.names, plan.written, args, kwargs)
    if plan.takes_lists:
        if not op.has_kernel_for_dispatch_key(torch._C.DispatchKey.CompositeExplicitAutograd):
            return NotImplemented
        with mode:  # torch calls the operator of single tensors
            return op._op_dk(torch._C.DispatchKey.CompositeExplicitAutograd, *args, **kwargs)
    inputs = [each for each in args if isinstance(each, torch.Tensor)]
    outs = [kwargs[name] for name in plan.outs]
    if not inputs or not all(map(_is_plain, (*inputs, *outs))):
        return NotImplemented
    if plan.is_by_lane and any(each.is_complex() for each in inputs):
        return NotImplemented
    shape = inputs[0].shape
    if len(inputs) > 1 and any(each.shape != shape for each in inputs):
        try:
            shape = torch.broadcast_shapes(*(each.shape for each in inputs))
        except RuntimeError:
            return NotImplemented  # torch raises the error
        if plan.is_in_place and inputs[0].shape != shape:
            return NotImplemented
    if 0 in shape:
        return op(*args, **kwargs)
    # Derivatives are recorded, and function modes called, before the dispatcher.
    with torch._C._AutoDispatchBelowAutograd(), torch._C.DisableTorchFunction():
        return _Call(plan, args, kwargs, shape).compute(shape)


def _is_plain(tensor: torch.Tensor) -> bool:
    return (
        type(tensor).__torch_dispatch__ is _PLAIN
        and tensor.is_cpu
        and tensor.layout == torch.strided
        and not tensor.is_nested
        and not tensor.is_quantized
    )


def _decompose(mode: Any, plan: Plan, args: Any, kwargs: dict[str, Any]) -> Any:
    if plan.decomposition is None or len(plan.outs) > 1:
        return NotImplemented
    rest = {key: each for key, each in kwargs.items() if key not in plan.outs}
    with mode:
        result = plan.decomposition(*args, **rest)
    for name in plan.outs:
        aten.clone.out(result, out=kwargs[name])  # resizes as torch does
        return kwargs[name]
    return result


class _Call:
    """A call of an operator whose tensors are laid out as vectors of one length."""

    def __init__(
        self, plan: Plan, args: tuple[Any, ...], kwargs: dict[str, Any], shape: torch.Size
    ) -> None:
        self.op, self.plan, self.args, self.kwargs = plan.op, plan, args, kwargs
        # A tensor without dimensions promotes dtypes in its own way: it stays as it is.
        self.places = [
            i for i, a in enumerate(args) if isinstance(a, torch.Tensor) and (a.dim() or not shape)
        ]
        wide = [args[i] for i in self.places]
        if not shape and len(wide) > 1:
            dtype = functools.reduce(torch.result_type, wide)
            wide[plan.is_in_place :] = [each.to(dtype) for each in wide[plan.is_in_place :]]
        self.size = math.prod(shape)
        order = physical_order(wide, shape)
        self._physical, self._inverse = shape, None
        if order is not None:
            self._physical = torch.Size([shape[d] for d in order])
            self._inverse = [order.index(d) for d in range(len(order))]
        self._order = order
        self.flats = [flatten(each, shape, order) for each in wide]

    def compute(self, shape: torch.Size) -> Any:
        if self.plan.outs:
            targets = [self.kwargs[name] for name in self.plan.outs]
            flats = [
                each.view(-1) if self._is_flat(each, shape) else each.new_empty(self.size)
                for each in targets
            ]
            self._write(self.op, self.plan.outs, flats, pieces(self.size))
            for flat, target in zip(flats, targets, strict=True):
                if flat.data_ptr() != target.data_ptr():
                    aten.clone.out(self._unflatten(flat), out=target)  # resizes as torch does
            return tuple(targets) if len(targets) > 1 else targets[0]
        if self.plan.is_in_place:
            self._write(self.op, [], [], pieces(self.size))
            target = self.args[0]
            if self.flats[0].data_ptr() != target.data_ptr():
                target.copy_(self._unflatten(self.flats[0]))
            return target
        results = self._results()
        if isinstance(results, torch.Tensor):
            return self._unflatten(results) if len(results) == self.size else NotImplemented
        if any(len(each) != self.size for each in results):
            return NotImplemented
        return tuple(map(self._unflatten, results))

    def _is_flat(self, target: torch.Tensor, shape: torch.Size) -> bool:
        return target.shape == shape and self._order is None and is_flat(target)

    def _unflatten(self, flat: torch.Tensor) -> torch.Tensor:
        shaped = flat if len(self._physical) == 1 else flat.view(self._physical)
        return shaped if self._inverse is None else shaped.permute(self._inverse)

    def _on(self, op: Any, flats: Sequence[torch.Tensor], **outs: torch.Tensor) -> Any:
        args = list(self.args)
        for i, each in zip(self.places, flats, strict=True):
            args[i] = each
        return op(*args, **self.kwargs | outs)

    def _results(self) -> Any:
        """Return the results as vectors."""
        if self.size > SHORT_SHARE:
            return self._long_results()
        rest = -self.size % STEP
        if not rest:
            return self._on(self.op, self.flats)
        results = self._on(self.op, [extended(each, rest) for each in self.flats])
        # Copied to leave no longer storage behind.
        if isinstance(results, torch.Tensor):
            return results.narrow_copy(0, 0, self.size)
        return [each.narrow_copy(0, 0, self.size) for each in results]

    def _long_results(self) -> Any:
        cuts = pieces(self.size)
        if len(cuts) == 1:
            return self._on(self.op, self.flats)
        # The last piece tells number and dtypes of the results.
        start, length = cuts[-1]
        ends = [extended(each.narrow(0, start, length), -length % STEP) for each in self.flats]
        found = self._on(self.op, ends)
        is_single = isinstance(found, torch.Tensor)
        found = [found] if is_single else found
        if any(len(each) != len(ends[0]) for each in found):
            return NotImplemented
        if self.plan.to_outs is None:
            parts = [
                self._on(self.op, [each.narrow(0, *cut) for each in self.flats])
                for cut in cuts[:-1]
            ]
            parts = [[each] for each in parts] if is_single else parts
            found = [each.narrow(0, 0, length) for each in found]
            results = [torch.cat(each) for each in zip(*parts, found, strict=True)]
        else:
            results = [each.new_empty(self.size) for each in found]
            self._write(self.plan.to_outs, self.plan.to_names, results, cuts[:-1])
            for result, end in zip(results, found, strict=True):
                result.narrow(0, start, length).copy_(end.narrow(0, 0, length))
        return results[0] if is_single else results

    def _write(
        self,
        op: Any,
        names: list[str],
        outs: list[torch.Tensor],
        cuts: Sequence[tuple[int, int]],
    ) -> None:
        """Write to `outs`, the arguments called `names`, or in place to the first vector."""
        for start, length in cuts:
            whole = length == self.size
            flats = self.flats if whole else [each.narrow(0, start, length) for each in self.flats]
            parts = outs if whole else [each.narrow(0, start, length) for each in outs]
            rest = -length % STEP
            if not rest:
                self._on(op, flats, **dict(zip(names, parts, strict=True)))
                continue
            longer = [extended(each, rest) for each in flats]
            ends = [each.new_empty(length + rest) for each in parts]
            self._on(op, longer, **dict(zip(names, ends, strict=True)))
            if self.plan.is_in_place:
                parts, ends = flats[:1], longer[:1]
            for part, end in zip(parts, ends, strict=True):
                part.copy_(end.narrow(0, 0, length))
