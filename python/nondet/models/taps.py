"""Representations: the outputs of a model's layers for given images, to compare by CKA."""

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial

import torch
from torch import nn

from nondet.models.base import ImageModel


@torch.no_grad()
def representations(
    model: ImageModel,
    images: torch.Tensor,
    names: Sequence[str] | None = None,
    batch_size: int = 1000,
) -> dict[str, torch.Tensor]:
    """Compute the outputs of named layers in evaluation mode (paper, Fig. 1).

    images: (n, channels, height, width), normalized, on the model's device. names: keys of
    `model.taps`, all if None. batch_size: images per forward pass; the last bits may depend on it.
    Returns a tensor per name, in the order of `names`: (n, features) or (n, channels, height,
    width), on the images' device. The training flags of all modules are restored.
    Raises ValueError for an unknown name, for no images, or for a batch_size below 1.
    """
    chosen = list(model.taps) if names is None else list(names)
    for name in chosen:
        if name not in model.taps:
            raise ValueError(f"names has {name!r}; taps of the model: {', '.join(model.taps)}")
    if len(images) == 0:
        raise ValueError("images has no images")
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; it must be at least 1")

    outputs: dict[str, torch.Tensor] = {}
    results: dict[str, torch.Tensor] = {}
    with ExitStack() as stack:
        for module in model.modules():
            stack.callback(setattr, module, "training", module.training)
        model.eval()
        for name in chosen:
            layer = model.get_submodule(model.taps[name])
            stack.callback(layer.register_forward_hook(partial(_store, outputs, name)).remove)
        for start in range(0, len(images), batch_size):
            model(images[start : start + batch_size])
            for name in chosen:
                part = outputs.pop(name)
                if start == 0:
                    results[name] = part.new_empty((len(images), *part.shape[1:]))
                results[name][start : start + len(part)] = part
    return results


def _store(
    outputs: dict[str, torch.Tensor],
    name: str,
    _layer: nn.Module,
    _input: object,
    output: torch.Tensor,
) -> None:
    outputs[name] = output
