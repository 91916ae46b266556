"""The final weights of a training."""

import numpy as np

from nondet.training.recorders.end import EndRecorder
from nondet.training.training import Training


class Weights(EndRecorder):
    """Records the state of the model that is the training's result (`Training.final_model`), with
    the averaged weights, if any.

    Arrays: every tensor of its `state_dict()`, by name.
    """

    name = "weights"

    def arrays(self, training: Training) -> dict[str, np.ndarray]:
        """Return the arrays; see the class."""
        with training.final_model() as model:
            return {name: x.cpu().numpy().copy() for name, x in model.state_dict().items()}
