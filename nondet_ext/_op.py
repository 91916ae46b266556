"""Kernels as torch ops that bypass torch's dispatcher where the result is the same.

A registered op costs several microseconds a call, and the first call of one in a process imports
torch's compiler, which takes seconds.
"""

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, Generic, ParamSpec, TypeVar

import torch
from torch.autograd import forward_ad
from torch.autograd.graph import increment_version

from nondet_ext import _check
from nondet_ext._direct import is_compiling, is_direct
from nondet_ext._tracing import has_derivatives
from nondet_ext._transforms import batch_rule, function_of

P = ParamSpec("P")
R = TypeVar("R")

_transform = torch._C._functorch.peek_interpreter_stack


class Op(Generic[P, R]):
    """A registered torch op, ``nondet_ext::name``, and the function that computes it.

    A call goes straight to the function unless a compiler, mode, transform or tracer is active, or
    a tensor is of a subclass, on the meta device, a lazy negation (the imaginary part of a
    conjugate, say) or recorded by autograd. Otherwise it goes to the registered op. Autograd
    records no op that mutates an argument.

    Args:
        name: the name of the registered op.
        run: computes the op from positional arguments; its annotations are the schema.
        fake: returns outputs of the right shapes and dtypes for the same arguments, without
            computing them. By default it returns None.
        mutates: the names of the arguments that `run` writes to.
        backward, setup_context: the derivative, as ``torch.library.register_autograd`` takes it.
        tangent: the forward-mode derivative; every op with a `backward` needs one. From this op,
            the list of arguments and that of their tangents (None where there is none) it returns
            the tangents of the results.
        batch: computes the op for torch.vmap from this op, the size of the batch, a list of its
            dimensions in the arguments (None where there is none) and the arguments. It returns the
            results and the dimensions of the batch in them, or NotImplemented: then, and by
            default, the op is called for one entry of the batch after the other.
    """

    def __init__(
        self,
        name: str,
        run: Callable[P, R],
        *,
        fake: Callable[..., Any] = lambda *arguments: None,
        mutates: tuple[str, ...] = (),
        backward: Callable[..., Any] | None = None,
        setup_context: Callable[..., Any] | None = None,
        tangent: Callable[..., Any] | None = None,
        batch: Callable[..., Any] = lambda op, size, dims, *arguments: NotImplemented,
    ) -> None:
        self._run: Callable[..., R] = run
        self._registered = torch.library.custom_op(f"nondet_ext::{name}", run, mutates_args=mutates)
        self._registered.register_fake(fake)
        self._names = tuple(inspect.signature(run).parameters)
        types = [each.annotation for each in inspect.signature(run).parameters.values()]
        self._tensors = tuple(
            i for i, each in enumerate(types) if each in (torch.Tensor, torch.Tensor | None)
        )
        self._lists = tuple(i for i, each in enumerate(types) if each == Sequence[torch.Tensor])
        self._mutated = tuple(self._names.index(each) for each in mutates)
        rules = [
            batch_rule(each, self._names, self._mutated, batch) for each in (self._registered, self)
        ]
        self._registered.register_vmap(rules[0])
        self._function: Any = None
        if backward is not None and tangent is not None:
            self._registered.register_autograd(backward, setup_context=setup_context)
            self._function = function_of(
                self._registered,
                self._tensors,
                backward,
                setup_context,
                functools.partial(tangent, self),
                rules[1],
            )
        function = self._function
        self.step: Callable[..., Any] = lambda *arguments: function.apply(*arguments)

    def __call__(self, *arguments: P.args, **named: P.kwargs) -> R:
        if named:
            raise TypeError(f"{self._registered} takes positional arguments only, got {[*named]}")
        if not is_compiling() and is_direct(arguments, self._tensors, self._lists):
            for i in self._mutated:
                increment_version(arguments[i])  # type: ignore[arg-type]
            try:
                return self._run(*arguments)
            except RuntimeError:
                for i in self._tensors:
                    tensor: Any = arguments[i]
                    if tensor is not None:
                        _check.refuse_stray(self._names[i], tensor)
                # The batched gradients of torch.autograd.grad look like plain tensors.
                if not any(map(_is_batched, (arguments[i] for i in self._tensors))):
                    raise
        return self._dispatch(arguments)

    def _dispatch(self, arguments: tuple[Any, ...]) -> R:
        if self._mutated and torch.is_grad_enabled():
            with torch.no_grad():
                return self(*arguments)  # type: ignore[call-arg]
        # The registered op would lose tangents. Those of an outer transform cannot be seen here.
        if is_compiling():
            if self._function is not None and has_derivatives(self):
                return self.step(*arguments)  # type: ignore[no-any-return]
            _check.no_tangent(**{self._names[i]: arguments[i] for i in self._mutated})
        elif _transform() is not None or forward_ad._current_level >= 0:
            if self._function is not None:
                return self._function.apply(*arguments)  # type: ignore[no-any-return]
            _check.no_tangent(**{self._names[i]: arguments[i] for i in self._mutated})
        result: R = self._registered(*arguments)
        return result


def _is_batched(tensor: Any) -> bool:
    return tensor is not None and torch._C._functorch.is_legacy_batchedtensor(tensor)
