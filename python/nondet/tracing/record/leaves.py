"""At level "modules": record what modules without children return, and the gradients of that."""

import sys
from typing import TYPE_CHECKING, Any

import torch

from nondet.tracing.record.loaders import tensors_in
from nondet.tracing.record.quiet import quiet
from nondet.tracing.record.tensors import Seen

if TYPE_CHECKING:
    from nondet.tracing.record.recorder import Recorder


def is_leaf(module: torch.nn.Module) -> bool:
    """Return True for a module without children."""
    return not module._modules


def look_at_inputs(recorder: "Recorder", args: Any, kwargs: Any) -> list[Seen]:
    """Return what is known of the inputs of a module, before it may change them in place."""
    with quiet():
        return [recorder.tensors.know(each) for each in tensors_in([args, kwargs])]


def record_leaf(recorder: "Recorder", name: int, inputs: list[Seen], out: Any) -> None:
    """Record a call of a module that just returned; its gradients follow when they are known.

    Called while the module still counts as being called.
    """
    place = recorder.here()
    outputs = list(tensors_in(out))
    shown = recorder.session.modules.names[name]
    recorder.add("module", shown, seen=inputs, writes=outputs, place=place)
    for each in outputs:
        if each.grad_fn is not None and not each.is_inference():
            _follow_gradient(recorder, shown, place, each)


def _follow_gradient(
    recorder: "Recorder", name: str, place: tuple[Any, ...], tensor: torch.Tensor
) -> None:
    def record(gradient: torch.Tensor) -> None:
        if recorder.off:
            return
        try:
            outer = recorder.places.backward(sys._getframe())[2:]
            recorder.add("module", name, writes=[gradient], place=(*place[:4], *outer))
        except Exception as error:
            recorder.fail(error)

    tensor.register_hook(record)
