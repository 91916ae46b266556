"""What a trace holds: streams of records, a stream for each thread of each process."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

Kind = Literal[
    "operation",  # an operation of torch
    "graph",  # a compiled graph: one record for all that it computes
    "module",  # a call of a module, at level "modules"
    "batch",  # what a DataLoader returned
    "parameter",  # a parameter or buffer, by name, when its module or optimizer is first used
    "seed",  # a seed that was set
    "generator",  # the state of a generator that torch does not draw from, at the end of a step
]

Phase = Literal["forward", "backward"]

Origin = Literal[
    "output",  # what an earlier record of the same step wrote
    "read",  # a tensor that an earlier record of the same step read first
    "earlier",  # what a record of the step before wrote
    "new",  # a tensor whose writer is older, in another thread, or not in the trace
]


COLLECTIVE = "collective"
"""The label of memory without a name that a collective operation filled."""


class TensorType(NamedTuple):
    """What a tensor is, without its values."""

    dtype: str  # "float32"
    shape: tuple[int, ...]
    device: str  # "cpu", "cuda:0"


class Line(NamedTuple):
    """A line of Python source."""

    file: str
    number: int  # from 1
    function: str
    text: str = ""  # the line itself, stripped


def in_package(file: str) -> str:
    """Return the path of a file in the folder of packages that holds it: "skorch/net.py"."""
    return re.split(r"[/\\](?:site|dist)-packages[/\\]", file)[-1]


class Source(NamedTuple):
    """Where the value of a tensor that a record reads comes from.

    origin "output" or "read": `back` records before this one, its tensor number `slot` of those it
    wrote or read. "earlier": record number `back` of the step before. "new": the digest stands
    with the record, and `label` says what is known: the name of a parameter, "batch", COLLECTIVE,
    "older" for a record of a step before the last, another thread's name, or "".
    """

    origin: Origin
    back: int = 0
    slot: int = 0
    label: str = ""


class Read(NamedTuple):
    """A tensor that a record read."""

    type: TensorType
    source: Source
    digest: int | None  # of its bits, dtype and shape; None where nothing was hashed
    alignment: int = 64  # the largest power of two, up to 64, that divides its address
    is_contiguous: bool = True


class Write(NamedTuple):
    """A tensor that a record made or changed."""

    type: TensorType
    digest: int | None  # None for a view and for memory that nothing has written yet
    into: int | None = None  # the number of the read tensor that was changed in place
    view_of: int | None = None  # the number of the read tensor whose memory it shares


@dataclass(frozen=True, slots=True)
class Record:
    """One thing that a thread did, in the order of execution."""

    step: int  # steps end with `optimizer.step` or `nondet.step()`
    index: int  # in its step, from 0
    kind: Kind
    name: str  # "aten.mm.default", a parameter's name, "torch.manual_seed", ...
    phase: Phase = "forward"
    module: str = ""  # "ResNet.layer1.0.conv1", the innermost module that is being called
    line: Line | None = None  # for a backward operation, that of its forward operation
    caller: Line | None = None  # where `line` is a library's: that of the script which led to it
    backward_line: Line | None = None  # where `backward` was called
    backward_caller: Line | None = None  # as `caller`, for `backward_line`
    arguments: str = ""  # all that is neither a tensor nor a number
    numbers: tuple[float, ...] = ()  # numbers among the arguments, in their order
    state: int | None = None  # digest of the generator's state before a draw
    reads: tuple[Read, ...] = ()
    writes: tuple[Write, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)  # see FACTS

    @property
    def draws(self) -> bool:
        """True if it draws random numbers of a torch generator."""
        return self.state is not None


FACTS = {
    "generator": "the generator that it draws from: 'cpu', 'cuda:0', 'own 1', ...",
    "seed": "the initial seed of that generator",
    "repeated_indices": "True if indices among the arguments name an element more than once",
    "repeats_differ": "True if the operation, run again on its own inputs, gave other bits",
    "uninitialized": "numbers of read tensors whose memory nothing had written",
    "written_meanwhile": "numbers of read tensors that changed though no operation wrote them",
    "training": "training mode of the innermost module",
    "autocast": "dtype of autocast on the device, where it is enabled",
    "flush_denormal": "True where the thread flushes subnormals",
    "threads": "torch.get_num_threads(), where it differs from the header's",
    "deterministic": "True where deterministic algorithms are on",
    "switches": "names and values of torch's switches that differ from those in the header",
    "rows": "for a batch: digests of the multiset of rows of each tensor",
    "indices": "for a batch: digest of the indices of its examples",
    "index_set": "for a batch: digest of the multiset of these indices",
    "worker": "for a batch: number of the worker that made it",
    "workers": "for a batch: number of workers of its loader",
    "from_clock": "for a seed: True if it was not given as a literal or argument",
}
"""The names of facts of records, and what they say. A fact that does not apply is left out."""


class Kept(NamedTuple):
    """The values of a tensor that the user asked to keep."""

    step: int
    index: int  # type: ignore[assignment]  # hides that of tuples
    slot: int  # number among the tensors that the record wrote
    type: TensorType
    data: bytes  # row-major, little-endian


@dataclass(frozen=True)
class Unseen:
    """Something that a trace could not see."""

    kind: str  # "process", "compiled", "extension", "cuda graph", "dropped", ...
    what: str  # "python -S helper.py (pid 4711) started without the trace"
    count: int = 1


@dataclass(frozen=True)
class StreamInfo:
    """Which thread of which process a stream is of.

    `role` names it such that the same thread of another run has the same role: "main",
    "main/thread Thread-1 (work)", "rank 1", "main/process SpawnProcess-1",
    "main/loader 2 worker 0", "main/command 1".
    """

    role: str
    pid: int
    thread: str
    started: float  # seconds since the epoch
    header: Mapping[str, Any] = field(default_factory=dict)  # nondet.tracing.header
