"""Ops under torch.func's transforms and forward-mode derivatives, which registered ops lack."""

from collections.abc import Callable
from typing import Any

import torch
from torch.autograd import forward_ad

from nondet_ext._tracing import unpacked

Rule = Callable[..., Any]


def function_of(
    call: Rule,
    tensors: tuple[int, ...],
    backward: Rule,
    setup_context: Rule | None,
    tangent: Rule,
    batch: Rule,
) -> Any:
    """Return a ``torch.autograd.Function`` with the derivatives of an op.

    Args:
        call: computes the op.
        tensors: the positions of the tensors among its arguments.
        backward, setup_context: as :class:`nondet_ext._op.Op` takes them.
        tangent: likewise, without its first argument.
        batch: the rule of :func:`batch_rule`.
    """

    class Derivatives(torch.autograd.Function):
        @staticmethod
        def forward(*arguments: Any) -> Any:
            return call(*arguments)

        @staticmethod
        def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
            if setup_context is not None:
                setup_context(ctx, inputs, output)
            ctx.save_for_forward(*(inputs[i] for i in tensors))
            ctx.constants = [None if i in tensors else each for i, each in enumerate(inputs)]

        @staticmethod
        def backward(ctx: Any, *gradients: Any) -> Any:
            return backward(ctx, *gradients)

        @staticmethod
        def jvp(ctx: Any, *tangents: Any) -> Any:
            arguments = list(ctx.constants)
            # torch has turned forward mode off, for outer transforms too: they would miss how the
            # tangents depend on the arguments. So the tangents of this level are removed instead.
            with forward_ad._set_fwd_grad_enabled(True):
                for i, each in zip(tensors, ctx.saved_tensors, strict=True):
                    arguments[i] = None if each is None else unpacked(each)[0]
                return tangent(arguments, tangents)

        @staticmethod
        def vmap(info: Any, in_dims: tuple[Any, ...], *arguments: Any) -> Any:
            return batch(info, in_dims, *arguments)

    return Derivatives


def batch_rule(call: Rule, names: tuple[str, ...], mutated: tuple[int, ...], batch: Rule) -> Rule:
    """Return the rule of torch.vmap for an op: `batch`, or a loop where that is NotImplemented.

    A loop calls the op on one entry of the batch after the other. An argument that the op writes to
    must have an entry for each.
    """

    def rule(info: Any, in_dims: tuple[Any, ...], *arguments: Any) -> Any:
        dims = [each if isinstance(each, int) else None for each in in_dims]
        for i in mutated:
            if dims[i] is None:
                raise ValueError(
                    f"{names[i]} is one tensor for the whole batch and cannot be changed in place "
                    "under torch.vmap; batch it too"
                )
        result = batch(call, info.batch_size, dims, *arguments)
        if result is NotImplemented:
            result = _loop(call, info.batch_size, dims, arguments)
        return result

    return rule


def _loop(call: Rule, size: int, dims: list[int | None], arguments: tuple[Any, ...]) -> Any:
    def entry(i: int) -> Any:
        return call(
            *(x if d is None else x.select(d, i) for x, d in zip(arguments, dims, strict=True))
        )

    if size == 0:  # one call tells the shape of an entry
        one = [x if d is None else _one_entry(x, d) for x, d in zip(arguments, dims, strict=True)]
        results = [call(*one)]
    else:
        results = [entry(i) for i in range(size)]
    if results[0] is None:
        return None, None
    if isinstance(results[0], tuple):
        stacked = tuple(torch.stack(each)[:size] for each in zip(*results, strict=True))
        return stacked, (0,) * len(stacked)
    return torch.stack(results)[:size], 0


def _one_entry(x: torch.Tensor, dim: int) -> torch.Tensor:
    return x.new_zeros([*x.shape[:dim], *x.shape[dim + 1 :]])


def to_dim(x: torch.Tensor, dim: int | None, wanted: int, size: int) -> torch.Tensor:
    """Return `x` with its batch, `size` entries along `dim`, along `wanted`; where there is none,
    one entry stands for all.
    """
    if dim is not None:
        return x.movedim(dim, wanted)
    return x.unsqueeze(wanted).expand([*x.shape[:wanted], size, *x.shape[wanted:]])


def total(*parts: torch.Tensor | None) -> torch.Tensor:
    """Add the tangents that there are, at least one."""
    given = [each for each in parts if each is not None]
    result = given[0]
    for each in given[1:]:
        result = result + each
    return result
