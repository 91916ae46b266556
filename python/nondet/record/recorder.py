"""The interface of what looks at a training and records it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

if TYPE_CHECKING:
    from nondet.train import Training


class Recorder(Protocol):
    """Looks at one training and changes no bit of it."""

    @property
    def name(self) -> str:
        """The key of its arrays in `Result.records`, and of its state in a checkpoint."""
        ...

    @property
    def begins_by(self) -> int | None:
        """After how many steps of the training it can begin at the latest; None: at any."""
        ...

    def begin(self, training: "Training") -> None:
        """Begins, at the training's first step or at the state from which it goes on, and forgets
        what it saw before. Raises ValueError where that is after `begins_by`.
        """
        ...

    def observe(self, training: "Training") -> None:
        """Looks at the training after a step. May raise DivergedError."""
        ...

    def state(self) -> dict[str, torch.Tensor]:
        """A copy of all that it needs to go on, by names of its own."""
        ...

    def load(self, state: Mapping[str, torch.Tensor]) -> None:
        """Goes on from a `state`, which is copied; its tensors lie on any device. Raises ValueError
        where it does not fit.
        """
        ...

    def arrays(self, training: "Training") -> dict[str, np.ndarray]:
        """The record of a finished training."""
        ...


class EndRecorder:
    """A recorder that looks at the finished training alone: nothing is needed of any step before
    the last.
    """

    begins_by = None

    def begin(self, training: "Training") -> None:
        """See `Recorder`."""

    def observe(self, training: "Training") -> None:
        """See `Recorder`."""

    def state(self) -> dict[str, torch.Tensor]:
        """Empty."""
        return {}

    def load(self, state: Mapping[str, torch.Tensor]) -> None:
        """There is nothing to load."""
