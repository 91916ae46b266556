"""Find the line of a person's source that an operation belongs to, by walking the frames."""

import linecache
import sysconfig
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType

import torch
from torch.autograd import graph

_OURS = str(Path(__file__).parent)
_TORCH = str(Path(torch.__file__).parent)
_STANDARD = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib")})
_SITE = tuple({sysconfig.get_path(name) for name in ("purelib", "platlib")})

_GENERATED = ("<frozen ", "<eval_with_key>", "<torch_package")
"""Beginnings of the names of files that nobody wrote."""

USER, SKIPPED, ENGINE, CALL = range(4)
"""Kinds of frames: of a person's code, of torch's, the call of a backward, the call of a module."""

NONE = -1


class Codes:
    """Remembers the kind of each code object. Hashing code is slow, so it is known by its id."""

    def __init__(self) -> None:
        self.kinds: dict[int, int] = {}
        self._held: list[CodeType] = []  # an id is unique while its object lives
        self.mark(graph._engine_run_backward.__code__, ENGINE)

    def mark(self, code: CodeType, kind: int) -> None:
        """Say of what kind a code object is."""
        self._held.append(code)
        self.kinds[id(code)] = kind

    def classify(self, code: CodeType) -> int:
        """Return the kind of a code object that is not known yet."""
        kind = SKIPPED if _is_skipped(code.co_filename) else USER
        self.mark(code, kind)
        return kind


CODES = Codes()


class ModuleCall:
    """A call of a module that is under way.

    name: number of its qualified name. line: the line that called it, once somebody asked.
    """

    __slots__ = ("line", "module", "name", "training")

    def __init__(self, name: int, training: bool, module: torch.nn.Module) -> None:
        self.name = name
        self.training = training
        self.module = module
        self.line: int | None = None


class Lines:
    """The lines of a stream. `intern` gives the number of (file, number, function, text)."""

    def __init__(self, intern: Callable[[str, int, str, str], int]) -> None:
        self._intern = intern
        self._known: dict[tuple[int, int], int] = {}

    def forward(self, frame: FrameType | None, calls: list[ModuleCall]) -> int:
        """Return the line of the innermost frame that is a person's; NONE if there is none.

        calls: the modules that are being called; they remember the line, which cannot change
        until they return.
        """
        kinds = CODES.kinds
        depth = len(calls)
        line: int | None = NONE
        asked: list[ModuleCall] = []
        while frame is not None:
            code = frame.f_code
            kind = kinds.get(id(code))
            if kind is None:
                kind = CODES.classify(code)
            if kind == USER:
                line = self._known.get((id(code), frame.f_lasti))
                if line is None:
                    line = self._add(frame)
                break
            if kind == CALL and depth > 0:
                depth -= 1
                call = calls[depth]
                if call.line is not None:
                    line = call.line
                    break
                asked.append(call)
            frame = frame.f_back
        for call in asked:
            call.line = line
        return NONE if line is None else line

    def backward(self, frame: FrameType | None) -> tuple[int, int]:
        """Return the line of a person's code that the backward pass calls, such as a hook or the
        backward of a Function, and that which called the backward pass; NONE for either.
        """
        kinds = CODES.kinds
        inner = outer = NONE
        while frame is not None:
            code = frame.f_code
            kind = kinds.get(id(code))
            if kind is None:
                kind = CODES.classify(code)
            if kind == USER and inner == NONE:
                inner = self.at(frame)
            elif kind == ENGINE:
                outer = self.forward(frame.f_back, [])
                break
            frame = frame.f_back
        return inner, outer

    def at(self, frame: FrameType) -> int:
        """Return the number of the line that a frame executes."""
        line = self._known.get((id(frame.f_code), frame.f_lasti))
        return self._add(frame) if line is None else line

    def _add(self, frame: FrameType) -> int:
        code = frame.f_code
        number = max(frame.f_lineno or 0, 0)
        text = linecache.getline(code.co_filename, number, frame.f_globals).strip()
        line = self._intern(code.co_filename, number, code.co_qualname, text)
        self._known[id(code), frame.f_lasti] = line
        return line


def _is_skipped(file: str) -> bool:
    if file.startswith((_OURS, _TORCH, *_GENERATED)) or "/torchinductor_" in file:
        return True
    return file.startswith(_STANDARD) and not file.startswith(_SITE)
