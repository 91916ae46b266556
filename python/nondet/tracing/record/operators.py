"""What is known of an operation of torch before it is called: its arguments, and what it writes."""

import threading
from typing import Any

import torch

TENSOR, TENSORS, NESTED, NUMBER, GENERATOR, OTHER = range(6)
"""Kinds of arguments: a tensor, a list of tensors, a list of such lists, a number, a generator,
anything else. C++ has the same numbers (`Kind` in csrc/bindings/cpu/trace_way.h).
"""

_FILLED = {
    *("copy_", "fill_", "zero_", "uniform_", "normal_", "random_", "bernoulli_", "exponential_"),
    *("geometric_", "cauchy_", "log_normal_", "_foreach_copy_", "_foreach_zero_"),
    *("_copy_from", "_copy_from_and_resize", "_resize_output_", "resize_"),
}
"""Operations that write to their first argument and do not read it."""

_REDUCED = {"allreduce_", "allreduce_coalesced_", "broadcast_", "reduce_"}
_RECEIVED = {
    *("allgather_", "_allgather_base_", "allgather_coalesced_", "allgather_into_tensor_coalesced_"),
    *("reduce_scatter_", "_reduce_scatter_base_", "reduce_scatter_tensor_coalesced_", "scatter_"),
    *("gather_", "alltoall_", "alltoall_base_", "recv_", "recv_any_source_"),
}
"""Collective operations of c10d that change, or fill without reading it, their first argument, as
their schema does not say. They may return before it is filled.
"""

_ADOPTS = {"aten::set_", *(f"c10d::{name}" for name in (*_REDUCED, *_RECEIVED))}
"""Operations that give a tensor values that something else made, such as another process."""

_BLANK = {
    *("empty", "empty_like", "empty_strided", "empty_permuted", "new_empty", "new_empty_strided"),
    "resize_",
}
"""Operations whose result nothing has written yet."""

RACING = {"index_put", "index_put_", "_index_put_impl_", "put_", "put", "_unsafe_index_put"}
"""Operations whose threads write to one element if an index repeats. On a CPU, `index_add` and
`scatter_add` do not: there one thread writes to an element.
"""


_VIEWS = {"_unsafe_view", "_reshape_alias", "lift_fresh"}
"""Operations whose results share memory with an argument though their schema does not say so."""

_BATCH_NORM = (3, 4), 5
_UNDECLARED = dict.fromkeys(
    ("native_batch_norm", "cudnn_batch_norm", "miopen_batch_norm"), _BATCH_NORM
)
"""Arguments that are written though the schema does not say so, and the flag that must be set."""


class Operator:
    """What is known of an overload.

    kinds: of positional arguments. named: of arguments by name. written: positions that it changes,
    written_names: arguments by name. unread: True if it does not read what it writes first. draws:
    True if it draws random numbers. blank: True if its results hold nothing yet. adopts: True if it
    gives its first argument values that it did not make. collective: True if these come from other
    ranks. view: True if its results share the memory of an argument. simple: True if it may be
    recorded the short way, in C++.
    """

    __slots__ = (
        *("adopts", "blank", "call", "collective", "draws", "kinds", "name", "named", "number"),
        *("races", "simple", "unread", "view", "when", "writes", "written", "written_names"),
        "function",
    )

    def __init__(self, number: int, function: Any) -> None:
        schema = function._schema
        base = schema.name.split("::")[-1]
        self.number = number
        self.function = function  # held: operators are known by the id of their function
        self.call = function._op if type(function) is torch._ops.OpOverload else function
        self.name = str(function)
        arguments = list(schema.arguments)
        self.kinds = tuple(_kind(argument) for argument in arguments)
        self.named = {argument.name: _kind(argument) for argument in arguments}
        written = [_is_written(argument) for argument in arguments]
        self.written = tuple(
            i for i, each in enumerate(arguments) if written[i] and not each.kwarg_only
        )
        self.written_names = tuple(
            each.name for i, each in enumerate(arguments) if written[i] and each.kwarg_only
        )
        self.when: int | None = None
        if base in _UNDECLARED:
            self.written, self.when = _UNDECLARED[base]
        self.adopts = schema.name in _ADOPTS
        self.collective = self.adopts and schema.name.startswith("c10d::")
        if self.collective:
            self.written = (0,)
        self.writes = bool(self.written or self.written_names)
        self.unread = base in _FILLED or (self.adopts and base not in _REDUCED)
        self.view = base in _VIEWS or any(
            each.alias_info is not None and not each.alias_info.is_write for each in schema.returns
        )
        self.draws = torch.Tag.nondeterministic_seeded in function.tags
        self.blank = base in _BLANK
        self.races = base in RACING
        self.simple = not any(
            (
                *(self.draws, self.races, self.adopts, self.when is not None),
                *(self.written_names, NESTED in self.kinds),
            )
        )


class Passed:
    """An operation that is not recorded: a higher-order one, which takes functions and does not
    show what they do, or a mark of the profiler.
    """

    def __init__(self, function: Any, announced: bool) -> None:
        self.function = function
        self.name = str(function)
        self._announced = announced

    def announce(self) -> bool:
        """Return True the first time, if the trace should say that it was not seen."""
        first, self._announced = not self._announced, True
        return first


class Operators:
    """The operators that were called, by overload."""

    def __init__(self) -> None:
        # A thread comes back to it when the garbage collector runs in between, and calls torch.
        self._lock = threading.RLock()
        self.known: dict[int, Operator | Passed] = {}

    def find(self, function: Any) -> Operator | Passed:
        """Return the operator of an overload."""
        known = self.known.get(id(function))
        if known is not None:
            return known
        with self._lock:
            while id(function) not in self.known:
                number = len(self.known)
                operator = self._make(function, number)
                if len(self.known) == number:  # not taken by what the garbage collector ran
                    self.known[id(function)] = operator
            return self.known[id(function)]

    def _make(self, function: Any, number: int) -> Operator | Passed:
        if not hasattr(function, "_schema"):
            return Passed(function, announced=False)
        if function.namespace == "profiler":
            return Passed(function, announced=True)
        return Operator(number, function)


def _is_written(argument: Any) -> bool:
    return argument.alias_info is not None and bool(argument.alias_info.is_write)


def _kind(argument: Any) -> int:
    text = str(argument.type)
    if text.startswith(("Optional[", "Optional(")):
        text = text[9:-1]
    if text == "Tensor":
        return TENSOR
    if text in ("List[Tensor]", "List[Optional[Tensor]]"):
        return TENSORS
    if text == "List[List[Tensor]]":
        return NESTED
    if text in ("number", "int", "float", "SymInt", "SymFloat", "Scalar"):
        return NUMBER
    if text == "Generator":
        return GENERATOR
    return OTHER
