"""The final weights, for whoever wants to compute with a trained model again."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from nondet.train import Training


class Weights:
    """Keeps the state of the final model (under the averaged weights, if there are any).

    Arrays: every entry of its `state_dict()`, by name.
    """

    name = "weights"
    begins_by = None

    def begin(self, training: "Training") -> None:
        """Nothing is needed of any step before the last."""

    def observe(self, training: "Training") -> None:
        """Nothing is needed of any step before the last."""

    def state(self) -> dict[str, torch.Tensor]:
        """Empty."""
        return {}

    def load(self, state: Mapping[str, torch.Tensor]) -> None:
        """There is nothing to load."""

    def arrays(self, training: "Training") -> dict[str, np.ndarray]:
        """See the class."""
        with training.evaluated() as model:
            return {name: x.cpu().numpy().copy() for name, x in model.state_dict().items()}
