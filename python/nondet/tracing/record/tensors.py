"""Look up what a tensor holds and where that came from; note what a record reads and writes."""

from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import torch

from nondet.tracing.record.digests import digest_all
from nondet.tracing.record.storages import READ, WRITTEN, Layout, Table
from nondet_ext.recording import Memory, Value

if TYPE_CHECKING:
    from nondet.tracing.record.stream import Stream

PLAIN = frozenset((torch.Tensor, torch.nn.Parameter))

UNREAD, NEW, OLDER, FOREIGN = -1, -2, -3, -4
"""In place of the source of a read: nothing is hashed, the tensor is first seen here, its writer is
of an older step, or in another thread.
"""

Seen: TypeAlias = tuple[
    torch.Tensor, Memory | None, Layout, Any, int, Value | None, int, int, int | None
]
"""A tensor among arguments or results: itself, its memory (None if it has none of its own), its
layout, its key in `memory.values`, its offset, what it holds as recorded before (None if that is
not known), its version, the address of its storage, and its digest where it was computed already.
A plain tuple, because one is made for every tensor of every operation.
"""


class Written(NamedTuple):
    """A tensor that a record writes: its layout, the tag of its memory, as in `WriteShape`."""

    layout: int
    tag: int
    hashed: bool
    into: int | None
    view_of: int | None


