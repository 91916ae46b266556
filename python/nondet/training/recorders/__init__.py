"""What is recorded of a training beside its predictions, by name:

taps: representations of test images, layer by layer, for comparison by CKA (`Taps`).
tta: predictions under test-time augmentation (`AugmentedPredictions`).
twin: distances to a twin whose every seed is held, step by step (`Twin`).
weights: the final weights (`Weights`).

A recorder changes no bit of the training it looks at, and its own state goes into the training's
checkpoints.
"""

from collections.abc import Collection

from nondet.data import Dataset, TextDataset
from nondet.studies.config import RunConfig
from nondet.studies.row import KEEPS, Keep
from nondet.studies.seeds import Onset, Seeds
from nondet.training.recorders.taps import Taps
from nondet.training.recorders.tta import AugmentedPredictions
from nondet.training.recorders.twin import Twin
from nondet.training.recorders.weights import Weights
from nondet.training.training import Recorder


def make_recorders(
    keeps: Collection[Keep],
    config: RunConfig,
    seeds: Seeds,
    onset: Onset,
    dataset: Dataset | TextDataset,
) -> list[Recorder]:
    """The recorders of those names for one training of these arguments; `dataset` lies on
    `config.device`. Each call makes new ones: a recorder serves one training.

    Raises ValueError for an unknown name, and where a text is given for one that looks at images.
    """
    for name in keeps:
        if name not in KEEPS:
            raise ValueError(f"keeps has {name!r}; known: {', '.join(KEEPS)}")
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
        recorders.append(Weights())
    return recorders


__all__ = ["AugmentedPredictions", "Recorder", "Taps", "Twin", "Weights", "make_recorders"]
