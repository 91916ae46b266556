"""Record parameters and buffers by name, before their first use."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import torch

from nondet.tracing.record.patches import Patches
from nondet.tracing.record.quiet import quiet

if TYPE_CHECKING:
    from nondet.tracing.record.recorder import Recorder
    from nondet.tracing.record.shared import Shared


def record_root(recorder: "Recorder", root: torch.nn.Module, name: str) -> None:
    """Record the parameters and buffers of a module, the first time."""
    if not recorder.session.modules.introduce(root):
        return
    named = []
    for path, tensor in (*root.named_parameters(), *root.named_buffers()):
        parts = [part for part in path.split(".") if part != "_orig_mod"]
        named.append((".".join([name, *parts]), tensor))
    record_parameters(recorder, named)


def record_parameters(
    recorder: "Recorder", named: Iterable[tuple[str, torch.Tensor]], *, known: bool = True
) -> None:
    """Record tensors by name; known: whether to remember their names for later reads."""
    place = recorder.here()
    for name, tensor in named:
        if torch.nn.parameter.is_lazy(tensor):
            continue
        if known:
            with quiet():
                memory = recorder.tensors.look(tensor)[1]
                if memory is not None:
                    recorder.session.table.name(memory, name)
        recorder.add("parameter", name, writes=[tensor], place=place)


def follow_optimizers(session: "Shared", patches: Patches) -> None:
    """Record the parameters of each optimizer as it is made, in its order."""

    def make(original: Callable[..., None]) -> Callable[..., None]:
        def __init__(  # noqa: N807
            self: torch.optim.Optimizer, *args: Any, **kwargs: Any
        ) -> None:
            original(self, *args, **kwargs)
            recorder = session.find_recorder()
            if recorder is not None and not recorder.off:
                try:
                    record_parameters(recorder, _name_groups(self), known=False)
                except Exception as error:
                    recorder.fail(error)

        return __init__

    patches.wrap(torch.optim.Optimizer, "__init__", make)


def _name_groups(optimizer: torch.optim.Optimizer) -> list[tuple[str, torch.Tensor]]:
    named = []
    for number, group in enumerate(optimizer.param_groups):
        given = group.get("param_names")
        for position, tensor in enumerate(group["params"]):
            name = given[position] if given else str(position)
            named.append((f"{type(optimizer).__name__}.{number}.{name}", tensor))
    return named
