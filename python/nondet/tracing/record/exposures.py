"""Notice tensors whose memory a script hands to others, who may write to it unseen."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from nondet.tracing.record.patches import Patches
from nondet.tracing.record.quiet import quiet

if TYPE_CHECKING:
    from nondet.tracing.record.shared import Shared


def follow_exposures(session: "Shared", patches: Patches) -> None:
    """Hash memory that is given to NumPy, DLPack or other processes whenever it is read."""

    def make(original: Callable[..., Any]) -> Callable[..., Any]:
        def expose(self: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            if not torch.compiler.is_compiling():
                recorder = session.find_recorder()
                if recorder is not None and not recorder.off:
                    try:
                        with quiet():
                            session.finish(None)
                            memory = recorder.tensors.look(self)[1]
                            if memory is not None:
                                memory.shared = True
                    except Exception as error:
                        recorder.fail(error)
            return original(self, *args, **kwargs)

        return expose

    for name in ("numpy", "__array__", "__dlpack__", "share_memory_"):
        patches.wrap(torch.Tensor, name, make)
