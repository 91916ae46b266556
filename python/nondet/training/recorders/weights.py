"""The final weights, for whoever wants to compute with a trained model again."""

import numpy as np

from nondet.training.training import EndRecorder, Training


class Weights(EndRecorder):
    """Keeps the state of the final model (under the averaged weights, if there are any).

    Arrays: every entry of its `state_dict()`, by name.
    """

    name = "weights"

    def arrays(self, training: Training) -> dict[str, np.ndarray]:
        """See the class."""
        with training.evaluated() as model:
            return {name: x.cpu().numpy().copy() for name, x in model.state_dict().items()}
