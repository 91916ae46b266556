"""The weights of a finished training, and of its snapshots."""

from collections.abc import Mapping

import numpy as np
import torch

from nondet.studies.config import RunConfig
from nondet.training.checkpoint import with_prefix
from nondet.training.schedules import snapshot_epochs
from nondet.training.training import Training

SNAPSHOT = "snapshot"
"""The first part of the names of a snapshot's tensors: "snapshot.0.<tensor>"."""


class Weights:
    """Records the state of the model that is the training's result (`Training.final_model`), with
    the averaged weights, if any, and likewise that of every snapshot but the last, which is the
    result.

    Arrays: every tensor of its `state_dict()`, by name, and "snapshot.<number>.<name>", the number
    counted from 0.

    config: of the training; by default one without snapshots. steps_per_epoch: of its steps.
    """

    name = "weights"

    def __init__(self, config: RunConfig | None = None, steps_per_epoch: int = 1) -> None:
        self._epochs = () if config is None else snapshot_epochs(config)[:-1]
        self.latest_start = self._epochs[0] * steps_per_epoch - 1 if self._epochs else None
        self._snapshots: dict[str, torch.Tensor] = {}
        self._taken = 0

    def start(self, training: Training) -> None:
        """See `Recorder`."""
        if self.latest_start is not None and training.step > self.latest_start:
            raise ValueError(
                f"the record 'weights' must begin by step {self.latest_start}, before the first "
                f"snapshot; the training is at step {training.step}"
            )
        self._snapshots, self._taken = {}, 0

    def observe(self, training: Training) -> None:
        """Copy the weights after the epochs of the snapshots."""
        if not training.at_epoch_end or training.epochs_done not in self._epochs:
            return
        with training.evaluation_model() as model:
            for name, x in model.state_dict().items():
                self._snapshots[f"{SNAPSHOT}.{self._taken}.{name}"] = x.detach().cpu().clone()
        self._taken += 1

    def state(self) -> dict[str, torch.Tensor]:
        """See `Recorder`."""
        return {name: x.clone() for name, x in self._snapshots.items()}

    def load(self, state: Mapping[str, torch.Tensor]) -> None:
        """See `Recorder`."""
        numbers = {name.split(".")[1] for name in state if name.startswith(f"{SNAPSHOT}.")}
        expected = {str(number) for number in range(len(numbers))}
        names = [set(with_prefix(state, f"{SNAPSHOT}.{number}")) for number in sorted(numbers)]
        if (
            numbers != expected
            or len(numbers) > len(self._epochs)
            or any(each != names[0] for each in names)
            or sum(map(len, names)) != len(state)
        ):
            raise ValueError(
                f"the state of 'weights' has the snapshots {', '.join(sorted(numbers)) or 'none'} "
                f"with unequal tensors, or more than {len(self._epochs)}"
            )
        self._snapshots = {name: x.cpu().clone() for name, x in state.items()}
        self._taken = len(numbers)

    def arrays(self, training: Training) -> dict[str, np.ndarray]:
        """Return the arrays; see the class."""
        with training.final_model() as model:
            final = {name: x.cpu().numpy().copy() for name, x in model.state_dict().items()}
        if self._taken < len(self._epochs):  # resumed from a state of a version without snapshots
            return final
        return final | {name: x.numpy() for name, x in self._snapshots.items()}
