"""What a training leaves, or how far one came that diverged."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from nondet.perturb import Perturbation
    from nondet.train import Training


@dataclass(frozen=True)
class EpochRecord:
    """The state after one epoch. Accuracy is a fraction, losses are in nats per example; None where
    the epoch was not evaluated.
    """

    epoch: int
    learning_rate: float
    train_loss: float
    test_accuracy: float | None
    test_cross_entropy: float | None
    weights_sha256: str


@dataclass(frozen=True)
class Result:
    """What a training leaves.

    logits: (test examples, classes) float32, after the last epoch. snapshots: (cycles, test
    examples, classes) float32, one where each cycle of the schedule "snapshots" ends, else None.
    records: arrays by name, of each recorder by name (see nondet.record).
    """

    history: list[EpochRecord]
    logits: np.ndarray
    perturbations: "list[Perturbation]"
    snapshots: np.ndarray | None = None
    records: Mapping[str, Mapping[str, np.ndarray]] = field(default_factory=dict)


class DivergedError(RuntimeError):
    """A loss or a prediction stopped being a finite number; `epoch` (from 1), `step`, `history` and
    `perturbations` say how far the training came.
    """

    def __init__(self, reason: str, epoch: int, training: "Training") -> None:
        super().__init__(f"{reason} in epoch {epoch}")
        self.reason = reason
        self.epoch = epoch
        self.step = training.step
        self.history = training.history
        self.perturbations = training.perturbations
