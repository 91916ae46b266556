"""Torch's own sums in a chosen order, in unchanged code: ``with nondet_ext.ordered("fixed"):``."""

import itertools
from collections.abc import Callable
from typing import Any, Self, TypeVar

import torch
from torch._compile import _disable_dynamo  # torch.compiler.disable imports dynamo
from torch.autograd import forward_ad
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, _get_current_dispatch_mode_stack

from nondet_ext import _check
from nondet_ext._order import Seed, key_of
from nondet_ext._ordered import alike, stacks
from nondet_ext._ordered.decompositions import decompositions
from nondet_ext._ordered.decorator import decorate
from nondet_ext._ordered.elementwise import tensors_in
from nondet_ext._ordered.handlers import HANDLERS
from nondet_ext._ordered.harmless import holds_floats, is_harmless, is_strided
from nondet_ext._ordered.subclasses import computes_itself, is_without_elements
from nondet_ext._ordered.suspension import Opening, State

C = TypeVar("C", bound=Callable[..., Any])


class Uncovered(dict[str, int]):
    """A dict from operators to the number of their calls that may have added floating-point numbers
    in another order.
    """

    def __missing__(self, name: str) -> int:
        return 0

    def __str__(self) -> str:
        if not self:
            return "every sum was covered"
        counts = sorted(self.items(), key=lambda item: (-item[1], item[0]))
        return "not covered: " + ", ".join(f"{name} ({calls}x)" for name, calls in counts)


class ordered:  # noqa: N801
    """Give torch's own floating-point sums a chosen order inside a ``with`` block, forward and
    backward.

    >>> with nondet_ext.ordered("fixed") as scope:
    ...     loss = criterion(model(inputs), targets)
    ...     loss.backward()
    >>> print(scope.uncovered)
    not covered: aten::mm (4x), aten::addmm (2x)

    Covered, with any dims, dtypes, ``out=`` and in place: sum, nansum, mean, var, std, norms,
    trace, dot, multigammaln; index_add, scatter_add, scatter_reduce("sum"), index_put and put with
    ``accumulate=True``, weighted bincount; the backward of indexing, gather, embedding and
    broadcasting; softmax, log_softmax, logsumexp; batch, layer, group, instance and RMS
    normalisation; the usual losses; the bias gradient of linear layers and convolutions. Sums are
    computed by :func:`nondet_ext.sum` and the other functions of nondet_ext. Composite operators
    are decomposed into such sums and elementwise operators, as torch.compile does: their results
    differ from torch's by rounding.

    Not covered: matrix products, convolutions, attention, recurrent layers, cumulative sums,
    products (``prod``), average pooling, overlapping windows of max pooling (backward),
    interpolation, Fourier transforms, complex scatters, and operators not known to be harmless.
    They run as torch runs them, and `uncovered` counts them. Copies, gathers and comparisons add
    nothing and are not counted; nor are additions of two tensors, such as of two gradients that
    meet.

    Elementwise functions (exp, pow, sigmoid and its gradient, maximum, the steps of fused
    optimizers, ...) on a CPU: torch gives an element other bits at the end of a thread's share than
    inside it. In a scope every element takes the same vector instructions: its bits depend on its
    value, the values it is combined with and the call, not on threads, size, position or strides.
    They are torch's own, so another version of torch or another instruction set may give others.
    Tensors that are not contiguous or not aligned to 64 bytes are copied for it. What cannot be
    computed so (complex lerp, for example) is counted. On other devices all elements take the same
    instructions: torch's functions are called as they are.

    Args:
        order: "fixed", "exact", "seeded" or "atomic"; see nondet_ext.summation.
        seed: for order="seeded": an integer in [0, 2**32), or two. The n-th covered sum since
            entering, counted from 0, takes the key (seed, n, second integer or 0, 0): every sum has
            an order of its own, and the same seed replays the block. (If a backward pass runs on
            several devices at once, the numbers depend on which device comes first.)

    Attributes:
        uncovered: a dict from operator to the number of calls that were not covered since the
            scope was entered. It prints as one line; absent operators have 0. Calls without
            floating-point tensors are never in it.

    Raises:
        TypeError, ValueError: as :func:`nondet_ext.sum` for `order` and `seed`. As a decorator:
            TypeError for classes, for what cannot be called, and, at the call, for a function that
            returns a context manager made by contextlib (decorate the generator below it).

    Scope:

    - One thread, and the autograd engine's threads that work for a backward pass started in it
      (the engine hands them the caller's modes). Other threads open scopes of their own.
    - An operator is covered if it runs inside. A backward pass outside, of a graph recorded inside,
      is not covered. Code that bypasses torch's dispatcher is neither covered nor counted: a
      replayed CUDA graph (one captured inside keeps its order), AOTInductor packages, other
      libraries.
    - Of nested scopes the innermost decides; the outer scopes, too, count what it does not cover.
      ``nondet_ext.sum(x, order=...)`` keeps its own order.
    - A scope can be entered again after it was left, which clears `uncovered` and counts sums from
      0. Entering an open scope raises RuntimeError.
    - As a decorator, it opens a scope for every call of the function; its `uncovered` is the sum
      over the calls. Generators, coroutines and asynchronous generators keep one scope from their
      beginning to their end, open only while their own code runs. So do those that an ordinary
      function returns; other things that compute later (such as map) are outside.
    - A ``with`` block in a coroutine covers its task and the asyncio tasks started inside, not
      other tasks that run while it waits. A ``with`` block in a generator does not cover the code
      that consumes it: what that adds meanwhile is counted as "(while suspended)", because the
      generator could also be meant as a context manager. Those of contextlib are known, and cover
      their ``with`` block. As long as such a scope is open, compiled functions of its thread run
      eagerly. Leaving a scope in another thread raises RuntimeError.
    - A tensor subclass (DTensor, MaskedTensor, jagged NestedTensor) is covered inside, where it
      computes with plain tensors. Sums of sparse, quantized, MKL-DNN and strided nested tensors are
      left to torch and counted.
    - ``torch.compile``: compiled functions run eagerly inside, wherever they were compiled; those
      with ``fullgraph=True`` raise torch's RuntimeError, since nothing was compiled. Opening a
      scope in a compiled function breaks its graph (torch raises under ``fullgraph=True``). A
      backward pass inside through what a compiled function recorded outside raises RuntimeError.
    - ``torch.inference_mode``, torch.func transforms, scripted and traced functions and activation
      checkpoints are covered like plain code. Inside a control-flow operator (torch.cond) nothing
      is covered; the operator is counted.
    """

    def __init__(self, order: str = "fixed", *, seed: Seed = None) -> None:
        key = key_of(order, seed)
        if any(key[2:]):
            raise ValueError(f"seed must be one or two integers here, got {seed!r}")
        self.order = order
        self.seed = seed
        self.uncovered = Uncovered()
        self._words = key[:2]
        self._mode: _OrderedMode | None = None

    def __repr__(self) -> str:
        seed = "" if self.seed is None else f", seed={self.seed!r}"
        return f"ordered({self.order!r}{seed})"

    def __enter__(self) -> Self:
        _check.not_compiling("ordered", "torch's operators run inside; open the scope outside")
        return self._enter()

    @_disable_dynamo
    def _enter(self) -> Self:
        if self._mode is not None:
            raise RuntimeError(
                f"{self!r} is open already; a nested scope needs an object of its own: "
                "with nondet_ext.ordered(...)"
            )
        self.uncovered.clear()
        self._mode = self._open()
        return self

    @_disable_dynamo
    def __exit__(self, *error: object) -> None:
        mode, self._mode = self._mode, None
        if mode is not None:
            mode.close()

    @_disable_dynamo
    def _open(self) -> "_OrderedMode":
        mode = _OrderedMode(self.order, self._words, self.uncovered)
        mode.open()
        return mode

    def __call__(self, function: C) -> C:
        decorated: C = decorate(function, self._open)
        return decorated


