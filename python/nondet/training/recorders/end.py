"""The base of recorders that need no step of a training but its last."""

from collections.abc import Mapping

import torch

from nondet.training.training import Training


class EndRecorder:
    """A `Recorder` that looks at the finished training alone: it may start at any step and has no
    state.
    """

    latest_start = None

    def start(self, training: Training) -> None:
        """Do nothing."""

    def observe(self, training: Training) -> None:
        """Do nothing."""

    def state(self) -> dict[str, torch.Tensor]:
        """Return an empty state."""
        return {}

    def load(self, state: Mapping[str, torch.Tensor]) -> None:
        """Do nothing: the state is empty."""
