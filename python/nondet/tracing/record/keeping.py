"""Keep the values of tensors that the user asked for."""

import fnmatch
from collections.abc import Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import torch

from nondet.tracing.format import Entry
from nondet.tracing.records import Kept, Line, TensorType

if TYPE_CHECKING:
    from nondet.tracing.record.stream import Stream


class Keeps:
    """Patterns of records whose written tensors are kept whole.

    A pattern is one of fnmatch for the name of an operation, with or without its namespace and
    overload, or of a module, or "file.py:LINE", or "NAME@file.py:LINE" for both, or "STEP#INDEX" of
    a single record.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        self._places = {each for each in patterns if "#" in each}
        self._patterns = [each for each in patterns if "#" not in each]
        self._matches: dict[tuple[int, int], bool] = {}

    @classmethod
    def of(cls, selection: str) -> "Keeps | None":
        """Return the patterns of an option, None if it keeps nothing."""
        patterns = [each.strip() for each in selection.split(",") if each.strip()]
        return cls(patterns) if patterns else None

    def offer(
        self, stream: "Stream", serial: int, entry: int, changed: Sequence[torch.Tensor], out: Any
    ) -> None:
        """Keep the tensors that a record wrote, if a pattern selects it.

        changed: those that it changed in place. out: its result.
        """
        index = serial - stream.begin
        key = (stream.ordinal, entry)
        if key not in self._matches:
            self._matches[key] = self._selects(stream.described[entry])
        if not self._matches[key] and f"{stream.number}#{index}" not in self._places:
            return
        others = [each for each in _tensors_in(out) if not any(each is one for one in changed)]
        tensors = [*changed, *others]
        for slot, tensor in enumerate(tensors):
            if tensor.layout == torch.strided and tensor.device.type != "meta":
                stream.writer.kept(_keep(stream.number, index, slot, tensor))

    def _selects(self, described: tuple[Entry, Line | None]) -> bool:
        entry, line = described
        parts = entry.name.split(".")
        names = {entry.name, entry.module, *parts[1:2], ".".join(parts[:2])} - {""}
        files = (line.file, PurePath(line.file).name) if line is not None else ()
        places = {f"{file}:{line.number}" for file in files if line is not None}
        both = {f"{name}@{place}" for name in names for place in places}
        return any(
            fnmatch.fnmatchcase(name, pattern)
            for name in (*names, *places, *both)
            for pattern in self._patterns
        )


def _keep(step: int, index: int, slot: int, tensor: torch.Tensor) -> Kept:
    plain = tensor.detach().resolve_conj().resolve_neg().cpu().contiguous()
    data = plain.reshape(-1).view(torch.uint8).numpy().tobytes() if plain.numel() else b""
    dtype = str(tensor.dtype).removeprefix("torch.")
    return Kept(step, index, slot, TensorType(dtype, tuple(tensor.shape), str(tensor.device)), data)


def _tensors_in(out: Any) -> list[torch.Tensor]:
    if isinstance(out, torch.Tensor):
        return [out]
    if isinstance(out, (list, tuple)):
        return [each for inner in out for each in _tensors_in(inner)]
    return []
