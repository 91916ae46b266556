"""See every operation of a thread: what it read, where that came from, and what it wrote."""

import struct
import sys
from contextlib import nullcontext
from types import FrameType
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from nondet.tracing.record import operators, races, randomness
from nondet.tracing.record.digests import digest_all
from nondet.tracing.record.operators import Operator, Passed
from nondet.tracing.record.storages import aligned
from nondet.tracing.record.stream import PART
from nondet.tracing.record.tensors import PLAIN, UNREAD, Seen, Written
from nondet.tracing.records import COLLECTIVE, Unseen
from nondet_ext.recording import DTYPE_CODE, Watch

if TYPE_CHECKING:
    from nondet.tracing.record.recorder import Recorder

_MASK = 2**64 - 1
_NO_CONTEXT = nullcontext()
_NUMBERS = frozenset((float, int, bool, complex))
_LISTS = (operators.TENSORS, operators.NESTED)
_FLOAT, _WORD = struct.Struct("<d"), struct.Struct("<Q")

_node = torch._C._current_autograd_node
_modes = torch._C._len_torch_dispatch_stack
_functions = torch._C._len_torch_function_stack


class Prepared(NamedTuple):
    """What was noted of an operation before it ran.

    key: what is told apart of its arguments. reads: tensors among them. written: numbers of those
    that it changes. unread: numbers of those that it does not read. meanwhile: numbers of those
    that changed unseen.
    """

    key: list[Any]
    numbers: list[int]
    reads: list[Seen]
    written: list[int]
    unread: tuple[int, ...]
    draw: randomness.Draw | None
    race: races.Race | None
    meanwhile: tuple[int, ...]


