"""Test-time augmentation: mean predictions over shifted and mirrored images (a remedy in the ICML
version of the paper, beside snapshot ensembles).
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
from nondet.training.record_sizes import MAX_SHIFT
from nondet.training.schedules import snapshot_epochs, steps_in_epoch
from nondet.training.training import Training

Means = dict[str, torch.Tensor]


def schemes(down: int, right: int, mirrored: bool) -> dict[str, int]:
    """Return how often an image that is shifted by so many pixels, then mirrored left to right or
    not, counts in the mean of each scheme (`nondet.studies.row.TTA`); schemes without it are left
    out.
    """
    distance = max(abs(down), abs(right))
    plain, center = not mirrored, distance == 0
    crops25, wide25 = distance <= 2, down % 2 == right % 2 == 0
    original = center and plain
    counts = {
        "flip": center,
        "crops25": crops25 and plain,
        "crops81": plain,
        "flip+crops25": crops25,
        "flip+crops81": True,
        "crops24": crops25 and plain and not center,
        "crops80": plain and not center,
        "wide25": wide25 and plain,
        "flip+wide25": wide25,
        "original+wide25": (wide25 and plain) + original,
        "original+crops81": plain + original,
        "original+flip+wide25": wide25 + original,
        "original+flip+crops81": 1 + original,
    }
    return {name: int(counts[name]) for name in TTA if counts[name]}


class AugmentedPredictions:
    """Records the mean logits of every scheme for the final model and, if the schedule takes
    snapshots, their means over the snapshots. Pixels shifted in have the stored value 0, as in
    training. The weights are the averaged ones, if any.

    Arrays: "final/<scheme>" and "snapshots/<scheme>", (test examples, classes) float32. Means are
    computed in float64 and rounded once. Costs `TTA_VIEWS` passes over the test images per model.
    """

    name = "tta"

    def __init__(self, config: RunConfig, dataset: Dataset) -> None:
        self._epochs = snapshot_epochs(config)
        self._most = len(self._epochs)
        self._shape = len(dataset.test_labels), dataset.classes
        steps_per_epoch = steps_in_epoch(config, len(dataset.train_labels))
        first = self._epochs[0] * steps_per_epoch if self._epochs else None
        self.latest_start = None if first is None else first - 1
        self._snapshots = 0
        self._sums: Means = {}
        self._latest: tuple[int, Means] | None = None

    def start(self, training: Training) -> None:
        """See `Recorder`."""
        if self.latest_start is not None and training.step > self.latest_start:
            raise ValueError(
                f"the record 'tta' must begin by step {self.latest_start}, before the first "
                f"snapshot; the training is at step {training.step}"
            )
        self._snapshots, self._sums, self._latest = 0, {}, None

    def observe(self, training: Training) -> None:
        """Predict after the epochs of the snapshots."""
        if training.at_epoch_end and training.epochs_done in self._epochs:
            self.take_snapshot(training)

    def take_snapshot(self, training: Training) -> None:
        """Predict by the model as it is, which is that of the next snapshot."""
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
        number = state.get("snapshots", torch.tensor(0))
        if number.shape != () or number.dtype != torch.int64 or not 0 <= number <= self._most:
            raise ValueError(
                f"'snapshots' in the state of 'tta' is {number}; it must be an integer from 0 to "
                f"{self._most}"
            )
        count = int(number)
        expected = {"snapshots", *(f"sums.{name}" for name in TTA if count)}
        if state.keys() != expected:
            wrong = ", ".join(sorted(state.keys() ^ expected))
            raise ValueError(f"the state of 'tta' lacks, or should not have: {wrong}")
        for name, total in state.items():
            if name != "snapshots" and (total.shape, total.dtype) != (self._shape, torch.float64):
                raise ValueError(
                    f"{name!r} in the state of 'tta' is {total.dtype} of shape "
                    f"{tuple(total.shape)}; expected torch.float64 of shape {self._shape}"
                )
        self._snapshots = count
        self._sums = {name: state[f"sums.{name}"].cpu().clone() for name in TTA if count}
        self._latest = None

    def arrays(self, training: Training) -> dict[str, np.ndarray]:
        """Return the arrays; see the class."""
        if self._latest is None or self._latest[0] != training.step:
            self._latest = training.step, mean_logits(training)
        final = {f"final/{name}": mean for name, mean in self._latest[1].items()}
        snapshots = {
            f"snapshots/{name}": total / self._snapshots for name, total in self._sums.items()
        }
        return {name: x.float().numpy() for name, x in (final | snapshots).items()}


def mean_logits(training: Training) -> Means:
    """Compute the mean logits of each scheme, (test examples, classes) float64, on the CPU."""
    with training.evaluation_model() as model:
        parts = [
            _mean_logits(model, training.dataset, images)
            for images in training.dataset.test_images.split(EVALUATION_BATCH)
        ]
    return {name: torch.cat([part[name] for part in parts]) for name in TTA}


def _mean_logits(model: torch.nn.Module, dataset: Dataset, images: torch.Tensor) -> Means:
    """Predict every shifted image once and add its logits to all schemes that include it."""
    sums: dict[str, torch.Tensor] = {}
    counts = dict.fromkeys(TTA, 0)
    shifts = range(-MAX_SHIFT, MAX_SHIFT + 1)
    for down, right, mirrored in product(shifts, shifts, (False, True)):
        augmentation = Augmentation(
            torch.tensor([[down, right]], device=images.device).expand(len(images), 2),
            torch.full((len(images),), mirrored, device=images.device),
        )
        shifted = apply_augmentation(images, augmentation)
        logits = torch.from_numpy(predict(model, dataset, shifted)).double()
        for name, count in schemes(down, right, mirrored).items():
            counted = logits if count == 1 else logits * count
            sums[name] = sums[name] + counted if name in sums else counted
            counts[name] += count
    return {name: sums[name] / counts[name] for name in TTA}
