"""Recorders of what a training produces besides its predictions, by name:

taps: representations of test images, layer by layer, to compare by CKA (`Taps`).
tta: predictions with test-time augmentation (`AugmentedPredictions`).
twin: distances, step by step, to a training with all seeds held (`Twin`).
weights: the final weights, and those of snapshots (`Weights`).

A recorder changes no bit of the training that it observes, and its state is saved in the training's
checkpoints.
"""

from collections.abc import Collection

from nondet.data import Dataset, TextDataset
from nondet.names import alternatives
from nondet.studies.config import RunConfig
from nondet.studies.row import KEEPS, Keep
from nondet.studies.seeds import Onset, Seeds
from nondet.training.recorders.taps import Taps
from nondet.training.recorders.tta import AugmentedPredictions
from nondet.training.recorders.twin import Twin
from nondet.training.recorders.weights import Weights
from nondet.training.schedules import steps_in_epoch
from nondet.training.training import Recorder


def make_recorders(
    keeps: Collection[Keep],
    config: RunConfig,
    seeds: Seeds,
    onset: Onset,
    dataset: Dataset | TextDataset,
) -> list[Recorder]:
    """Make the recorders of the given names for one training with these arguments.

    dataset: on `config.device`. Make new recorders for every training. Raises ValueError for an
    unknown name, and for a recorder of image models if the data set is a text.
    """
    for name in keeps:
        if name not in KEEPS:
            raise ValueError(f"keeps has {name!r}; {alternatives(name, KEEPS)}")
    recorders: list[Recorder] = []
    if isinstance(dataset, TextDataset):
        if rest := sorted(set(keeps) - {"weights"}):
            raise ValueError(f"keeps has {rest[0]!r}, which no language model has; known: weights")
    else:
        if "taps" in keeps:
            recorders.append(Taps())
        if "tta" in keeps:
            recorders.append(AugmentedPredictions(config, dataset))
        if "twin" in keeps:
            recorders.append(Twin(config, seeds, onset, dataset))
    if "weights" in keeps:
        steps = 1
        if isinstance(dataset, Dataset):
            steps = steps_in_epoch(config, len(dataset.train_labels))
        recorders.append(Weights(config, steps))
    return recorders


__all__ = ["AugmentedPredictions", "Recorder", "Taps", "Twin", "Weights", "make_recorders"]
