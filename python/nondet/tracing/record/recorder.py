"""The recorder of a thread: where it is in the source, the modules and the steps."""

import sys
import threading
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import torch

from nondet.tracing.record.entries import Location, ReadFrom, describe_arguments, make_entry
from nondet.tracing.record.keeping import Keeps
from nondet.tracing.record.lines import NONE, make_places
from nondet.tracing.record.operators import Operator
from nondet.tracing.record.quiet import push_below, quiet, remove
from nondet.tracing.record.randomness import Draw, GlobalStates
from nondet.tracing.record.settings import flushes_denormals
from nondet.tracing.record.storages import aligned
from nondet.tracing.record.stream import Stream
from nondet.tracing.record.tensors import UNREAD, Seen, Tensors, Written
from nondet.tracing.records import Kind, Phase, Unseen
from nondet_ext.recording import ModuleCall

if TYPE_CHECKING:
    from nondet.tracing.record.shared import Shared

_NOTHING: Mapping[int, torch.Tensor] = {}
_sequence = torch._C._autograd._get_sequence_nr
_autocasts = torch._C._is_any_autocast_enabled
_deterministic = torch._C._get_deterministic_algorithms
_threads = torch.get_num_threads

_REMEMBERED = 100_000
"""Nodes whose operations are remembered, besides those of the last two steps."""


