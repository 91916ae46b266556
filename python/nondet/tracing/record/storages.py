"""Remember which record wrote or read the memory of a tensor last.

A `Value` is what a tensor held at some time. kind: WRITTEN or READ. owner: the stream of the
record. serial: its number there. slot: the tensor's number in the record. version: torch's count
of changes of the tensor, -1 where it keeps none. digest: None until it is known; that of a view,
whose value names the record of its base, until somebody needs it.

A `Memory` is a storage. weak: a weak reference, which keeps its address from being given to another
storage. values: by layout number, and by (layout number, offset) where the offset is not 0. tag:
stands for the device, name and alignment. hashed: False on the meta device. shared: True if others
than torch can write to it: NumPy, another process. blank: True until something is written to it.
"""

import threading
from typing import Any, NamedTuple

import torch

from nondet_ext.recording import Memory, alignment_of

_expired: Any = torch.UntypedStorage._expired
_free: Any = torch.UntypedStorage._free_weak_ref

WRITTEN, READ = range(2)
"""What a record did with a value: wrote it, or read it first."""


class Layout(NamedTuple):
    """All of a tensor but its memory and values. Layouts are interned, and compared by number."""

    number: int
    dtype: str
    shape: tuple[int, ...]
    is_contiguous: bool
    elements: int
    itemsize: int
    bytes: int  # of its elements, 0 if they cannot be hashed


def make_memory(storage: torch.UntypedStorage) -> Memory:
    """Return the memory of a storage."""
    memory = Memory()
    memory.weak = storage._weak_ref()
    memory.name = ""
    device = storage.device
    memory.device = str(device)
    memory.hashed = device.type in ("cpu", "cuda")
    if memory.hashed:
        try:
            memory.alignment = alignment_of(storage.data_ptr())
        except RuntimeError:  # that of a tensor of a transform, which holds nothing
            memory.hashed = False
    memory.shared = device.type == "cpu" and (not storage.resizable() or storage.is_shared())
    return memory


class Table:
    """All storages that were seen in this process, by address, and the layouts of tensors.

    by_number: all layouts. tags: the device and name of memories with that tag. pattern: a memory
    like those that torch allocates on the CPU.
    """

    def __init__(self) -> None:
        # A thread comes back to it when the garbage collector runs in between, and calls torch.
        self._lock = threading.RLock()
        self.memories: dict[int, Memory] = {}
        self.layouts: dict[tuple[Any, ...], Layout] = {}
        self._opaque: dict[tuple[str, tuple[int, ...]], Layout] = {}
        self.tags: list[tuple[str, str]] = []
        self.by_number: list[Layout] = []
        self._tags: dict[tuple[str, str, int], int] = {}
        storage = torch.empty(1, device="cpu").untyped_storage()
        self.pattern = self.add(storage._cdata, storage)

    def add(self, address: int, storage: torch.UntypedStorage) -> Memory:
        """Return the memory of a storage that is not in the table."""
        memory = self.memories[address] = make_memory(storage)
        self.name(memory, "")
        return memory

    def name(self, memory: Memory, name: str) -> None:
        """Give a memory the name of a parameter."""
        memory.name = name
        key = (memory.device, name, memory.alignment)
        tag = memory.device, name
        with self._lock:
            if key not in self._tags:
                self.tags.append(tag)
                self._tags[key] = len(self.tags) - 1
            memory.tag = self._tags[key]

    def add_layout(self, tensor: torch.Tensor) -> Layout:
        """Return the layout of a tensor that is not in `layouts`."""
        key = tensor.dtype, tensor.shape, tensor.stride()
        itemsize = tensor.element_size()
        size = max(tensor.numel() * itemsize, 1) if tensor.dtype in HASHED else 0
        contiguous, elements = tensor.is_contiguous(), tensor.numel()
        dtype, shape = name_of(tensor.dtype), tuple(tensor.shape)
        fields = dtype, shape, contiguous, elements, itemsize, size
        return self._intern(self.layouts, key, fields)

    def _intern(
        self, known: dict[Any, Layout], key: tuple[Any, ...], fields: tuple[Any, ...]
    ) -> Layout:
        with self._lock:  # another thread may add the same
            while key not in known:
                number = len(self.by_number)
                layout = Layout(number, *fields)
                if len(self.by_number) == number:  # not taken by what the garbage collector ran
                    self.by_number.append(layout)
                    known[key] = layout
            return known[key]

    def opaque(self, tensor: torch.Tensor) -> Layout:
        """Return the layout of a tensor that has no memory of its own, such as a sparse one."""
        try:
            shape = tuple(int(size) for size in tensor.shape)
        except (RuntimeError, NotImplementedError):
            shape = ()  # of a nested tensor
        key = (name_of(tensor.dtype), shape)
        return self._intern(self._opaque, key, (*key, True, 0, 1, 0))

    def prune(self) -> None:
        """Drop storages that have been freed."""
        memories = self.memories
        gone = [pair for pair in list(memories.items()) if _expired(pair[1].weak)]
        for address, memory in gone:
            if memories.pop(address, None) is memory:
                _free(memory.weak)

    def close(self) -> None:
        """Drop all storages."""
        while self.memories:
            _free(self.memories.popitem()[1].weak)

    def forget(self, owner: Any = None) -> None:
        """Drop the values that a stream recorded, or all: something unseen may have changed them.

        Other streams keep theirs: torch counts the changes of their tensors.
        """
        for memory in list(self.memories.values()):
            if owner is None:
                memory.values.clear()
            else:
                for key, value in list(memory.values.items()):
                    if value.owner is owner:
                        memory.values.pop(key, None)


def name_of(dtype: torch.dtype) -> str:
    """Return the name of a dtype, such as "float32"."""
    return str(dtype).removeprefix("torch.")


def aligned(memory: Memory, offset: int, itemsize: int) -> int:
    """Return the alignment of an element of a storage, in bytes, at most 64."""
    return alignment_of(memory.alignment | (offset * itemsize))


HASHED = frozenset(
    dtype
    for name in (
        *("float64", "float32", "float16", "bfloat16", "complex128", "complex64", "complex32"),
        *("int64", "int32", "int16", "int8", "uint8", "uint16", "uint32", "uint64", "bool"),
        *("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz"),
        *("float8_e8m0fnu", "float4_e2m1fn_x2"),
    )
    if (dtype := getattr(torch, name, None)) is not None
)
"""The dtypes that `nondet_ext.fingerprint` takes."""
