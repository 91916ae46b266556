"""Representations of test images at the end of a training (paper, Fig. 1)."""

import numpy as np
import torch

from nondet.models import representations
from nondet.training.evaluation import EVALUATION_BATCH, laid_out_for
from nondet.training.training import EndRecorder, Training

MOST_IMAGES = 2000
"""Of so many test images, evenly spaced in their order, representations are kept at most: CKA needs
no more, and those of all images would fill disks.
"""


class Taps(EndRecorder):
    """Keeps what every tap of the final model (of the averaged weights, if there are any) makes of
    the test images, of `MOST_IMAGES` of them where there are more.

    Arrays: "00.<tap>", "01.<tap>", ... in order of depth, (images, features) float32, flattened
    image by image in row-major order (channels, height, width).
    """

    name = "taps"

    def arrays(self, training: Training) -> dict[str, np.ndarray]:
        """See the class."""
        dataset = training.dataset
        images = dataset.normalized(dataset.test_images[chosen_images(len(dataset.test_images))])
        with training.evaluated() as model:
            found = representations(model, laid_out_for(model, images), batch_size=EVALUATION_BATCH)
        return {
            f"{place:02}.{tap}": x.flatten(1).float().cpu().numpy()
            for place, (tap, x) in enumerate(found.items())
        }


def chosen_images(examples: int) -> torch.Tensor:
    """The numbers of the images among so many of which representations are kept, (n,) int64."""
    kept = min(examples, MOST_IMAGES)
    return torch.arange(kept) * examples // kept