class Recorder:
    """Records what one thread does.

    Attributes:
        calls: The modules that are being called, from the outside in.
        off: True while nothing is recorded.
        settings: The facts of settings that hold now, where they are not the usual ones.
    """

    def __init__(self, session: "Shared", role: str) -> None:
        self.session = session
        self.thread = threading.get_ident()
        self.calls: list[ModuleCall] = []
        self.off = True
        with quiet():
            self.flushes_denormals = flushes_denormals()
        self.quiet_seeds = False
        self.settings: tuple[tuple[str, Any], ...] = ()
        self._states = GlobalStates()
        self._failures: set[str] = set()
        self.keeps = Keeps.of(session.options.keep_values)
        self._oldest = 0
        self._mode: Any = None
        self.open(role)

    def open(self, role: str) -> None:
        """Begin a stream."""
        session = self.session
        self.stream = Stream(session.folder, role, session.table, session.header)
        session.add_stream(self.stream)
        self.tensors = Tensors(self.stream, session.table)
        self.places = make_places(
            self.calls, self.stream.line, self._name_parameter, session.table.memories
        )
        if self._mode is not None:
            self._mode.connect_stream()

    def attach(self, mode: Any) -> None:
        """Take the mode that sees the operations of this thread."""
        self._mode = mode

    def switch(self, on: bool) -> None:
        """Begin or stop to record what this thread does."""
        if on == (not self.off):
            return
        self.off = not on
        self.refresh()
        self._mode.off = not on
        if self.session.options.level != "ops":
            return
        remove(self._mode)
        if on:
            push_below(self._mode)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Record nothing of this thread inside the block, whatever is recorded before and after."""
        before = self.off, self._mode.off
        self.off = self._mode.off = True
        try:
            yield
        finally:
            self.off, self._mode.off = before

    def close(self) -> None:
        """Write what is left, and close the stream."""
        self.disable()
        try:
            with quiet():
                self.stream.close()
        except Exception as error:
            sys.stderr.write(f"nondet trace: {self.stream.role} is cut off here: {error}\n")

    def disable(self) -> None:
        """Stop to record, from another thread; the mode stays and lets everything pass."""
        self.off = self._mode.off = True

    def place(self, frame: FrameType | None, node: Any) -> tuple[Any, ...]:
        """Return the place of an operation: (line, caller, module, training), and for one of a
        backward pass also the line that called it, and that one's caller. Modules are numbers.

        node: of autograd that runs, None in a forward pass.
        """
        return self.places.find(frame, node)

    def _name_parameter(self, parameter: torch.Tensor) -> int:
        memory = self.tensors.look(parameter)[1]
        return self.session.modules.number(memory.name if memory is not None else "")

    def locate(self, place: tuple[Any, ...]) -> Location:
        """Return a place with the names of phase and module."""
        line, caller, module, training, *outer = place
        name = self.session.modules.names[module]
        backward_line, backward_caller = outer or (NONE, NONE)
        phase: Phase = "backward" if outer else "forward"
        return Location(phase, name, line, caller, backward_line, backward_caller, training)

    def describe(
        self,
        operator: Operator,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        place: tuple[Any, ...],
        reads: Sequence[Sequence[int]],
        writes: Sequence[Written],
        facts: tuple[tuple[str, Any], ...],
        draw: Draw | None = None,
    ) -> int:
        """Return the number of the entry of an operation that is met first.

        reads: for each tensor that it reads, the numbers of `ReadFrom`, the first that of its
        layout.
        """
        layouts = self.session.table.by_number
        arguments, letters = describe_arguments(operator, args, kwargs)
        entry = make_entry(
            "operation",
            operator.name,
            self.locate(place),
            self.session.table,
            self.session.streams,
            arguments=arguments,
            numbers=letters,
            has_state=draw is not None and draw.state is not None,
            reads=[ReadFrom(layouts[each[0]], *each[1:]) for each in reads],
            writes=writes,
            facts=facts if draw is None else (*facts, ("generator", draw.generator)),
            value_facts=["seed"] if draw is not None and draw.seed is not None else [],
        )
        return self.stream.entry(entry)

    def here(self) -> tuple[Any, ...]:
        """Return the place of the caller of the recorder."""
        return self.place(sys._getframe(1), torch._C._current_autograd_node())

    def refresh(self) -> None:
        """Look at the settings that change rarely; they are not asked for at each operation."""
        if (
            self.flushes_denormals
            or _autocasts()
            or _deterministic()
            or _threads() != self.session.threads
            or self.session.switched
        ):
            self.settings = self._find_settings()
        else:
            self.settings = ()

    def _find_settings(self) -> tuple[tuple[str, Any], ...]:
        facts: list[tuple[str, Any]] = []
        for device in ("cpu", "cuda") if _autocasts() else ():
            if torch.is_autocast_enabled(device):
                dtype = str(torch.get_autocast_dtype(device)).removeprefix("torch.")
                facts.append(("autocast", dtype))
                break
        if self.flushes_denormals:
            facts.append(("flush_denormal", True))
        if _threads() != self.session.threads:
            facts.append(("threads", _threads()))
        if _deterministic():
            facts.append(("deterministic", True))
        if self.session.switched:
            facts.append(("switches", self.session.switched))
        return tuple(facts)

    def add(
        self,
        kind: Kind,
        name: str,
        *,
        reads: Sequence[torch.Tensor] = (),
        writes: Sequence[torch.Tensor] = (),
        changed: Mapping[int, torch.Tensor] = _NOTHING,
        numbers: Sequence[int] = (),
        state: int | None = None,
        arguments: str = "",
        facts: Sequence[tuple[str, Any]] = (),
        value_facts: Sequence[tuple[str, int]] = (),
        place: tuple[Any, ...] | None = None,
        seen: Sequence[Seen] | None = None,
    ) -> None:
        """Add a record of anything but an operation.

        reads, writes: tensors. changed: those of the reads that were changed in place, by number.
        numbers: unsigned integers. seen: what was known of the reads when they were read, if they
        may have changed since.
        """
        with quiet():
            stream = self.stream
            place = self.here() if place is None else place
            values = stream.digests.values
            values.extend(numbers)
            if state is not None:
                values.append(state)
            serial = stream.serial
            groups = self._sources([*map(self.tensors.look, reads)] if seen is None else seen)
            written: list[Written] = []
            for number, tensor in changed.items():
                self.tensors.write(tensor, number, serial, written)
            for tensor in writes:
                self.tensors.make(tensor, serial, written)
            values.extend([value for _, value in value_facts])
            parts: dict[str, Any] = {
                "arguments": arguments,
                "numbers": "u" * len(numbers),
                "has_state": state is not None,
                "writes": tuple(written),
                "facts": (*facts, *self.settings),
                "value_facts": tuple([fact for fact, _ in value_facts]),
            }
            entry = self._entry(kind, name, place, groups, parts)
            stream.add(entry)
            if self.keeps is not None:
                self.keeps.offer(stream, serial, entry, [*changed.values(), *writes], None)

    def _sources(self, reads: Sequence[Seen]) -> tuple[tuple[int, ...], ...]:
        """Return of each tensor that a record reads the numbers of `ReadFrom`, the first that of
        its layout; the digests of those that nothing in the trace wrote are appended to the values.
        """
        groups: list[tuple[int, ...]] = []
        for number, each in enumerate(reads):
            _, memory, layout, _, offset, value, _, _, _ = each
            if memory is None:
                groups.append((layout.number, -1, UNREAD, 0, 64))
                continue
            back, slot = self.tensors.source(each, value, self.stream.serial, number, False)
            alignment = aligned(memory, offset, layout.itemsize)
            groups.append((layout.number, memory.tag, back, slot, alignment))
        return tuple(groups)

    def _entry(
        self,
        kind: Kind,
        name: str,
        place: tuple[Any, ...],
        groups: tuple[tuple[int, ...], ...],
        parts: Mapping[str, Any],
    ) -> int:
        """Return the number of the entry of a record other than an operation."""
        known, table = self.stream.known, self.session.table
        key = (kind, name, place, groups, *parts.values())
        try:
            entry = known.get(key)
        except TypeError:  # a fact that cannot be hashed
            key = (kind, name, place, groups, repr(parts))
            entry = known.get(key)
        if entry is None:
            reads = [ReadFrom(table.by_number[each[0]], *each[1:]) for each in groups]
            entry = known[key] = self.stream.entry(
                make_entry(
                    *(kind, name, self.locate(place), table, self.session.streams),
                    reads=reads,
                    **parts,
                )
            )
        return entry

    def add_generators(self) -> None:
        """Record the states of generators that torch does not draw from, if they changed."""
        for name, state in self._states.changed():
            self.add("generator", name, state=state)

    def end_step(self) -> None:
        """End the step of this thread's stream."""
        if not self.off:
            self.add_generators()
        with quiet():
            self.stream.end_step(recorded=not self.off)
            self.places.forget(self._oldest, _REMEMBERED)
            self._oldest = _sequence()
        self.refresh()

    def fail(self, error: Exception) -> None:
        """Say that the recorder itself went wrong; drop the record at hand, and go on."""
        frames = traceback.extract_tb(error.__traceback__)
        at = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "unknown"
        problem = f"{''.join(traceback.format_exception_only(error)).strip()} ({at})"
        try:
            self.stream.rollback()
            if problem in self._failures:
                return
            self._failures.add(problem)
            sys.stderr.write(f"nondet trace: {self.stream.role} lacks a record: {problem}\n")
            self.stream.unseen(Unseen("recorder", problem))
        except Exception as second:  # a full disk, say
            self.disable()
            sys.stderr.write(f"nondet trace: {self.stream.role} is cut off here: {second}\n")
