"""Fabricate traces: streams of records stated in a few lines, and their folders on disk.

    stream = StreamMaker()
    w = stream.parameter("fc.weight")
    x = stream.batch()
    h = stream.op("aten.mm.default", x, w, line=12, module="Net.fc")
    stream.op("aten.add_", w, h, into=0)
    stream.step()
    trace = make_trace(tmp_path / "a.trace", stream)

What an operation writes is a function of its name, arguments and what it read, so a difference goes
the way that it goes in a real run; `noise=1` makes an operation write something else.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from nondet.tracing.format import (
    Entry,
    ReadShape,
    StreamWriter,
    Trace,
    WriteShape,
    read_trace,
    write_command,
)
from nondet.tracing.records import (
    Kept,
    Kind,
    Line,
    Phase,
    Read,
    Record,
    Source,
    StreamInfo,
    TensorType,
    Unseen,
    Write,
)

COMMAND = {"arguments": ["python", "train.py"], "folder": "/home/me"}
STARTED = 1.8e9
LINES = ("line", "caller", "backward_line", "backward_caller")
"""The fields of entries and records that tell lines of source."""

NO_LINES = (-1,) * len(LINES)


@dataclass(frozen=True)
class Tensor:
    """A tensor of a stream that is being made."""

    bits: int  # its digest, were it hashed
    type: TensorType
    label: str = ""  # of its source while nothing in the trace wrote it
    digest: int | None = None  # of its writer
    place: tuple[int, int, int] | None = None  # step, index and slot of its writer


class StreamMaker:
    """Makes the records of a stream, one call a record.

    Every method that makes a record takes the keywords of `record`.
    """

    def __init__(
        self,
        role: str = "main",
        *,
        header: Mapping[str, Any] | None = None,
        pid: int = 100,
        thread: str = "MainThread",
        started: float = STARTED,
        records: Sequence[Record] = (),
        complete: bool = True,
    ) -> None:
        self.info = StreamInfo(role, pid, thread, started, header or {})
        self.records = list(records)
        self.unseen: list[Unseen] = []
        self.kept: list[Kept] = []
        self.complete = complete  # False: without the mark of a clean end
        self._step, self._index = 0, 0
        self._before: int | None = None  # the number of the step before, of those with records
        self._read_first: dict[Tensor, tuple[int, int, int | None]] = {}

    def tensor(
        self,
        bits: int,
        *,
        label: str = "",
        shape: Sequence[int] = (4,),
        dtype: str = "float32",
        device: str = "cpu",
    ) -> Tensor:
        """Return a tensor that nothing in the trace has written."""
        return Tensor(bits, TensorType(dtype, tuple(shape), device), label)

    def op(self, name: str, *reads: Tensor, **how: Any) -> Any:
        """Add an operation and return the tensor that it writes, or a tuple of several."""
        return self.record("operation", name, *reads, **how)

    def draw(self, name: str, *reads: Tensor, state: int, **how: Any) -> Any:
        """Add an operation that draws from the generator with this digest of its state."""
        how["facts"] = {"generator": "cpu", **how.get("facts", {})}
        return self.record("operation", name, *reads, state=state, **how)

    def batch(self, name: str = "DataLoader", *, bits: int = 1, **how: Any) -> Any:
        """Add a batch, of tensors made from `bits`."""
        return self.record("batch", name, salt=bits, **how)

    def parameter(self, name: str, *, bits: int | None = None, **how: Any) -> Tensor:
        """Add a parameter, which is read for the first time, and return its tensor."""
        kind = {key: how.pop(key) for key in ("shape", "dtype", "device") if key in how}
        tensor = self.tensor(_hash(name) if bits is None else bits, label=name, **kind)
        self.record("parameter", name, tensor, out=0, **how)
        return tensor

    def seed(self, name: str = "torch.manual_seed", seed: int = 0, **how: Any) -> None:
        """Add a seed that was set."""
        self.record("seed", name, out=0, numbers=(seed,), **how)

    def generator(self, name: str, state: int, **how: Any) -> None:
        """Add the state of a generator that torch does not draw from."""
        self.record("generator", name, out=0, state=state, **how)

    def record(
        self,
        kind: Kind,
        name: str,
        *reads: Tensor,
        out: int = 1,
        digest: int | Sequence[int | None] | None = None,
        into: int | None = None,
        view_of: int | None = None,
        shape: Sequence[int] | None = None,
        dtype: str | None = None,
        device: str | None = None,
        phase: Phase = "forward",
        module: str = "",
        line: int | Line | None = None,
        caller: int | Line | None = None,
        backward_line: int | Line | None = None,
        backward_caller: int | Line | None = None,
        arguments: str = "",
        numbers: tuple[float, ...] = (),
        state: int | None = None,
        facts: Mapping[str, Any] | None = None,
        alignment: int = 64,
        salt: object = None,
        noise: int = 0,
    ) -> Any:
        """Add a record and return the tensor that it writes; for `out` other than 1, a tuple.

        digest: of what it writes, or one for each tensor; by default, a hash of what it read.
        into, view_of: the read tensor that the first written one changes, or is a view of; a view
        has no digest. shape, dtype, device: of what it writes, by default as the first tensor read.
        """
        kind_of_first = reads[0].type if reads else TensorType("float32", (4,), "cpu")
        written = TensorType(
            dtype or kind_of_first.dtype,
            kind_of_first.shape if shape is None else tuple(shape),
            device or kind_of_first.device,
        )
        read = [each.bits for each in reads]
        results = []
        for slot in range(out):
            bits = _hash(name, arguments, numbers, state, read, slot, salt, noise)
            if isinstance(digest, int):
                bits = digest
            elif digest is not None and digest[slot] is not None:
                bits = int(digest[slot] or 0)
            hashed = view_of is None or slot > 0
            hashed &= not isinstance(digest, Sequence) or digest[slot] is not None
            place = (self._step, self._index, slot)
            results.append(Tensor(bits, written, "", bits if hashed else None, place))
        self.records.append(
            Record(
                step=self._step,
                index=self._index,
                kind=kind,
                name=name,
                phase=phase,
                module=module,
                line=_line(line),
                caller=_line(caller),
                backward_line=_line(backward_line),
                backward_caller=_line(backward_caller),
                arguments=arguments,
                numbers=tuple(numbers),
                state=state,
                reads=tuple(self._read(each, i, alignment) for i, each in enumerate(reads)),
                writes=tuple(
                    Write(
                        each.type,
                        each.digest,
                        into if slot == 0 else None,
                        view_of if slot == 0 else None,
                    )
                    for slot, each in enumerate(results)
                ),
                facts=dict(facts or {}),
            )
        )
        self._index += 1
        return results[0] if out == 1 else tuple(results)

    def step(self, number: int | None = None) -> None:
        """End the step; the next one has this number, by default the one after."""
        if self._index > 0:
            self._before = self._step
        self._step = self._step + 1 if number is None else number
        self._index = 0
        self._read_first = {}

    def keep(self, tensor: Tensor, values: np.ndarray) -> None:
        """Keep the values of a tensor that the stream wrote."""
        assert tensor.place is not None
        kind = TensorType(str(values.dtype), values.shape, "cpu")
        self.kept.append(Kept(*tensor.place, kind, values.tobytes()))

    def _read(self, tensor: Tensor, slot: int, alignment: int) -> Read:
        digest = tensor.digest
        if tensor.place is not None and tensor.place[0] == self._step:
            source = Source("output", self._index - tensor.place[1], tensor.place[2])
        elif tensor in self._read_first and self._read_first[tensor][0] < self._index:
            index, first, digest = self._read_first[tensor]
            source = Source("read", self._index - index, first)
        elif tensor.place is not None and tensor.place[0] == self._before:
            source = Source("earlier", tensor.place[1], tensor.place[2])
        else:
            source = Source("new", label=tensor.label or ("older" if tensor.place else ""))
            digest = tensor.bits
        self._read_first.setdefault(tensor, (self._index, slot, digest))
        return Read(tensor.type, source, digest, alignment)


@dataclass
class Written:
    """The values and the entries of a step, to be written."""

    entries: list[int] = field(default_factory=list)
    values: list[int] = field(default_factory=list)


def write_trace(
    path: Path,
    *streams: StreamMaker | Sequence[Record],
    command: Mapping[str, Any] | None = None,
) -> Path:
    """Write a trace of these streams, or lists of records, and return its folder."""
    write_command(path, COMMAND if command is None else command)
    for number, stream in enumerate(streams):
        if not isinstance(stream, StreamMaker):
            stream = StreamMaker("main" if number == 0 else f"main/{number}", records=stream)
        write_stream(path / f"{number}.stream", stream)
    return path


def make_trace(
    path: Path,
    *streams: StreamMaker | Sequence[Record],
    command: Mapping[str, Any] | None = None,
) -> Trace:
    """Write a trace of these streams, or lists of records, and read it."""
    return read_trace(write_trace(path, *streams, command=command))


def write_stream(path: Path, stream: StreamMaker) -> None:
    """Write a stream into the folder of a trace."""
    writer = StreamWriter(path, stream.info)
    for number, records in groupby(stream.records, lambda record: record.step):
        step = Written()
        for record in records:
            step.entries.append(writer.entry(entry_of(record, writer)))
            step.values.extend(values_of(record))
        writer.step(number, step.entries, np.array(step.values, np.uint64), whole=True)
    for kept in stream.kept:
        writer.kept(kept)
    for unseen in stream.unseen:
        writer.unseen(unseen)
    if stream.complete:
        writer.close()


def entry_of(record: Record, writer: StreamWriter) -> Entry:
    """Return the entry of a record."""
    lines = {
        name: -1 if (line := getattr(record, name)) is None else writer.line(*line)
        for name in LINES
    }
    return Entry(
        kind=record.kind,
        name=record.name,
        phase=record.phase,
        module=record.module,
        **lines,
        arguments=record.arguments,
        numbers="".join(_letter(number) for number in record.numbers),
        has_state=record.state is not None,
        reads=tuple(
            ReadShape(
                read.type,
                read.source,
                read.source.origin == "new" and read.digest is not None,
                read.alignment,
                read.is_contiguous,
            )
            for read in record.reads
        ),
        writes=tuple(
            WriteShape(write.type, write.digest is not None, write.into, write.view_of)
            for write in record.writes
        ),
        facts=tuple((name, value) for name, value in record.facts.items() if not _words(value)),
        value_facts=tuple(
            f"{name}[]" if isinstance(value, tuple) else name
            for name, value in record.facts.items()
            for _ in _words(value)
        ),
    )


def values_of(record: Record) -> Iterator[int]:
    """Yield the values of a record as unsigned integers of 64 bits."""
    for number in record.numbers:
        dtype = {"f": np.float64, "i": np.int64, "u": np.uint64}[_letter(number)]
        yield int(np.array(number, dtype).view(np.uint64))
    if record.state is not None:
        yield record.state
    yield from (
        read.digest
        for read in record.reads
        if read.source.origin == "new" and read.digest is not None
    )
    yield from (write.digest for write in record.writes if write.digest is not None)
    for value in record.facts.values():
        yield from _words(value)


def _words(value: object) -> tuple[int, ...]:
    """Return the words of a fact that stands among the values: an integer, or a tuple of such."""
    words = value if isinstance(value, tuple) else (value,)
    return words if all(type(word) is int and 0 <= word < 2**64 for word in words) else ()


def _letter(number: float) -> str:
    if isinstance(number, float):
        return "f"
    return "i" if -(2**63) <= number < 2**63 else "u"


def _line(line: int | Line | None) -> Line | None:
    if isinstance(line, int):
        return Line("train.py", line, "<module>", f"line {line}")
    return line


def _hash(*parts: object) -> int:
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8)
    return int.from_bytes(digest.digest(), "little")
