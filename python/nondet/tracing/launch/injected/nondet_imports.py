"""Call functions after modules that Python may import later."""

from __future__ import annotations

import _thread
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing is slow to load
    from collections.abc import Callable, Sequence
    from types import ModuleType
    from typing import Any

    Watched = dict[str, Callable[[], None]]


class Watch:
    """A finder in front of sys.meta_path: calls a function once a module is imported whole.

    An import that fails calls nothing, and a later one counts. The function is called by the thread
    that imports, before any other thread gets the module.
    """

    def __init__(self, watched: Watched) -> None:
        self._watched = watched
        self._busy = _thread._local()

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> Any:
        """Find a watched module by the other finders; None for any other."""
        if name not in self._watched or getattr(self._busy, "name", None) == name:
            return None
        self._busy.name = name
        try:
            spec = self._find(name, path, target)
        finally:
            self._busy.name = None
        if spec is not None and hasattr(spec.loader, "exec_module"):
            spec.loader = _Loader(spec.loader, lambda: self._imported(name))
        return spec

    def _find(self, name: str, path: Sequence[str] | None, target: ModuleType | None) -> Any:
        for finder in list(sys.meta_path):
            find: Any = getattr(finder, "find_spec", None)
            if finder is not self and find is not None:
                spec = find(name, path, target)
                if spec is not None:
                    return spec
        return None

    def _imported(self, name: str) -> None:
        call = self._watched.pop(name, None)
        if call is not None:
            call()


class _Loader:
    """A loader that executes a module by another one and then calls a function.

    The module gets the other one as its loader before it is executed, so no one sees this one.
    """

    def __init__(self, loader: Any, imported: Callable[[], None]) -> None:
        self._loader = loader
        self._imported = imported

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: Any) -> Any:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        module.__loader__ = self._loader
        self._loader.exec_module(module)
        self._imported()


def watch(watched: Watched) -> None:
    """Call each function once the module of that name is imported; at once if it is already."""
    for name in [name for name in watched if name in sys.modules]:
        watched.pop(name)()
    finder: Any = Watch(watched)
    sys.meta_path.insert(0, finder)
