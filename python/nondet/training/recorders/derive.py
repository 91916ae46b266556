"""Records of a finished training that are computed from its stored weights."""

from collections.abc import Collection, Mapping

import numpy as np
import torch

from nondet.data import Dataset
from nondet.studies.config import RunConfig
from nondet.studies.row import Keep
from nondet.studies.seeds import Onset, Seeds
from nondet.training.checkpoint import with_prefix
from nondet.training.evaluation import predict
from nondet.training.images import ImageTraining
from nondet.training.recorders.taps import Taps
from nondet.training.recorders.tta import AugmentedPredictions
from nondet.training.recorders.weights import SNAPSHOT
from nondet.training.schedules import snapshot_epochs

Arrays = Mapping[str, np.ndarray]


def derive_records(
    keeps: Collection[Keep],
    config: RunConfig,
    seeds: Seeds,
    dataset: Dataset,
    weights: Arrays,
    logits: np.ndarray,
) -> dict[str, dict[str, np.ndarray]] | None:
    """Compute records of an image model from the record of its weights: the arrays by record, with
    the bits that its training would have recorded.

    keeps: some of `nondet.studies.row.DERIVED`. dataset: on `config.device`. weights: the arrays of
    `Weights`. logits: of the final model. Use it within `deterministic(config.threads)`.

    Returns None if the weights give other logits here, or lack those of the snapshots.
    """
    # The weights are averaged ones already, if any: those of a new training leave them alone.
    training = ImageTraining(config, seeds, dataset, Onset())
    final = {name: x for name, x in weights.items() if not name.startswith(f"{SNAPSHOT}.")}
    snapshots = [
        with_prefix(_tensors(weights), f"{SNAPSHOT}.{number}")
        for number in range(max(len(snapshot_epochs(config)) - 1, 0))
    ]
    if not all(snapshots):
        return None
    if "tta" in keeps and snapshots:
        snapshots.append(_tensors(final))
    records: dict[str, dict[str, np.ndarray]] = {}
    augmented = AugmentedPredictions(config, dataset)
    if "tta" in keeps:
        for state in snapshots:
            training.model.load_state_dict(state)
            augmented.take_snapshot(training)
    training.model.load_state_dict(_tensors(final))
    if predict(training.model, training.dataset).tobytes() != logits.tobytes():
        return None
    if "tta" in keeps:
        records["tta"] = augmented.arrays(training)
    if "taps" in keeps:
        records["taps"] = Taps().arrays(training)
    return records


def _tensors(arrays: Arrays) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(np.array(x)) for name, x in arrays.items()}
