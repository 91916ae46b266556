"""Test-time augmentation: predictions as the mean over moved and mirrored images (the paper's ICML
version offers it as a remedy beside snapshot ensembles).
"""

from collections.abc import Mapping
from itertools import product

import numpy as np
import torch

from nondet.data import Dataset
from nondet.data.augment import Augmentation, apply_augmentation
from nondet.studies.config import RunConfig
from nondet.studies.row import TTA
from nondet.training.evaluation import EVALUATION_BATCH, predict
from nondet.training.schedules import snapshot_epochs
from nondet.training.training import Training

REACH = 4
"""How many pixels an image is moved at most, in either direction: 9 x 9 = 81 places."""

Means = dict[str, torch.Tensor]


def schemes(down: int, right: int, mirrored: bool) -> list[str]:
    """The schemes (`nondet.studies.row.TTA`) whose mean takes in an image moved by so many
    pixels, then mirrored left to right or not.
    """
    distance = max(abs(down), abs(right))
    of_these = {
        "flip": distance == 0,
        "crops25": distance <= 2 and not mirrored,
        "crops81": not mirrored,
        "flip+crops25": distance <= 2,
        "flip+crops81": True,
        "crops24": 0 < distance <= 2 and not mirrored,
        "crops80": distance > 0 and not mirrored,
    }
    return [name for name in TTA if of_these[name]]


class AugmentedPredictions:
    """Keeps the mean logits of every scheme, of the final model and, where the schedule takes
    snapshots, the mean over these. Uncovered pixels have the stored value 0, as in training; the
    weights are the averaged ones, if there are any.

    Arrays: "final/<scheme>" and "snapshots/<scheme>", (test examples, classes) float32. Means are
    taken in float64 and rounded once. Costs 162 passes over the test images for each model.
    """

    name = "tta"

    def __init__(self, config: RunConfig, dataset: Dataset) -> None:
        self._epochs = snapshot_epochs(config)
        steps_per_epoch = len(dataset.train_labels) // config.batch_size
        first = self._epochs[0] * steps_per_epoch if self._epochs else None
        self.begins_by = None if first is None else first - 1
        self._snapshots = 0
        self._sums: Means = {}
        self._latest: tuple[int, Means] | None = None

    def begin(self, training: Training) -> None:
        """See `Recorder`."""
        if self.begins_by is not None and training.step > self.begins_by:
            raise ValueError(
                f"the record 'tta' must begin by step {self.begins_by}, before the first snapshot; "
                f"the training is at step {training.step}"
            )
        self._snapshots, self._sums, self._latest = 0, {}, None

    def observe(self, training: Training) -> None:
        """Predicts at the snapshots' epochs."""
        if not training.at_epoch_end or training.epochs_done not in self._epochs:
            return
        means = mean_logits(training)
        self._latest = training.step, means
        self._snapshots += 1
        self._sums = {
            name: self._sums[name] + mean if self._sums else mean for name, mean in means.items()
        }

    def state(self) -> dict[str, torch.Tensor]:
        """See `Recorder`."""
        sums = {f"sums.{name}": x.clone() for name, x in self._sums.items()}
        return {"snapshots": torch.tensor(self._snapshots), **sums}

    def load(self, state: Mapping[str, torch.Tensor]) -> None:
        """See `Recorder`."""
        count = int(state["snapshots"])
        expected = {"snapshots", *(f"sums.{name}" for name in TTA if count)}
        if state.keys() != expected:
            wrong = ", ".join(sorted(state.keys() ^ expected))
            raise ValueError(f"the state of 'tta' lacks, or should not have: {wrong}")
        self._snapshots = count
        self._sums = {name: state[f"sums.{name}"].cpu().clone() for name in TTA if count}
        self._latest = None

    def arrays(self, training: Training) -> dict[str, np.ndarray]:
        """See the class."""
        if self._latest is None or self._latest[0] != training.step:
            self._latest = training.step, mean_logits(training)
        final = {f"final/{name}": mean for name, mean in self._latest[1].items()}
        of_snapshots = {
            f"snapshots/{name}": total / self._snapshots for name, total in self._sums.items()
        }
        return {name: x.float().numpy() for name, x in (final | of_snapshots).items()}


def mean_logits(training: Training) -> Means:
    """The mean logits of each scheme: (test examples, classes) float64, on the CPU."""
    with training.evaluated() as model:
        parts = [
            _mean_logits(model, training.dataset, images)
            for images in training.dataset.test_images.split(EVALUATION_BATCH)
        ]
    return {name: torch.cat([part[name] for part in parts]) for name in TTA}


def _mean_logits(model: torch.nn.Module, dataset: Dataset, images: torch.Tensor) -> Means:
    """Every moved image is predicted once and goes into all the schemes it is part of."""
    sums: dict[str, torch.Tensor] = {}
    counts = dict.fromkeys(TTA, 0)
    moves = range(-REACH, REACH + 1)
    for down, right, mirrored in product(moves, moves, (False, True)):
        augmentation = Augmentation(
            torch.tensor([[down, right]], device=images.device).expand(len(images), 2),
            torch.full((len(images),), mirrored, device=images.device),
        )
        moved = apply_augmentation(images, augmentation)
        logits = torch.from_numpy(predict(model, dataset, moved)).double()
        for name in schemes(down, right, mirrored):
            sums[name] = sums[name] + logits if name in sums else logits
            counts[name] += 1
    return {name: sums[name] / counts[name] for name in TTA}
