"""What a training leaves, or how far one came that diverged."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from nondet.training.perturb import Perturbation


@dataclass(frozen=True)
class EpochRecord:
    """The state after one epoch. Accuracy is a fraction, losses are in nats per example (of a text,
    per token); None where the epoch was not evaluated. valid_cross_entropy: of a text alone.
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
    """What a language model makes of a test text of N tokens.

    log_probabilities: (N,) float64, of the tokens that came. predicted: (N,) int32, the likeliest
    types. logits_sha256: over all logits, (N, types) float32, which are too many to be kept and are
    computed again from the weights.
    """

    log_probabilities: np.ndarray
    predicted: np.ndarray
    logits_sha256: str


@dataclass(frozen=True)
class Result:
    """What a training leaves.

    logits: (test examples, classes) float32, after the last epoch; None of a language model, which
    has `tokens` in their place. snapshots: (cycles, test examples, classes) float32, one where each
    cycle of the schedule "snapshots" ends, else None. records: arrays by name, of each recorder by
    name (see nondet.training.recorders).
    """

    history: list[EpochRecord]
    logits: np.ndarray | None
    perturbations: "list[Perturbation]"
    snapshots: np.ndarray | None = None
    records: Mapping[str, Mapping[str, np.ndarray]] = field(default_factory=dict)
    tokens: TokenPredictions | None = None

    @property
    def predictions(self) -> dict[str, np.ndarray]:
        """What is kept of the predictions, by name."""
        if self.tokens is not None:
            kept = {"log_probabilities": self.tokens.log_probabilities}
            return kept | {"predicted": self.tokens.predicted}
        assert self.logits is not None
        snapshots = {} if self.snapshots is None else {"snapshots": self.snapshots}
        return {"logits": self.logits, **snapshots}

    @property
    def predictions_sha256(self) -> str:
        """SHA-256 over all logits of the final model."""
        if self.tokens is not None:
            return self.tokens.logits_sha256
        assert self.logits is not None
        return hashlib.sha256(self.logits.tobytes()).hexdigest()


class DivergedError(RuntimeError):
    """A loss or a prediction stopped being a finite number; `epoch` (from 1), `step`, `history` and
    `perturbations` say how far the training came.
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
