"""The low-level source of nondeterminism in a training: the order in which gradients are added."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from nondet import lowlevel
from nondet.studies.config import RunConfig
from nondet.studies.seeds import HELD


class LowLevelSource:
    """The order in which one training adds gradients and losses up.

    The setting `lowlevel` decides. "off" and "vendor" keep torch's kernels; with "vendor" and a
    seed that is not HELD, cuDNN may choose algorithms that race. Every other value converts the
    layers of the model, in place (see `nondet.lowlevel.convert`), which then add in that order, or
    in the fixed order if the seed is HELD; "exact" is the same for all seeds.
    """

    def __init__(self, model: nn.Module, config: RunConfig) -> None:
        self._config = config
        if self._order(HELD) is not None:
            lowlevel.convert(model, chunks=config.chunks)
        self._layers = lowlevel.layers(model)

    @contextmanager
    def applied(self, seed: int, step: int) -> Iterator[None]:
        """Add the gradients computed within the context in the order of this seed and step."""
        order = self._order(seed)
        if order is not None:
            lowlevel.set_order(self._layers, order, seed, step)
        races = self._config.lowlevel == "vendor" and seed != HELD
        with lowlevel.vendor_nondeterminism() if races else nullcontext():
            yield

    def cross_entropy(
        self, logits: torch.Tensor, labels: torch.Tensor, seed: int, step: int
    ) -> torch.Tensor:
        """Return the mean cross-entropy of (n, classes) logits and (n,) labels, 0-d, in nats; the
        losses of the examples are added in the order of this seed and step.
        """
        order, smoothing = self._order(seed), self._config.label_smoothing
        if order is None:
            return cross_entropy(logits, labels, label_smoothing=smoothing)
        return lowlevel.cross_entropy(
            logits,
            labels,
            order=order,
            seed=seed,
            step=step,
            chunks=self._config.chunks,
            label_smoothing=smoothing,
        )

    def _order(self, seed: int) -> lowlevel.Order | None:
        """Return the order of sums for a seed, None if torch's kernels add."""
        setting = self._config.lowlevel
        if setting == "off" or setting == "vendor":
            return None
        return "fixed" if seed == HELD and setting != "exact" else setting