class Tensors:
    """The tensors of a stream's records."""

    def __init__(self, stream: "Stream", table: Table) -> None:
        self._stream = stream
        self._table = table
        self._memories = table.memories
        self._layouts = table.layouts

    def look(self, tensor: torch.Tensor) -> Seen:
        """Return what is known of a tensor."""
        if type(tensor) not in PLAIN:
            with torch._C.DisableTorchFunction():
                return self._look(tensor)
        return self._look(tensor)

    def _look(self, tensor: torch.Tensor) -> Seen:
        try:
            storage = tensor.untyped_storage()
            layout = self._layouts.get((tensor.dtype, tensor.shape, tensor.stride()))
        except (RuntimeError, NotImplementedError):  # sparse, nested, of a transform
            return tensor, None, self._table.opaque(tensor), None, 0, None, 0, 0, None
        if layout is None:
            layout = self._table.add_layout(tensor)
        address = storage._cdata
        memory = self._memories.get(address)
        if memory is None:
            memory = self._table.add(address, storage)
        offset = tensor.storage_offset()
        key = (layout.number, offset) if offset else layout.number
        value = memory.values.get(key)
        if value is not None and value.version < 0:
            version = -1
        else:
            version = -1 if tensor.is_inference() else tensor._version
        seen: Any = tensor, memory, layout, key, offset, value, version, address, None
        return seen  # type: ignore[no-any-return]

    def know(self, tensor: torch.Tensor) -> Seen:
        """Return what is known of a tensor, with its digest, and without holding the tensor."""
        seen = self.look(tensor)
        _, memory, layout, _, _, value, version, _, _ = seen
        if memory is not None and memory.hashed and layout.bytes:
            if value is not None and (value.version != version or memory.shared):
                seen, _ = self.check(seen)
            elif value is None or value.digest is None:
                seen = (*seen[:8], digest_all([tensor])[0])
        return (None, *seen[1:])  # type: ignore[return-value]

    def check(self, seen: Seen) -> tuple[Seen, bool]:
        """Hash a tensor whose value may have changed unseen, and compare it with what is known.

        Return what is known of it now, and True if it changed though its version is the same.
        """
        tensor, memory, layout, key, offset, value, version, address, _ = seen
        if memory is None or value is None or not (layout.bytes and memory.hashed):
            return seen, False
        digest = digest_all([tensor])[0]
        if value.digest is None:
            value.owner.digests.flush()
        if value.digest is None:
            value.digest = digest  # of a view, which was not hashed
        elif value.digest != digest:
            changed = value.version == version
            memory.values.clear()
            return (tensor, memory, layout, key, offset, None, version, address, digest), changed
        value.version = version
        return (*seen[:8], digest), False

    def source(
        self, seen: Seen, value: Value | None, serial: int, number: int, view: bool
    ) -> tuple[int, int]:
        """Return where a tensor that a record reads comes from, as two numbers.

        value: what it holds, None if that is not known. serial: of the record. number: of the
        tensor among those that it reads. view: True if the record only makes a view of it. The
        digest is appended to the values if it stands with the record.
        """
        stream = self._stream
        back, slot = NEW, 0
        if value is not None:
            recent = stream.recent(value)
            if recent is not None:
                return recent, value.slot
            if value.owner is not stream:
                back, slot = FOREIGN, value.owner.ordinal
            else:
                back = OLDER
        _, memory, layout, key, _, _, version, _, digest = seen
        if memory is None or not layout.bytes or not memory.hashed or (memory.blank and view):
            return UNREAD, 0
        if value is not None and digest is None:
            if value.digest is None and value.owner is not stream:
                value.owner.digests.flush()
            digest = value.digest
        if digest is None:  # at once, because its owner may write to it unseen
            digest = digest_all([seen[0]])[0]
        memory.values[key] = Value(READ, stream, serial, number, version, digest)
        stream.digests.values.append(digest)
        return back, slot

    def hash(
        self, tensor: torch.Tensor, memory: Memory, address: int, value: Value, layout: Layout
    ) -> None:
        """Append the digest of a tensor that a record wrote, which is computed later."""
        digests = self._stream.digests
        digests.add(tensor, address, value, layout.bytes)
        if memory.shared:
            digests.flush()

    def write(self, tensor: torch.Tensor, number: int, serial: int, writes: list[Written]) -> None:
        """Note that a record changed the tensor number `number` of those that it reads."""
        _, memory, layout, key, _, _, version, address, _ = self.look(tensor)
        hashed = memory is not None and memory.hashed and layout.bytes > 0
        if memory is not None:
            memory.blank = False
            memory.values.clear()
            value = Value(WRITTEN, self._stream, serial, len(writes), version)
            memory.values[key] = value
            if hashed:
                self.hash(tensor, memory, address, value, layout)
        tag = memory.tag if memory is not None else -1
        writes.append(Written(layout.number, tag, hashed, number, None))

    def adopt(
        self, tensor: torch.Tensor, number: int, writes: list[Written], source: str = ""
    ) -> None:
        """Note that a read tensor gets values that no record writes, perhaps only later: who reads
        it next takes a new value. source: a label for that, unless the memory has a name.
        """
        _, memory, layout, _, _, _, _, _, _ = self.look(tensor)
        if memory is not None:
            memory.blank = False
            memory.values.clear()
            if source and not memory.name:
                self._table.name(memory, source)
        tag = memory.tag if memory is not None else -1
        writes.append(Written(layout.number, tag, False, number, None))

    def result(
        self,
        tensor: torch.Tensor,
        blank: bool,
        reads: list[Seen],
        written: list[int],
        serial: int,
        writes: list[Written],
    ) -> None:
        """Note a result of a record; blank: nothing has written to it yet."""
        for number in written:
            if reads[number][0] is tensor:
                return
        seen = self.look(tensor)
        _, memory, layout, key, _, known, version, address, _ = seen
        if memory is None:
            writes.append(Written(layout.number, -1, False, None, None))
            return
        view_of = None
        if memory.values or known is not None or memory.blank:
            view_of = next((i for i, each in enumerate(reads) if each[1] is memory), None)
        hashed = False
        if view_of is not None:
            base = memory.values.get(reads[view_of][3])
            if known is None and base is not None and layout.elements >= reads[view_of][2].elements:
                # All of the base is in it, so reads of it are reads of the base.
                # Torch lets a view count with its base, but only after this.
                memory.values[key] = base.seen_at(reads[view_of][6])
        else:
            memory.values[key] = value = Value(WRITTEN, self._stream, serial, len(writes), version)
            memory.blank = blank
            hashed = memory.hashed and layout.bytes > 0 and not blank
            if hashed:
                self.hash(tensor, memory, address, value, layout)
        writes.append(Written(layout.number, memory.tag, hashed, None, view_of))

    def make(self, tensor: torch.Tensor, serial: int, writes: list[Written]) -> None:
        """Note a tensor that a record other than an operation gives out."""
        _, memory, layout, key, _, _, version, address, _ = self.look(tensor)
        hashed = memory is not None and memory.hashed and layout.bytes > 0
        if memory is not None:
            memory.blank = False
            memory.values[key] = value = Value(WRITTEN, self._stream, serial, len(writes), version)
            if hashed:
                self.hash(tensor, memory, address, value, layout)
        tag = memory.tag if memory is not None else -1
        writes.append(Written(layout.number, tag, hashed, None, None))