class _OrderedMode(TorchDispatchMode):
    supports_higher_order_operators = True

    def __init__(self, order: str, words: tuple[int, ...], uncovered: Uncovered) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._order = order
        self._words = words
        self._uncovered = uncovered
        self._calls = itertools.count()
        self._opening: Opening  # since open()
        self._guard = _CompiledBackwardGuard()
        self._inside: list[_OrderedMode] = []
        self._is_suspended = False

    @_disable_dynamo
    def open(self) -> None:
        """Open the scope here, and again those that were suspended with it."""
        self._opening = self._guard.opening = Opening()
        self._is_suspended = False
        for mode in (self, *self._inside):
            stacks.push(mode._guard)
            stacks.push(mode)
        self._inside = []

    @_disable_dynamo
    def suspend(self) -> None:
        """Take the scope, and those that were opened inside and are still open, off the stacks."""
        self._opening.close()
        self._is_suspended = True
        modes = _get_current_dispatch_mode_stack()
        above = modes[modes.index(self) + 1 :] if self in modes else []
        self._inside = [mode for mode in above if isinstance(mode, _OrderedMode)]
        for mode in (self, *self._inside):
            stacks.remove(mode._guard)
            stacks.remove(mode)

    @_disable_dynamo
    def close(self) -> None:
        """Close the scope for good. Scopes that were opened later and not closed stay open."""
        is_elsewhere = not self._is_suspended and not self._opening.is_in_this_thread()
        self._opening.close()
        stacks.remove(self._guard)
        if not stacks.remove(self) and is_elsewhere:
            raise RuntimeError(
                "a scope of nondet_ext.ordered was entered in one thread and left in another, "
                "whose sums it did not cover"
            )

    def _next_order(self) -> dict[str, Any]:
        """Return the arguments `order` and `seed` of the next covered sum."""
        if self._order != "seeded":
            return {"order": self._order}
        seed, second = self._words
        return {"order": self._order, "seed": (seed, next(self._calls), second)}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if types and computes_itself(func, types):
            return NotImplemented  # torch calls the subclass, whose operators come here one by one
        if types and is_without_elements(types):
            return func(*args, **kwargs)
        state = self._opening.state()
        if state is not State.ACTIVE:
            result = func(*args, **kwargs)
            if state is State.UNKNOWN and not _an_outer_scope_is_active():
                self._count(func, args, kwargs, result, " (while suspended)")
            return result
        handler = HANDLERS.get(func)
        if handler is not None:
            # Derivatives are recorded, and function modes called, before the dispatcher.
            with (
                torch.no_grad(),
                forward_ad._set_fwd_grad_enabled(False),
                torch._C.DisableTorchFunction(),
            ):
                result = handler(self._next_order, *args, **kwargs)
            if result is not NotImplemented:
                return result
        decomposition = decompositions().get(func)
        if decomposition is not None and _is_plain(args, kwargs):
            with self:
                result = decomposition(*args, **kwargs)
            if result is not NotImplemented:
                return result
        is_operator = isinstance(func, torch._ops.OpOverload)
        plan = alike.plan_of(func) if is_operator else None
        if plan is not None and plan.takes_few:
            result = alike.compute_few(plan, args, kwargs)
            if result is not NotImplemented:
                return result
        if is_operator and is_harmless(func, args, kwargs):
            return func(*args, **kwargs)
        if plan is not None:
            result = alike.compute(self, plan, args, kwargs)
            if result is not NotImplemented:
                return result
        if is_operator and func._can_decompose():
            # In torch.inference_mode torch leaves the decomposition to the mode.
            with self:
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        result = func(*args, **kwargs)
        self._count(func, args, kwargs, result)
        return result

    def _count(self, func: Any, args: Any, kwargs: Any, result: object, when: str = "") -> None:
        is_operator = isinstance(func, torch._ops.OpOverload)
        if is_operator and is_harmless(func, args, kwargs):
            return
        if holds_floats(args, kwargs, result):
            name = func._schema.name if is_operator else func.name()
            self._uncovered[name + when] += 1


