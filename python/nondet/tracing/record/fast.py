"""The short way through the recorder, for operations whose reads are all known.

In a loop that trains, most operations read tensors that were recorded before, draw nothing and
change nothing in place. `Dispatch` could record them too. Here it takes less time, of which a small
model spends more on its recorder than on itself: everything is a local variable, and tuples of
small integers stand for layouts, lines and sources.
"""

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from nondet.tracing.record.operators import NUMBER, TENSOR, Operator
from nondet.tracing.record.storages import (
    KIND,
    OWNER,
    READ,
    SERIAL,
    SLOT,
    VERSION,
    WRITTEN,
    Value,
    aligned,
)
from nondet.tracing.record.tensors import PLAIN, Written

if TYPE_CHECKING:
    from nondet.tracing.record.recorder import Recorder

_MASK = 2**64 - 1
_FLOAT, _WORD = struct.Struct("<d"), struct.Struct("<Q")

Before = Callable[[Operator, Any, Any], Any]
After = Callable[[Operator, Any, Any, Any, Any, Any], bool]


def make_fast(recorder: "Recorder") -> tuple[Before, After]:
    """Return two functions for the operations of a recorder's stream.

    The first takes an operator and its arguments, before it runs, and returns what it noted, or
    None if the operation must go the long way. The second takes that, what the operation returned
    and the frame that called it, and adds the record; it returns False if that was not possible.
    """
    session, stream = recorder.session, recorder.stream
    memories, layouts = session.table.memories, session.table.layouts
    add_fresh, add_layout = session.table.add_fresh, session.table.add_layout
    digests = stream.digests
    known: dict[tuple[Any, ...], int] = {}
    add_digest, add_record = digests.add, stream.add
    general = session.options.verify_inputs or recorder.keeps is not None
    place_of, pack, unpack = recorder.place, _FLOAT.pack, _WORD.unpack
    node_of = torch._C._current_autograd_node
    tensor_type = torch.Tensor

    def before(operator: Operator, args: Any, kwargs: Any) -> Any:
        if general:
            return None
        key: list[Any] = [operator.number]
        numbers: list[int] = []
        seen: list[Any] = []
        for kind, argument in zip(operator.kinds, args):  # noqa: B905
            if kind == TENSOR and type(argument) in PLAIN:
                try:
                    memory = memories.get(argument.untyped_storage()._cdata)
                except (RuntimeError, NotImplementedError):  # sparse, say
                    return None
                if memory is None or memory.blank or memory.shared:
                    return None
                layout = layouts.get((argument.dtype, argument.shape, argument.stride()))
                if layout is None:
                    return None
                offset = argument.storage_offset()
                value = memory.values.get((layout.number, offset) if offset else layout.number)
                if value is None or value[VERSION] < 0 or value[VERSION] != argument._version:
                    return None
                seen.append((memory, layout, offset, value))
                key.append(True)
            else:
                kind_of = type(argument)
                if kind_of is float:
                    numbers.append(unpack(pack(argument))[0])
                    key.append("f")
                elif kind_of is int and kind == NUMBER and -(2**63) <= argument < 2**63:
                    numbers.append(argument & _MASK)
                    key.append("i")
                elif kind == TENSOR and argument is not None:
                    return None
                else:
                    key.append(tuple(argument) if kind_of is list else argument)
        if kwargs:
            for name, argument in kwargs.items():
                kind_of = type(argument)
                key.append(name)
                if operator.named.get(name) == NUMBER and kind_of in (int, float):
                    return None
                key.append(tuple(argument) if kind_of is list else argument)
        return key, numbers, seen

    def after(
        operator: Operator, prepared: Any, args: Any, kwargs: Any, out: Any, frame: Any
    ) -> bool:
        key, numbers, seen = prepared
        begin, previous, serial = stream.begin, stream.before, stream.serial
        place = place_of(frame, node_of())
        key.append(place)
        first = len(key)
        for memory, layout, offset, value in seen:
            at = value[SERIAL]
            if value[OWNER] is not stream:
                return False
            if at >= begin:
                back = (serial - at) * 4 + (value[KIND] == READ)
            elif at >= previous and value[KIND] != READ:
                back = (at - previous) * 4 + 2
            else:
                return False
            alignment = aligned(memory, offset, layout.itemsize) if offset else memory.alignment
            key += (layout.number, memory.tag, back, value[SLOT], alignment)
        if type(out) is tensor_type:
            outs: Any = (out,)
        elif type(out) is tuple:
            outs = out
        else:
            return False
        fresh: list[tuple[Any, int, Value, int]] = []
        for slot, each in enumerate(outs):
            if type(each) is not tensor_type:
                return False
            try:
                storage = each.untyped_storage()
                kind = (each.dtype, each.shape, each.stride())
            except (RuntimeError, NotImplementedError):
                return False
            address = storage._cdata
            memory = memories.get(address)
            layout = layouts.get(kind) or add_layout(each)
            if memory is None:
                if not each.is_cpu or each.is_inference():
                    return False
                memory = add_fresh(address, storage)
                memory.values[layout.number] = value = [
                    *(WRITTEN, stream, serial, slot, each._version, None)
                ]
                if layout.bytes:
                    fresh.append((each, address, value, layout.bytes))
                key += (layout.number, memory.tag, layout.bytes > 0, None, None)
            else:
                found = [number for number, base in enumerate(seen) if base[0] is memory]
                if not found:
                    return False
                base = seen[found[0]]
                offset = each.storage_offset()
                within = (layout.number, offset) if offset else layout.number
                if within not in memory.values and layout.elements >= base[1].elements:
                    memory.values[within] = [*base[3][:VERSION], each._version, None]
                key += (layout.number, memory.tag, False, None, found[0])
        settings = recorder.settings
        key.append(settings)
        whole = tuple(key)
        entry = known.get(whole)
        if entry is None:
            groups = [key[at : at + 5] for at in range(first, len(key) - 1, 5)]
            reads, writes = groups[: len(seen)], [Written(*each) for each in groups[len(seen) :]]
            entry = known[whole] = recorder.describe(
                operator, args, kwargs, place, reads, writes, settings
            )
        values = digests.values
        values += numbers
        for each, address, value, size in fresh:
            add_digest(each, address, value, size)
        add_record(entry)
        return True

    return before, after
