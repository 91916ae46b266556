"""Torch's own sums in a chosen order, for unchanged code: ``with nondet_ext.ordered("fixed"):``."""

import functools
import itertools
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, ParamSpec, Self, TypeVar

import torch
from torch._compile import _disable_dynamo  # torch.compiler.disable imports all of dynamo
from torch.autograd import forward_ad
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from nondet_ext._order import Seed, key_of
from nondet_ext._ordered.decompositions import decompositions
from nondet_ext._ordered.handlers import HANDLERS
from nondet_ext._ordered.harmless import holds_floats, is_harmless, tensors_in

P = ParamSpec("P")
R = TypeVar("R")


class Uncovered(dict[str, int]):
    """Operator -> how many calls of it may have added floating-point numbers in their own order."""

    def __missing__(self, name: str) -> int:
        return 0

    def __str__(self) -> str:
        if not self:
            return "every sum was covered"
        counts = sorted(self.items(), key=lambda item: (-item[1], item[0]))
        return "not covered: " + ", ".join(f"{name} ({calls}x)" for name, calls in counts)


class ordered:  # noqa: N801
    """Inside, torch's own floating-point sums take the order asked for, forward and backward.

    >>> with nondet_ext.ordered("fixed") as scope:
    ...     loss = criterion(model(inputs), targets)
    ...     loss.backward()
    >>> print(scope.uncovered)
    not covered: aten::mm (4x), aten::addmm (2x)

    Covered, with any dims, dtypes, ``out=`` and in place: sum, nansum, mean, var, std, norms,
    trace, dot; index_add, scatter_add, scatter_reduce("sum"), index_put and put with
    ``accumulate=True``, weighted bincount; the backward of indexing, gather, embedding and
    broadcasting; softmax, log_softmax, logsumexp; batch, layer, group, instance and RMS
    normalisation; the usual losses; the bias gradient of linear layers and convolutions. Sums are
    those of :func:`nondet_ext.sum` and its relatives. Composite operators are taken apart into such
    sums and elementwise operators, as torch.compile does: their results differ from torch's by
    rounding.

    Not covered: matrix products, convolutions, attention, recurrent layers, cumulative sums,
    products (``prod``), average pooling, overlapping windows of max pooling (backward),
    interpolation, Fourier transforms, complex scatters, and whatever is not known to be harmless.
    They run as torch runs them, and `uncovered` counts them. Elementwise operators, copies, gathers
    and comparisons add nothing and are not counted; nor are additions of two tensors, such as of
    two gradients that meet.

    Args:
        order: "fixed", "exact", "seeded" or "atomic"; see nondet_ext.summation.
        seed: for order="seeded": an integer in [0, 2**32), or two. The n-th covered sum since
            entering, counted from 0, takes the key (seed, n, second integer or 0, 0): every sum has
            an order of its own, and the same seed replays the block. (Where a backward pass runs
            on several devices at once, the numbers depend on which comes first.)

    Attributes:
        uncovered: a dict from operator to the number of calls that were not covered since the
            scope was entered. It prints as one line; absent operators have 0. Calls without
            floating-point tensors are never in it.

    Raises:
        TypeError, ValueError: as :func:`nondet_ext.sum` for `order` and `seed`.

    What the scope extends to:

    - One thread, and the autograd engine's threads that work for a backward pass started in it
      (the engine hands them the caller's modes). Other threads open scopes of their own.
    - What counts is where an operator runs. A backward pass outside, of a graph recorded inside, is
      not covered. Nor is what runs without torch's dispatcher and can therefore not be seen, not
      even counted: a CUDA graph being replayed (one that was captured inside keeps its order),
      AOTInductor packages, other libraries.
    - Of nested scopes the innermost decides; what it does not cover counts in the outer ones too.
      ``nondet_ext.sum(x, order=...)`` keeps its own order.
    - A scope that was left can be entered again, which clears `uncovered` and counts sums from 0.
      One that is open cannot: RuntimeError.
    - As a decorator, every call of the function opens a scope of its own; `uncovered` of the
      decorator adds them up.
    - ``torch.compile``: compiled functions run eagerly inside, wherever they were compiled; those
      with ``fullgraph=True`` raise torch's RuntimeError, since nothing was compiled. Opening a
      scope in a compiled function breaks its graph (torch raises under ``fullgraph=True``). A
      backward pass inside through what a compiled function recorded outside raises RuntimeError.
    - ``torch.inference_mode``, torch.func transforms, scripted and traced functions and activation
      checkpoints are covered as plain code is. Inside a control-flow operator (torch.cond) nothing
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
        self._stack: ExitStack | None = None

    def __repr__(self) -> str:
        seed = "" if self.seed is None else f", seed={self.seed!r}"
        return f"ordered({self.order!r}{seed})"

    @_disable_dynamo
    def __enter__(self) -> Self:
        if self._stack is not None:
            raise RuntimeError(
                f"{self!r} is open already; a nested scope needs an object of its own: "
                "with nondet_ext.ordered(...)"
            )
        self.uncovered.clear()
        with ExitStack() as stack:
            stack.enter_context(_CompiledBackwardGuard())
            stack.enter_context(_OrderedMode(self.order, self._words, self.uncovered))
            self._stack = stack.pop_all()
        return self

    @_disable_dynamo
    def __exit__(self, *error: object) -> None:
        stack, self._stack = self._stack, None
        if stack is not None:
            stack.close()

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def in_scope(*args: P.args, **kwargs: P.kwargs) -> R:
            scope = ordered(self.order, seed=self.seed)
            try:
                with scope:
                    return function(*args, **kwargs)
            finally:
                for name, calls in scope.uncovered.items():
                    self.uncovered[name] += calls

        return in_scope


class _OrderedMode(TorchDispatchMode):
    supports_higher_order_operators = True

    def __init__(self, order: str, words: tuple[int, ...], uncovered: Uncovered) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._order = order
        self._words = words
        self._uncovered = uncovered
        self._calls = itertools.count()

    def _next_order(self) -> dict[str, Any]:
        """The arguments `order` and `seed` of the next covered sum."""
        if self._order != "seeded":
            return {"order": self._order}
        seed, second = self._words
        return {"order": self._order, "seed": (seed, next(self._calls), second)}

    def __torch_dispatch__(
        self, func: Any, types: object, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        handler = HANDLERS.get(func)
        if handler is not None:
            # Derivatives of either mode are recorded above the dispatcher, where function modes
            # have seen the call, too.
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
        if is_operator and is_harmless(func, args, kwargs):
            return func(*args, **kwargs)
        if is_operator and func._can_decompose():
            # Outside of autograd (torch.inference_mode) torch leaves this step to the mode.
            with self:
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        result = func(*args, **kwargs)
        if holds_floats(args, kwargs, result):
            self._uncovered[func.name() if not is_operator else func._schema.name] += 1
        return result


def _is_plain(*trees: object) -> bool:
    """Whether a composite can be taken apart: strided tensors with real elements only."""
    return all(
        each.layout == torch.strided and not each.is_complex() and not each.is_quantized
        for each in tensors_in(*trees)
    )


_BACKWARDS = (torch.Tensor.backward, torch.autograd.backward, torch.autograd.grad)


class _CompiledBackwardGuard(TorchFunctionMode):
    """Refuses the backward pass of what a compiled function recorded: it runs compiled code, of
    which a dispatch mode sees nothing.
    """

    def __torch_function__(
        self, func: Any, types: object, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in _BACKWARDS:  # all that they do is hidden from this mode
            roots = args[0] if args else kwargs.get("outputs", kwargs.get("tensors"))
            _refuse_compiled_nodes([roots] if isinstance(roots, torch.Tensor) else roots)
        elif (node := torch._C._current_autograd_node()) is not None:
            # A pass started in another way: a compiled node looks at its gradients, in Python.
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
