"""The compiled module.

A source checkout on ``sys.path`` (Python started in its folder, say) hides the installed package
and its compiled module, so the installed package is searched as well.
"""

import importlib.machinery
import os
import sys
from pathlib import Path

import nondet_ext


def _reach_installed_module() -> None:
    here = Path(__file__).resolve().parent
    if any((here / f"_C{suffix}").exists() for suffix in importlib.machinery.EXTENSION_SUFFIXES):
        return
    elsewhere = [path for path in sys.path if Path(path or ".").resolve() != here.parent]
    spec = importlib.machinery.PathFinder.find_spec("nondet_ext", elsewhere)
    if spec is not None and spec.submodule_search_locations:
        nondet_ext.__path__.extend(spec.submodule_search_locations)


_reach_installed_module()
try:
    from nondet_ext import _C as _C
except ImportError as error:
    raise ImportError(
        "nondet_ext._C, the compiled part, is missing or was built for another Python: run "
        "'pip install .' (or 'pip install -e .') in the source checkout"
    ) from error

_requested = os.environ.get("NONDET_CPU", "")
if _requested:
    _C.cpu.set_isa(_requested)
