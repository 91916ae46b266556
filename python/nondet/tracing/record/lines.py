"""Find the lines of source that an operation belongs to, by walking the frames."""

import linecache
import sysconfig
from collections.abc import Callable
from pathlib import Path, PurePath
from types import FrameType

import torch
from torch.autograd import graph

import nondet
import nondet_ext
from nondet_ext.recording import Memory, ModuleCall, Places, mark

_OURS = str(Path(__file__).parents[1])
_TORCH = str(Path(torch.__file__).parent)
_STANDARD = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib")})
_LIBRARIES = (
    *{sysconfig.get_path(name) for name in ("purelib", "platlib", "scripts")},
    *(str(Path(package.__file__ or "").parent) for package in (nondet, nondet_ext)),
)
_PACKAGES = frozenset(("site-packages", "dist-packages"))
"""Folders of installed packages, wherever they lie."""

_GENERATED = ("<frozen ", "<eval_with_key>", "<torch_package")
"""Beginnings of the names of files that nobody wrote."""

USER, SKIPPED, ENGINE, CALL, LIBRARY = range(5)
"""Kinds of frames: of the script's own code, of torch's or Python's, the call of a backward, the
call of a module, of another library's code.
"""

NONE = -1

mark(graph._engine_run_backward.__code__, ENGINE)


def make_places(
    calls: list[ModuleCall],
    intern: Callable[[str, int, str, str], int],
    name_parameter: Callable[[torch.Tensor], int],
    memories: dict[int, Memory],
) -> Places:
    """Return what finds the places of a stream's records.

    calls: the modules that are being called, which remember the lines that called them. intern:
    gives the number of a line (file, number, function, text). name_parameter: gives the number of
    the name of a parameter. memories: storages by address; those of parameters have their names.
    """

    def add(frame: FrameType) -> int:
        code = frame.f_code
        number = max(frame.f_lineno or 0, 0)
        text = linecache.getline(code.co_filename, number, frame.f_globals).strip()
        return intern(code.co_filename, number, code.co_qualname, text)

    sequence = torch._C._autograd._get_sequence_nr
    return Places(calls, kind_of, add, name_parameter, sequence, memories)


def kind_of(file: str) -> int:
    """Return the kind of the frames of a file: USER, SKIPPED or LIBRARY."""
    if file.startswith((_OURS, _TORCH, *_GENERATED)) or "/torchinductor_" in file:
        return SKIPPED
    if file.startswith(_LIBRARIES) or not _PACKAGES.isdisjoint(PurePath(file).parts):
        return LIBRARY
    return SKIPPED if file.startswith(_STANDARD) else USER
