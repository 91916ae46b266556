"""The result of a training, and the error of a training that diverged."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from nondet.training.perturb import Perturbation


@dataclass(frozen=True)
class EpochRecord:
    """Learning rate, losses and weights after one epoch.

    Accuracy is a fraction; losses are in nats per example, or per token of a text. The test values
    are None if the epoch was not evaluated; only texts have a valid_cross_entropy.
    """

    epoch: int
    learning_rate: float
    train_loss: float
    test_accuracy: float | None
    test_cross_entropy: float | None
    weights_sha256: str
    valid_cross_entropy: float | None = None


@dataclass(frozen=True, eq=False)
class TokenPredictions:
    """The predictions of a language model for a test text of N tokens.

    Attributes:
        log_probabilities: (N,) float64, of the actual tokens.
        predicted: (N,) int32, the most probable tokens.
        logits_sha256: over all logits, (N, vocabulary_size) float32. They are too many to keep and
            are recomputed from the weights.
    """

    log_probabilities: np.ndarray
    predicted: np.ndarray
    logits_sha256: str


@dataclass(frozen=True)
class Result:
    """The result of a training.

    Attributes:
        history: one record per epoch.
        logits: (test examples, classes) float32, after the last epoch; None for a language model.
        perturbations: the small changes that were made.
        snapshots: (cycles, test examples, classes) float32, the logits at the end of each cycle of
            the schedule "snapshots"; None for other schedules.
        records: the arrays of each recorder, by its name (see nondet.training.recorders).
        tokens: the predictions of a language model; None for an image model.
    """

    history: list[EpochRecord]
    logits: np.ndarray | None
    perturbations: "list[Perturbation]"
    snapshots: np.ndarray | None = None
    records: Mapping[str, Mapping[str, np.ndarray]] = field(default_factory=dict)
    tokens: TokenPredictions | None = None

    @property
    def predictions(self) -> dict[str, np.ndarray]:
        """The arrays of predictions that are stored, by name."""
        if self.tokens is not None:
            return {
                "log_probabilities": self.tokens.log_probabilities,
                "predicted": self.tokens.predicted,
            }
        assert self.logits is not None
        snapshots = {} if self.snapshots is None else {"snapshots": self.snapshots}
        return {"logits": self.logits, **snapshots}

    @property
    def predictions_sha256(self) -> str:
        """SHA-256 over all test logits of the final model, in hexadecimal."""
        if self.tokens is not None:
            return self.tokens.logits_sha256
        assert self.logits is not None
        return hashlib.sha256(self.logits.tobytes()).hexdigest()


class DivergedError(RuntimeError):
    """A loss or a prediction is no longer finite.

    Attributes:
        reason: the message without the epoch.
        epoch, step: the epoch, counted from 1, and the number of steps done when it was found.
        history, perturbations: the records up to there.
    """

    def __init__(
        self,
        reason: str,
        *,
        epoch: int,
        step: int,
        history: list[EpochRecord],
        perturbations: "list[Perturbation]",
    ) -> None:
        super().__init__(f"{reason} in epoch {epoch}")
        self.reason = reason
        self.epoch = epoch
        self.step = step
        self.history = history
        self.perturbations = perturbations