class Dispatch(Watch, TorchDispatchMode):
    """The mode that sees the operations of a thread and adds their records to its stream.

    `Watch`, which is C++, gets them first. It records those whose reads are all known, which draw
    nothing and which nothing else watches: nearly all in a loop that trains. The others come to
    `dispatch`. Both ways make the same records.
    """

    # Torch refuses higher-order operations under a mode that does not say so.
    supports_higher_order_operators = True

    def __init__(self, recorder: "Recorder") -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._recorder = recorder
        self._operators = recorder.session.operators
        self._verify = recorder.session.options.verify_inputs
        self.connect_stream()

    @classmethod
    def ignore_compile_internals(cls) -> bool:
        """Leave compiled code compiled: otherwise the traced run would not be the plain one."""
        return True

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # The code below is skipped by its code objects, without the cost of a wrapper.
        return False

    def connect_stream(self) -> None:
        """Take the short way of the recorder's present stream."""
        recorder = self._recorder
        session, stream = recorder.session, recorder.stream
        links = {
            "recorder": recorder,
            "describe": recorder.describe,
            "stream": stream,
            "end_part": stream.end_part,
            "digests": stream.digests,
            "streams": session.streams,
            "finish": session.finish,
            "memories": session.table.memories,
            "pattern": session.table.pattern,
            "add_layout": session.table.add_layout,
            "tensors": recorder.tensors,
            "find": self._operators.find,
            "places": recorder.places,
            "node": _node,
            "functions": _functions,
            "numbers": DTYPE_CODE,
            "written": Written,
        }
        short_way = not self._verify and recorder.keeps is None
        self.connect(links, short_way, PART)

    def dispatch(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        """Call an operation and record it, the long way."""
        if types and not PLAIN.issuperset(types):
            if _modes():  # such as the mode of fake tensors, which deals with their subclass
                return function(*args, **kwargs)
            return NotImplemented  # the subclass first: its own operations come here again
        recorder = self._recorder
        try:
            operator = self._operators.find(function)
            if isinstance(operator, Passed):
                if operator.announce():
                    recorder.stream.unseen(Unseen("higher-order operation", operator.name))
                return function(*args, **kwargs)
            watched = _functions()
            with torch._C.DisableTorchFunction() if watched else _NO_CONTEXT:
                prepared = self._before(operator, args, kwargs)
        except Exception as error:
            recorder.fail(error)
            return function(*args, **kwargs)
        out = operator.call(*args, **kwargs)
        try:
            frame = sys._getframe().f_back
            with torch._C.DisableTorchFunction() if watched else _NO_CONTEXT:
                self._after(operator, prepared, args, kwargs, out, frame)
        except Exception as error:
            recorder.fail(error)
        return out

    def _before(self, operator: Operator, args: Any, kwargs: Any) -> Prepared:
        key: list[Any] = [operator.number]
        numbers: list[int] = []
        reads: list[Seen] = []
        written: list[int] = []
        generator = None
        tensors = self._recorder.tensors
        look = tensors.look
        writes = operator.writes and (operator.when is None or args[operator.when])
        for position, (kind, argument) in enumerate(zip(operator.kinds, args, strict=False)):
            if kind == operators.TENSOR:
                if argument is None:
                    key.append(None)
                elif type(argument) in _NUMBERS:
                    key.append(_add_number(numbers, argument))
                else:
                    if writes and position in operator.written:
                        written.append(len(reads))
                    key.append(True)
                    reads.append(look(argument))
            elif kind == operators.NUMBER:
                key.append(_add_number(numbers, argument))
            elif kind in _LISTS:
                if kind == operators.NESTED:
                    key.append(tuple(map(len, argument)))
                    argument = [each for inner in argument for each in inner]
                if writes and position in operator.written:
                    written.extend(range(len(reads), len(reads) + len(argument)))
                key.append(tuple([each is None for each in argument]))
                reads.extend([look(each) for each in argument if each is not None])
            elif kind == operators.GENERATOR:
                generator = argument
            elif type(argument) is torch.ScriptObject:  # another one at each call
                key.append(torch.ScriptObject)
            else:
                key.append(tuple(argument) if type(argument) is list else argument)
        unread: tuple[int, ...] = ()
        if operator.unread and args:
            count = len(args[0]) if operator.kinds[0] == operators.TENSORS else 1
            unread = tuple(written if operator.collective else range(count))
        elif operator.collective:  # such as the memory that a broadcast fills
            unread = tuple([i for i in written if (m := reads[i][1]) is not None and m.blank])
        if kwargs:
            for name, argument in kwargs.items():
                kind = operator.named.get(name, operators.OTHER)
                if kind == operators.GENERATOR:
                    generator = argument
                    continue
                key.append(name)
                if kind in (operators.TENSOR, operators.TENSORS) and argument is not None:
                    some = [argument] if kind == operators.TENSOR else argument
                    some = [each for each in some if each is not None]
                    key.append(len(some))
                    if name in operator.written_names:
                        outs = range(len(reads), len(reads) + len(some))
                        written.extend(outs)
                        unread += tuple(outs)
                    reads.extend([look(each) for each in some])
                elif kind == operators.NUMBER:
                    key.append(_add_number(numbers, argument))
                else:
                    key.append(tuple(argument) if type(argument) is list else argument)
        meanwhile: tuple[int, ...] = ()
        for number, seen in enumerate(reads):
            memory, value = seen[1], seen[5]
            if memory is None or number in unread:
                continue
            if value is None:
                if written and seen[2].bytes and memory.hashed:
                    reads[number] = (*seen[:8], digest_all([seen[0]])[0])
            elif value.version != seen[6] or memory.shared or self._verify:
                reads[number], changed = tensors.check(seen)
                if changed:
                    meanwhile += (number,)
        draw = race = None
        if operator.draws:
            device = reads[0][0].device if reads else kwargs.get("device")
            draw = self._recorder.session.generators.draw(generator, device)
        if operator.races:
            race = races.prepare(operator, args, kwargs)
        if written:
            self._recorder.session.finish({reads[number][7] for number in written})
        return Prepared(key, numbers, reads, written, unread, draw, race, meanwhile)

    def _after(
        self,
        operator: Operator,
        prepared: Prepared,
        args: Any,
        kwargs: Any,
        out: Any,
        frame: FrameType | None,
    ) -> None:
        key, numbers, reads, written, unread, draw, race, meanwhile = prepared
        recorder = self._recorder
        stream = recorder.stream
        tensors = recorder.tensors
        values = stream.digests.values
        serial = stream.serial
        place = recorder.place(frame, _node())
        if numbers:
            values.extend(numbers)
        if draw is not None and draw.state is not None:
            values.append(draw.state)
        facts: tuple[tuple[str, Any], ...] = ()
        groups: list[Any] = []
        for number, seen in enumerate(reads):
            _, memory, layout, _, offset, value, _, _, _ = seen
            if memory is None:
                groups.append((layout.number, -1, UNREAD, 0, 64))
                continue
            back, slot = UNREAD, 0
            if number not in unread:
                if memory.blank and not operator.view:
                    facts += (("uninitialized", number),)
                    value = None
                back, slot = tensors.source(seen, value, serial, number, operator.view)
            alignment = aligned(memory, offset, layout.itemsize) if offset else memory.alignment
            groups.append((layout.number, memory.tag, back, slot, alignment))
        writes: list[Written] = []
        for number in written:
            if operator.adopts:
                source = COLLECTIVE if operator.collective else ""
                tensors.adopt(reads[number][0], number, writes, source)
            else:
                tensors.write(reads[number][0], number, serial, writes)
        if type(out) is torch.Tensor:
            tensors.result(out, operator.blank, reads, written, serial, writes)
        elif out is not None:
            for each in _tensors_in(out):
                tensors.result(each, operator.blank, reads, written, serial, writes)
        if draw is not None and draw.seed is not None:
            values.append(draw.seed)
        if meanwhile:
            facts += tuple([("written_meanwhile", number) for number in meanwhile])
        if race is not None:
            facts += races.judge(operator, race, out)
        facts += recorder.settings
        key += (place, draw and draw.generator, facts)
        key += groups
        key += writes
        try:
            whole = tuple(key)
            entry = stream.known.get(whole)
        except TypeError:  # an argument that cannot be hashed
            whole = tuple([repr(each) for each in key])
            entry = stream.known.get(whole)
        if entry is None:
            entry = stream.known[whole] = recorder.describe(
                operator, args, kwargs, place, groups, writes, facts, draw
            )
        stream.add(entry)
        if recorder.keeps is not None:
            recorder.keeps.offer(stream, serial, entry, [reads[i][0] for i in written], out)


def _add_number(numbers: list[int], value: Any) -> Any:
    """Append the 64 bits of a number; return what tells its kind, or the argument if it is none."""
    kind = type(value)
    if kind is float:
        numbers.append(_WORD.unpack(_FLOAT.pack(value))[0])
        return "f"
    if kind is int and -(2**63) <= value < 2**63:
        numbers.append(value & _MASK)
        return "i"
    return value


def _tensors_in(out: Any) -> list[torch.Tensor]:
    """Return the tensors in the result of an operation."""
    if isinstance(out, torch.Tensor):
        return [out]
    if isinstance(out, (list, tuple)):
        return [each for inner in out for each in _tensors_in(inner)]
    return []