def _an_outer_scope_is_active() -> bool:
    return any(
        isinstance(mode, _OrderedMode) and mode._opening.state() is State.ACTIVE
        for mode in _get_current_dispatch_mode_stack()
    )


def _is_plain(*trees: object) -> bool:
    """Return True if all tensors are strided and have real elements, as decompositions need."""
    return all(
        is_strided(each) and not each.is_complex() and not each.is_quantized
        for each in tensors_in(*trees)
    )


_BACKWARDS = (torch.Tensor.backward, torch.autograd.backward, torch.autograd.grad)


class _CompiledBackwardGuard(TorchFunctionMode):
    """Refuse the backward pass of what a compiled function recorded: it runs compiled code, which a
    dispatch mode does not see.
    """

    def __init__(self) -> None:
        super().__init__()
        self.opening: Opening | None = None

    def __torch_function__(
        self, func: Any, types: object, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if self.opening is None or self.opening.state() is not State.ACTIVE:
            return func(*args, **kwargs)
        if func in _BACKWARDS:  # this mode does not see inside them
            roots = args[0] if args else kwargs.get("outputs", kwargs.get("tensors"))
            _refuse_compiled_nodes([roots] if isinstance(roots, torch.Tensor) else roots)
        elif (node := torch._C._current_autograd_node()) is not None:
            # The pass was started otherwise: a compiled node reads its gradients in Python.
            _refuse_if_compiled(node)
        return func(*args, **kwargs)


def _refuse_compiled_nodes(roots: Any) -> None:
    nodes = [root.grad_fn if isinstance(root, torch.Tensor) else root.node for root in roots]
    met = set()
    while nodes:
        node = nodes.pop()
        if node is not None and node not in met:
            met.add(node)
            _refuse_if_compiled(node)
            nodes.extend(parent for parent, _ in node.next_functions)


def _refuse_if_compiled(node: Any) -> None:
    if node.name().startswith("CompiledFunctionBackward"):
        raise RuntimeError(
            "this backward pass runs code that torch.compile made outside of nondet_ext.ordered, "
            "which cannot reach it: run the forward pass inside too, where compiled functions run "
            "eagerly, or the backward pass outside"
        )
