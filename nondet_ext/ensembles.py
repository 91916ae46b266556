"""Ensembles of all pairs of models, accumulated over blocks of examples."""

from typing import Literal

import torch

from nondet_ext import _pairwise_ops as ops


class EnsembleSums:
    """Sums for the accuracy or cross-entropy of the mean output of every two models.

    The result depends only on the examples and their order, not on the blocks, as long as every
    block but the last is a multiple of 1,024 examples.

    Args:
        models: R, the number of models.
        metric, space: as for :func:`nondet_ext.ensemble_delta`.
        device: of the sums.
    """

    def __init__(
        self,
        models: int,
        metric: Literal["accuracy", "cross_entropy"],
        space: Literal["logits", "probabilities"],
        device: torch.device,
    ) -> None:
        dtype = torch.int64 if metric == "accuracy" else torch.float64
        self._state = torch.zeros((models, models), dtype=dtype, device=device)
        self._metric = metric
        self._probabilities = space == "probabilities"
        self._examples = 0

    def update(self, logits: torch.Tensor, labels: torch.Tensor) -> None:
        """Add a block of examples: logits (R, n, C), labels (n,).

        Raises:
            ValueError: the metric is cross-entropy, and the number of examples before this block is
                not a multiple of 1,024.
        """
        if self._metric == "cross_entropy" and self._examples % ops.EXAMPLE_TILE:
            raise ValueError(
                f"every block but the last must be a multiple of {ops.EXAMPLE_TILE} examples, "
                f"got {self._examples} examples before this block"
            )
        add = ops.pair_correct_ if self._metric == "accuracy" else ops.pair_logs_
        add(self._state, logits, labels, self._probabilities)
        self._examples += logits.shape[1]

    def delta(self) -> torch.Tensor:
        """Return the metric of each pair's mean output minus the mean of its metrics, (R, R)
        float64.
        """
        sums = ops.symmetric(self._state)
        own = sums.diagonal()
        if self._metric == "accuracy":
            # Integers: one rounding.
            difference = (2 * sums - own[:, None] - own[None, :]).to(torch.float64)
            return difference / (2 * self._examples)
        difference = sums - (own[:, None] + own[None, :]) / 2
        return (-difference if self._probabilities else difference) / self._examples
