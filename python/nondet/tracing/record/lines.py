"""Find the line of a person's source that an operation belongs to, by walking the frames."""

import linecache
import sysconfig
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch.autograd import graph

from nondet_ext.recording import ModuleCall, Places, mark

_OURS = str(Path(__file__).parent)
_TORCH = str(Path(torch.__file__).parent)
_STANDARD = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib")})
_SITE = tuple({sysconfig.get_path(name) for name in ("purelib", "platlib")})

_GENERATED = ("<frozen ", "<eval_with_key>", "<torch_package")
"""Beginnings of the names of files that nobody wrote."""

USER, SKIPPED, ENGINE, CALL = range(4)
"""Kinds of frames: of a person's code, of torch's, the call of a backward, the call of a module."""

NONE = -1

mark(graph._engine_run_backward.__code__, ENGINE)


def make_places(
    calls: list[ModuleCall],
    intern: Callable[[str, int, str, str], int],
    name_parameter: Callable[[Any], int],
) -> Places:
    """Return what finds the places of a stream's records.

    calls: the modules that are being called, which remember the line that called them. intern:
    gives the number of a line (file, number, function, text). name_parameter: gives the number of
    the name of the parameter whose gradient a node of autograd accumulates.
    """

    def add(frame: FrameType) -> int:
        code = frame.f_code
        number = max(frame.f_lineno or 0, 0)
        text = linecache.getline(code.co_filename, number, frame.f_globals).strip()
        return intern(code.co_filename, number, code.co_qualname, text)

    sequence = torch._C._autograd._get_sequence_nr
    return Places(calls, _is_skipped, add, name_parameter, sequence)


def _is_skipped(file: str) -> bool:
    if file.startswith((_OURS, _TORCH, *_GENERATED)) or "/torchinductor_" in file:
        return True
    return file.startswith(_STANDARD) and not file.startswith(_SITE)
