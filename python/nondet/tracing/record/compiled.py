"""Record calls of compiled graphs: their operations are not seen, only what goes in and out."""

import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch

from nondet.tracing.record.patches import Patches
from nondet.tracing.record.quiet import quiet
from nondet.tracing.records import Unseen

if TYPE_CHECKING:
    from nondet.tracing.record.shared import Shared

_MODULE = "torch._inductor.output_code"


def follow_graphs(session: "Shared", patches: Patches) -> None:
    """Record calls of the graphs of inductor, which may not be loaded yet."""

    def install(module: ModuleType) -> None:
        patches.wrap(module.CompiledFxGraph, "__call__", make)

    def make(original: Callable[..., Any]) -> Callable[..., Any]:
        def __call__(self: Any, inputs: Any) -> Any:  # noqa: N807
            recorder = session.find_recorder()
            if recorder is None or recorder.off:
                return original(self, inputs)
            try:
                call = _Call(recorder, self, inputs)
            except Exception as error:
                recorder.fail(error)
                return original(self, inputs)
            out = original(self, inputs)
            try:
                call.finish(out)
            except Exception as error:
                recorder.fail(error)
            return out

        return __call__

    if _MODULE in sys.modules:
        install(sys.modules[_MODULE])
    else:
        session.finders.append(_Finder(install))
        sys.meta_path.insert(0, session.finders[-1])


class _Call:
    """A call of a compiled graph, which empties the list of inputs so that they can be freed."""

    def __init__(self, recorder: Any, graph: Any, inputs: Sequence[Any]) -> None:
        self._recorder = recorder
        self._place = recorder.here()
        key = str(getattr(graph, "_fx_graph_cache_key", "") or "")
        # The key is not the same in each process; the number of the graph is.
        self._name = recorder.session.name_graph(key or id(graph))
        changed = set(getattr(graph, "mutated_input_idxs", ()) or ())
        tensors = [each for each in inputs if isinstance(each, torch.Tensor)]
        positions = [i for i, each in enumerate(inputs) if isinstance(each, torch.Tensor)]
        self._changed = [number for number, i in enumerate(positions) if i in changed]
        self._arguments = ", ".join(
            repr(each) for each in inputs if not isinstance(each, torch.Tensor)
        )
        with quiet():
            self._seen = [recorder.tensors.know(each) for each in tensors]
            recorder.session.finish(None)
        self._held = {number: tensors[number] for number in self._changed}

    def finish(self, out: Any) -> None:
        """Record the call, after it was made."""
        recorder = self._recorder
        results = out if isinstance(out, (list, tuple)) else [out]
        recorder.add(
            "graph",
            self._name,
            arguments=self._arguments,
            seen=self._seen,
            changed=self._held,
            writes=[each for each in results if isinstance(each, torch.Tensor)],
            place=self._place,
        )
        if recorder.session.announce("compiled"):
            what = "operations inside compiled graphs; --eager shows them"
            recorder.stream.unseen(Unseen("compiled", what))


class _Finder(MetaPathFinder):
    """Calls a function with the module once it is loaded."""

    def __init__(self, install: Callable[[ModuleType], None]) -> None:
        self._install = install

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Return the usual specification of the module, whose loader calls the function."""
        if name != _MODULE or self not in sys.meta_path:
            return None
        sys.meta_path.remove(self)
        spec = find_spec(name)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, self._install)
        return spec


class _Loader(Loader):
    """Loads a module as another loader does, then calls a function with it."""

    def __init__(self, loader: Any, install: Callable[[ModuleType], None]) -> None:
        self._loader = loader
        self._install = install

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Create the module as the other loader does."""
        module: ModuleType | None = self._loader.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Execute the module; call the function."""
        self._loader.exec_module(module)
        self._install(module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)
