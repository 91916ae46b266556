"""Follow settings that cannot be asked for at each operation."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from nondet.tracing.record.patches import Patches

if TYPE_CHECKING:
    from nondet.tracing.record.shared import Shared


def follow_settings(session: "Shared", patches: Patches) -> None:
    """Note when settings of a thread change. Autocast is off while an operation is dispatched."""

    def make_flush(original: Callable[[bool], bool]) -> Callable[[bool], bool]:
        def set_flush_denormal(mode: bool) -> bool:
            done = original(mode)
            recorder = session.find_recorder()
            if recorder is not None and done:
                recorder.flushes_denormals = bool(mode)
                recorder.refresh()
            return done

        return set_flush_denormal

    def make(original: Callable[..., Any]) -> Callable[..., Any]:
        def changed(*args: Any, **kwargs: Any) -> Any:
            result = original(*args, **kwargs)
            if not torch.compiler.is_compiling():
                recorder = session.find_recorder()
                if recorder is not None:
                    recorder.refresh()
            return result

        return changed

    def make_switch(original: Callable[..., Any]) -> Callable[..., Any]:
        def switched(*args: Any, **kwargs: Any) -> Any:
            result = original(*args, **kwargs)
            if not torch.compiler.is_compiling():
                session.refresh_switches()
            return result

        return switched

    patches.wrap(torch.backends.ContextProp, "__set__", make_switch)
    patches.wrap(torch, "set_float32_matmul_precision", make_switch)
    patches.wrap(torch, "set_flush_denormal", make_flush)
    patches.wrap(torch, "set_num_threads", make)
    patches.wrap(torch, "use_deterministic_algorithms", make)
    for name in ("__enter__", "__exit__"):
        patches.wrap(torch.amp.autocast_mode.autocast, name, make)


def flushes_denormals() -> bool:
    """Return True if this thread replaces subnormal results by 0."""
    smallest = torch.finfo(torch.float32).smallest_normal
    half = torch.full((1,), smallest, dtype=torch.float32, device="cpu") * 0.5
    # Compared as bits: a comparison of floats may flush what it compares.
    return half.view(torch.int32).item() == 0
