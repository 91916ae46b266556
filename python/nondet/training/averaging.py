"""Averages of a model's weights over a training.

They are computed in float64: in float32 a mean over many thousands of steps stops moving, because
its updates are lost to rounding. Only elementwise -, * and + are used, which give the same bits on
every device. Memory: four times that of float32 weights, half of it for the updates.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from nondet.studies.config import Averaging as Kind
from nondet.studies.config import RunConfig


class Averaging:
    """An average of a model's parameters, without batch-norm statistics and counts.

    kind: one of the following. start: the epoch, counted from 0, in which averaging begins. decay:
    of "ema".

    swa: the mean of the weights at the ends of the epochs (Izmailov et al. 2018, "Averaging Weights
    Leads to Wider Optima and Better Generalization", algorithm 1).
    ema: average <- decay average + (1 - decay) weights after every step (Polyak and Juditsky 1992
    for averaging; Tarvainen and Valpola 2017, "Mean teachers", Sec. 2, for this form).
    aggressive: the mean over every step, which becomes the trained weights after each,
    W <- (m W + W') / (m + 1) with W' the weights after update number m + 1 (Madhyastha and Jain
    2019, "On Model Stability as a Function of Random Seed": ASWA). The m-th step hence counts one
    m-th of its length.
    aggressive-aside: the same mean, which leaves the trained weights alone.
    triggered: the same as aggressive-aside; the training decides when it first calls `update`
    (Merity et al. 2017, Alg. 1).
    """

    def __init__(self, model: nn.Module, kind: Kind, start: int = 0, decay: float = 0.999) -> None:
        self.kind, self.start, self.decay = kind, start, decay
        self.count = 0
        named = dict(model.named_parameters())
        device = next(iter(named.values())).device
        # One array for all parameters: an update is then three passes over memory, however many
        # parameters there are.
        size = sum(parameter.numel() for parameter in named.values())
        self._mean = torch.zeros(size, dtype=torch.float64, device=device)
        self._change = torch.empty_like(self._mean)
        self._means, self._changes = (_split(flat, named) for flat in (self._mean, self._change))

    @torch.no_grad()
    def update(self, model: nn.Module, step: int, steps_per_epoch: int) -> None:
        """Add the weights after an optimizer step to the average, if its kind averages this step.

        step: number of optimizer steps done, this one included. The kind "aggressive" then sets the
        weights to the average.
        """
        if step <= self.start * steps_per_epoch:
            return
        if self.kind == "swa" and step % steps_per_epoch:
            return
        weight = 1 / (self.count + 1)
        if self.kind == "ema" and self.count:
            weight = 1 - self.decay
        weights = [parameter.detach() for parameter in model.parameters()]
        torch._foreach_copy_(list(self._changes.values()), weights)
        # The first update, of a mean of 0 with weight 1, gives the weights exactly.
        self._mean.add_(self._change.sub_(self._mean).mul_(weight))
        self.count += 1
        if self.kind == "aggressive":
            torch._foreach_copy_(weights, list(self._means.values()))

    @contextmanager
    def averaged_weights(
        self, model: nn.Module, batches: Iterable[torch.Tensor] | None = None
    ) -> Iterator[None]:
        """Give the model the averaged weights, rounded once to its dtype, within the context. Then
        restore parameters, buffers and training flags, bit for bit.

        batches: of images, over which batch-norm statistics are recomputed; if None, those of the
        training are used. Changes nothing before the first update, nor for "aggressive", where the
        model has the averaged weights and their statistics already.
        """
        if self.count == 0 or self.kind == "aggressive":
            yield
            return
        weights = [parameter.detach() for parameter in model.parameters()]
        tensors = weights + list(model.buffers())
        with torch.no_grad():
            before = [tensor.clone() for tensor in tensors]
        flags = [(module, module.training) for module in model.modules()]
        try:
            with torch.no_grad():
                torch._foreach_copy_(weights, list(self._means.values()))
            if batches is not None:
                recompute_statistics(model, batches)
            yield
        finally:
            with torch.no_grad():
                for tensor, old in zip(tensors, before, strict=True):
                    tensor.copy_(old)
            for module, training in flags:
                module.training = training

    def state(self) -> dict[str, torch.Tensor]:
        """Return the state to save: "count", the number of updates (0-d int64), and the live
        "mean.<parameter>", float64 of the parameter's shape (zeros before the first update).
        """
        means = {f"mean.{name}": mean for name, mean in self._means.items()}
        return {"count": torch.tensor(self.count), **means}

    def load(self, state: Mapping[str, torch.Tensor]) -> None:
        """Copy a `state`, to continue from it. Raises ValueError, before anything changes, if its
        names, shapes or dtypes are not those of this average, or its count is negative.
        """
        expected = self.state()
        if state.keys() != expected.keys():
            wrong = ", ".join(sorted(state.keys() ^ expected.keys()))
            raise ValueError(f"the state of the average lacks, or should not have: {wrong}")
        for name, tensor in expected.items():
            given = state[name]
            if given.shape != tensor.shape or given.dtype != tensor.dtype:
                raise ValueError(
                    f"{name!r} is {given.dtype} of shape {tuple(given.shape)}; expected "
                    f"{tensor.dtype} of shape {tuple(tensor.shape)}"
                )
        if state["count"] < 0:
            raise ValueError(f"'count' is {int(state['count'])}; it must not be negative")
        for name, mean in self._means.items():
            mean.copy_(state[f"mean.{name}"])
        self.count = int(state["count"])


def make_averaging(model: nn.Module, config: RunConfig) -> Averaging | None:
    """Make the average that a configuration names, None for "none"."""
    if config.averaging == "none":
        return None
    return Averaging(model, config.averaging, config.averaging_start, config.ema_decay)


@torch.no_grad()
def recompute_statistics(model: nn.Module, batches: Iterable[torch.Tensor]) -> None:
    """Set the running statistics of every batch norm to the mean over batches of the batches' means
    and (unbiased) variances, weighted by their numbers of images and added in float64. For batches
    of equal size that is `torch.optim.swa_utils.update_bn` with less rounding.

    batches: of images (n, channels, height, width), on the model's device. The model is left in
    evaluation mode. A model without batch norms is left unchanged, and no batch is taken. Raises
    ValueError if there are batch norms and no batches.
    """
    layers = [
        module
        for module in model.modules()
        if isinstance(module, _BatchNorm) and module.running_mean is not None
    ]
    if not layers:
        return
    momenta = [layer.momentum for layer in layers]
    running = [
        x
        for layer in layers
        for x in (layer.running_mean, layer.running_var)
        if isinstance(x, torch.Tensor)
    ]
    sums = [torch.zeros_like(x, dtype=torch.float64) for x in running]
    images_seen = 0
    # Only batch norms may be in training mode: dropout would draw.
    model.eval()
    try:
        for layer in layers:
            layer.train()
            layer.momentum = 1.0
        for images in batches:
            model(images)
            images_seen += len(images)
            for total, statistic in zip(sums, running, strict=True):
                total.add_(statistic.double().mul_(len(images)))
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
        model.eval()
    if images_seen == 0:
        raise ValueError("batches is empty; batch-norm statistics need at least one batch")
    for total, statistic in zip(sums, running, strict=True):
        statistic.copy_(total / images_seen)


def _split(flat: torch.Tensor, like: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return views of consecutive pieces of a flat array, in the shapes of `like`."""
    pieces = flat.split([tensor.numel() for tensor in like.values()])
    return {
        name: piece.view(tensor.shape)
        for (name, tensor), piece in zip(like.items(), pieces, strict=True)
    }
