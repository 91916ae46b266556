"""Follow calls of modules, and introduce the outermost with their parameters."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from nondet.tracing.record.leaves import is_leaf, look_at_inputs, record_leaf
from nondet.tracing.record.lines import CALL, SKIPPED
from nondet.tracing.record.parameters import record_root
from nondet.tracing.record.patches import Patches
from nondet_ext.recording import ModuleCall, mark

if TYPE_CHECKING:
    from nondet.tracing.record.recorder import Recorder
    from nondet.tracing.record.shared import Shared


def follow_modules(session: "Shared", patches: Patches) -> None:
    """Follow all calls of modules of this process."""
    find_recorder = session.find_recorder
    is_compiling = torch.compiler.is_compiling

    def make(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(self: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
            if is_compiling():
                return original(self, *args, **kwargs)
            recorder = find_recorder()
            if recorder is None or recorder.off:
                return original(self, *args, **kwargs)
            return follow(recorder, original, self, args, kwargs)

        mark(call.__code__, SKIPPED)
        return call

    patches.wrap(torch.nn.Module, "__call__", make)


def follow(
    recorder: "Recorder",
    original: Callable[..., Any],
    module: torch.nn.Module,
    args: Any,
    kwargs: Any,
) -> Any:
    """Call a module whose operations are recorded."""
    calls = recorder.calls
    try:
        recorder.refresh()
        number = recorder.session.modules.find(module)
        if number is None or not calls:
            number = _introduce(recorder, module, number)
    except Exception as error:
        recorder.fail(error)
        number = 0
    calls.append(ModuleCall(number or 0, getattr(module, "training", False), module))
    try:
        if recorder.session.options.level == "modules" and is_leaf(module):
            return _call_leaf(recorder, original, module, number or 0, args, kwargs)
        return original(module, *args, **kwargs)
    finally:
        calls.pop()


# The frame of a call that is followed stands for one entry of `calls`.
mark(follow.__code__, CALL)


def _call_leaf(
    recorder: "Recorder",
    original: Callable[..., Any],
    module: torch.nn.Module,
    number: int,
    args: Any,
    kwargs: Any,
) -> Any:
    inputs = None
    try:
        inputs = look_at_inputs(recorder, args, kwargs)
    except Exception as error:
        recorder.fail(error)
    out = original(module, *args, **kwargs)
    if inputs is not None and not recorder.off:
        try:
            record_leaf(recorder, number, inputs, out)
        except Exception as error:
            recorder.fail(error)
    return out


def _introduce(recorder: "Recorder", module: torch.nn.Module, number: int | None) -> int:
    """Name a module; record the parameters of an outermost one that is called first."""
    modules = recorder.session.modules
    if recorder.calls:
        outermost = recorder.calls[0]
        modules.spread(outermost.module, modules.names[outermost.name])
        number = modules.find(module)
        if number is None:  # a module that is no attribute of the outermost
            modules.enter(module)
    elif number is None:
        modules.enter(module)
    number = modules.find(module)
    if not recorder.calls and number is not None:
        record_root(recorder, module, modules.names[number])
    return number or 0
