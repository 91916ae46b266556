"""Record the batches that a DataLoader returns."""

import weakref
from array import array
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import dataloader

import nondet_ext
from nondet.tracing.record.patches import Patches
from nondet.tracing.record.quiet import quiet
from nondet.tracing.record.randomness import digest_bytes

if TYPE_CHECKING:
    from nondet.tracing.record.recorder import Recorder
    from nondet.tracing.record.shared import Shared

_WORD = 2**64
_DEEPEST = 20


class _Loading:
    """What is known of an iterator of a DataLoader: indices asked for, and the last worker."""

    def __init__(self) -> None:
        self.indices: deque[Any] = deque()
        self.worker: int | None = None


def follow_loaders(session: "Shared", patches: Patches) -> None:
    """Record each batch that any DataLoader of this process returns."""
    loadings: weakref.WeakKeyDictionary[Any, _Loading] = weakref.WeakKeyDictionary()
    kind = dataloader._BaseDataLoaderIter

    def make_next(original: Callable[..., Any]) -> Callable[..., Any]:
        def __next__(self: Any) -> Any:  # noqa: N807
            data = original(self)
            recorder = session.find_recorder()
            if recorder is not None and not recorder.off:
                try:
                    record_batch(recorder, self, data, loadings.get(self) or _Loading())
                except Exception as error:
                    recorder.fail(error)
            return data

        return __next__

    def make_index(original: Callable[..., Any]) -> Callable[..., Any]:
        def _next_index(self: Any) -> Any:
            index = original(self)
            loadings.setdefault(self, _Loading()).indices.append(index)
            return index

        return _next_index

    def make_process(original: Callable[..., Any]) -> Callable[..., Any]:
        def _process_data(self: Any, data: Any, worker: Any, *args: Any) -> Any:
            loadings.setdefault(self, _Loading()).worker = worker
            return original(self, data, worker, *args)

        return _process_data

    def make_receive(original: Callable[..., Any]) -> Callable[..., Any]:
        def _try_get_data(self: Any, *args: Any, **kwargs: Any) -> Any:
            # How many batches have arrived when one is asked for is a matter of time.
            recorder = session.find_recorder()
            with nullcontext() if recorder is None else recorder.paused():
                return original(self, *args, **kwargs)

        return _try_get_data

    def make_reset(original: Callable[..., Any]) -> Callable[..., Any]:
        def _reset(self: Any, *args: Any, **kwargs: Any) -> Any:
            loadings.pop(self, None)
            return original(self, *args, **kwargs)

        return _reset

    patches.wrap(kind, "__next__", make_next)
    patches.wrap(kind, "_next_index", make_index)
    patches.wrap(dataloader._MultiProcessingDataLoaderIter, "_process_data", make_process)
    patches.wrap(dataloader._MultiProcessingDataLoaderIter, "_try_get_data", make_receive)
    patches.wrap(dataloader._MultiProcessingDataLoaderIter, "_reset", make_reset)


def record_batch(recorder: "Recorder", iterator: Any, data: Any, loading: _Loading) -> None:
    """Record a batch: its tensors, rows, indices and worker."""
    tensors = list(tensors_in(data))
    facts: list[tuple[str, Any]] = [("workers", getattr(iterator, "_num_workers", 0))]
    values: list[tuple[str, int]] = []
    with quiet():
        values += [("rows[]", _digest_rows(each)) for each in tensors]
    in_order = getattr(iterator, "_in_order", True)
    if loading.indices:
        indices = _flatten(loading.indices.popleft())
        if indices is not None and in_order:
            values.append(("indices", digest_bytes(array("q", indices).tobytes())))
            values.append(("index_set", digest_bytes(array("q", sorted(indices)).tobytes())))
    if loading.worker is not None:
        values.append(("worker", loading.worker))
    recorder.add_generators()
    recorder.add(
        "batch",
        f"{type(getattr(iterator, '_dataset', None)).__name__}",
        writes=tensors,
        facts=facts,
        value_facts=values,
        place=recorder.here(),
    )


def tensors_in(data: Any, depth: int = 0) -> Iterator[torch.Tensor]:
    """Yield the tensors in a batch, in any nesting of lists, mappings and objects of data."""
    if isinstance(data, torch.Tensor):
        yield data
    elif depth > _DEEPEST or isinstance(data, (str, bytes)):
        return
    elif isinstance(data, Mapping):
        for each in list(data.values()):
            yield from tensors_in(each, depth + 1)
    elif isinstance(data, Sequence):
        for each in data:
            yield from tensors_in(each, depth + 1)
    elif hasattr(data, "__dict__"):
        for each in list(vars(data).values()):
            yield from tensors_in(each, depth + 1)


def _digest_rows(tensor: torch.Tensor) -> int:
    """Return the sum of the digests of rows, which does not tell their order; 0 if none has one."""
    if tensor.dim() == 0 or type(tensor) is not torch.Tensor or tensor.layout != torch.strided:
        return 0
    try:
        return sum(nondet_ext.fingerprints(tensor)) % _WORD
    except (TypeError, RuntimeError):
        return 0


def _flatten(indices: Any) -> list[int] | None:
    """Return indices as a list; None if they are not whole numbers."""
    flat = indices if isinstance(indices, (list, tuple)) else [indices]
    try:
        return [int(each) for each in flat]
    except (TypeError, ValueError, OverflowError):
        return None
