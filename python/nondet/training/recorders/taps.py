"""Representations of test images at the end of a training (paper, Fig. 1)."""

import numpy as np
import torch

from nondet.models import representations
from nondet.training.evaluation import EVALUATION_BATCH, model_inputs
from nondet.training.record_sizes import MAX_TAP_IMAGES
from nondet.training.recorders.end import EndRecorder
from nondet.training.training import Training


class Taps(EndRecorder):
    """Records the representations of at most `MAX_TAP_IMAGES` test images at all taps of the final
    model, with the averaged weights, if any.

    Arrays: "00.<tap>", "01.<tap>", ... in order of depth, (images, features) float32; the features
    of an image are flattened in row-major order (channels, height, width).
    """

    name = "taps"

    def arrays(self, training: Training) -> dict[str, np.ndarray]:
        """Return the arrays; see the class."""
        dataset = training.dataset
        images = dataset.test_images[chosen_images(len(dataset.test_images))]
        with training.evaluation_model() as model:
            inputs = model_inputs(model, dataset, images)
            found = representations(model, inputs, batch_size=EVALUATION_BATCH)
        return {
            f"{place:02}.{tap}": x.flatten(1).float().cpu().numpy()
            for place, (tap, x) in enumerate(found.items())
        }


def chosen_images(examples: int) -> torch.Tensor:
    """Return the indices of the recorded images, evenly spaced among `examples`, (n,) int64."""
    count = min(examples, MAX_TAP_IMAGES)
    return torch.arange(count) * examples // count
