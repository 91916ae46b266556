"""Averages of weights over a training.

Averages are kept in float64, at twice the memory of the weights once for the average and once for
the step from it: in float32 a mean over many thousands of steps stops moving, its updates lost
to rounding. Elementwise -, * and + alone make them, hence the same bits on every device.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from nondet.studies.config import Averaging as Kind
from nondet.studies.config import RunConfig


class Averaging:
    """The average of a model's parameters; batch-norm statistics and counts stay out of it.

    Kinds, each beginning with the weights after its first update at epoch `start`:

    swa: the mean of the weights at the ends of the epochs (Izmailov et al. 2018, "Averaging Weights
    Leads to Wider Optima and Better Generalization", algorithm 1).
    ema: average <- decay average + (1 - decay) weights after every step (Polyak and Juditsky 1992
    for averaging; Tarvainen and Valpola 2017, "Mean teachers", Sec. 2, for this form).
    aggressive: the mean over every step, which becomes the trained weights after each,
    W <- (m W + W') / (m + 1) with W' the weights after update number m + 1 (Madhyastha and Jain
    2019, "On Model Stability as a Function of Random Seed": ASWA). The m-th step hence counts one
    m-th of its length.
    aggressive-aside: the same mean, kept aside of the trained weights.
    triggered: as this, from the step on at which the training begins to call `update` (Merity et
    al. 2017, Alg. 1).
    """

    def __init__(self, model: nn.Module, kind: Kind, start: int = 0, decay: float = 0.999) -> None:
        self.kind, self.start, self.decay = kind, start, decay
        self.count = 0
        named = dict(model.named_parameters())
        device = next(iter(named.values())).device
        # One array for all parameters: the arithmetic of an update is three passes, whatever the
        # number of parameters.
        size = sum(parameter.numel() for parameter in named.values())
        self._mean = torch.zeros(size, dtype=torch.float64, device=device)
        self._step = torch.empty_like(self._mean)
        self._means, self._steps = (_views(flat, named) for flat in (self._mean, self._step))

    @torch.no_grad()
    def update(self, model: nn.Module, step: int, steps_per_epoch: int) -> None:
        """Takes the weights after an optimizer step into the average, where its kind does so.

        step: optimizer steps done, this one included. The kind "aggressive" changes the weights.
        """
        if step <= self.start * steps_per_epoch:
            return
        if self.kind == "swa" and step % steps_per_epoch:
            return
        share = 1 / (self.count + 1)
        if self.kind == "ema" and self.count:
            share = 1 - self.decay
        weights = [parameter.detach() for parameter in model.parameters()]
        torch._foreach_copy_(list(self._steps.values()), weights)
        # From the first update's 0, with a share of 1, this is the weights exactly.
        self._mean.add_(self._step.sub_(self._mean).mul_(share))
        self.count += 1
        if self.kind == "aggressive":
            torch._foreach_copy_(weights, list(self._means.values()))

    @contextmanager
    def evaluated(
        self, model: nn.Module, batches: Iterable[torch.Tensor] | None = None
    ) -> Iterator[None]:
        """Within, the model holds the averaged weights, rounded once to its dtype, and batch-norm
        statistics recomputed over `batches` of images (those of the training if None). Afterwards
        parameters, buffers and modes have their values of before, bit for bit.

        Changes nothing before the first update, and for "aggressive", whose weights are the average
        already and whose statistics go with them.
        """
        if self.count == 0 or self.kind == "aggressive":
            yield
            return
        weights = [parameter.detach() for parameter in model.parameters()]
        tensors = weights + list(model.buffers())
        with torch.no_grad():
            before = [tensor.clone() for tensor in tensors]
        modes = [(module, module.training) for module in model.modules()]
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
            for module, training in modes:
                module.training = training

    def state(self) -> dict[str, torch.Tensor]:
        """All there is to save: "count" (updates so far, 0-d int64) and, live, "mean.<parameter>"
        in float64, of the parameter's shape (zeros before the first update).
        """
        means = {f"mean.{name}": mean for name, mean in self._means.items()}
        return {"count": torch.tensor(self.count), **means}

    def load(self, state: Mapping[str, torch.Tensor]) -> None:
        """Goes on from a `state`, which is copied. Raises ValueError, before anything changes,
        where its names, shapes or dtypes are not those of this average.
        """
        own = self.state()
        if state.keys() != own.keys():
            wrong = ", ".join(sorted(state.keys() ^ own.keys()))
            raise ValueError(f"the state of the average lacks, or should not have: {wrong}")
        for name, tensor in own.items():
            given = state[name]
            if given.shape != tensor.shape or given.dtype != tensor.dtype:
                raise ValueError(
                    f"{name!r} is {given.dtype} of shape {tuple(given.shape)}; expected "
                    f"{tensor.dtype} of shape {tuple(tensor.shape)}"
                )
        for name, mean in self._means.items():
            mean.copy_(state[f"mean.{name}"])
        self.count = int(state["count"])


def make_averaging(model: nn.Module, config: RunConfig) -> Averaging | None:
    """The average that a configuration asks for; None for "none"."""
    if config.averaging == "none":
        return None
    return Averaging(model, config.averaging, config.averaging_start, config.ema_decay)


@torch.no_grad()
def recompute_statistics(model: nn.Module, batches: Iterable[torch.Tensor]) -> None:
    """Sets every batch norm's running mean and variance to the means of the batches' own means and
    (unbiased) variances, weighted by the batches' numbers of images and added in float64; for equal
    batches that is `torch.optim.swa_utils.update_bn` without its rounding.

    batches: of images (b, c, h, w), on the model's device. The model is left in evaluation mode. A
    model without batch norms is left as it is and takes no batch. Raises ValueError where there are
    batch norms and no batch.
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
    # Nothing else may be in training mode: dropout would draw.
    model.eval()
    try:
        for layer in layers:
            layer.train()
            layer.momentum = 1.0
        for images in batches:
            model(images)
            images_seen += len(images)
            for total, of_batch in zip(sums, running, strict=True):
                total.add_(of_batch.double().mul_(len(images)))
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
        model.eval()
    if images_seen == 0:
        raise ValueError("batches is empty; batch-norm statistics need at least one batch")
    for total, statistic in zip(sums, running, strict=True):
        statistic.copy_(total / images_seen)


def _views(flat: torch.Tensor, like: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Pieces of a flat array, one of the shape of each tensor, in order."""
    pieces = flat.split([tensor.numel() for tensor in like.values()])
    return {
        name: piece.view(tensor.shape)
        for (name, tensor), piece in zip(like.items(), pieces, strict=True)
    }
