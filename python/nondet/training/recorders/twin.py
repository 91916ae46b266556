"""A training beside its held twin: how a small change grows, step by step (paper, Sec. 4.1)."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from nondet.data import Dataset
from nondet.studies.config import RunConfig
from nondet.studies.seeds import HELD, Onset, Seeds
from nondet.training.checkpoint import Checkpoint
from nondet.training.evaluation import laid_out_for
from nondet.training.images import ImageTraining
from nondet.training.recorders.path import flat_parameters, loss_path
from nondet.training.result import DivergedError, EpochRecord
from nondet.training.training import Training, perturbation_step

PROBE_IMAGES = 256
"""So many test images, the first ones, are predicted after every step."""

_STEPS = ("step", "weights_l2", "weights_norm", "probe_logits_rms", "probe_disagreement")
_EPOCHS = (
    "epoch",
    "epoch_logits_rms",
    "epoch_disagreement",
    "epoch_accuracy",
    "epoch_cross_entropy",
    "epoch_accuracy_twin",
    "epoch_cross_entropy_twin",
)
_COUNTS = ("step", "epoch")  # int64; all others are float64


class Twin:
    """Trains a twin with the same configuration and every seed held, from the step at which the two
    can first differ: the first onset of a source of the run's own, for the bit the step of the
    small change. Until then they are one training. (Where the run itself is held, that is the
    beginning, and all distances are 0.) It doubles the time.

    Arrays, distances computed in float64:

    After every step from there on: "step" (T,) int64, steps done; "weights_l2" (T,), the L2
    distance of all parameters, and "weights_norm" (T,), the L2 norm of the twin's, both of the
    weights as trained; "probe_logits_rms" (T,), the root mean square difference of the logits of
    the first `PROBE_IMAGES` test images, and "probe_disagreement" (T,), the fraction of these
    predicted differently, in evaluation mode.
    After every evaluated epoch, on all test images and under averaged weights if there are any:
    "epoch" (E,) int64, epochs done; "epoch_logits_rms", "epoch_disagreement" (E,) as above;
    "epoch_accuracy", "epoch_cross_entropy" of the run, "epoch_accuracy_twin",
    "epoch_cross_entropy_twin" (E,); accuracies are fractions, cross-entropies in nats.
    "initial_change" (1,): |new - old| of the weight that the small change was made to, 0 where the
    change was none of a weight.
    At the end "alpha" and the losses along the path between the two (see `path.loss_path`), from
    the run (0) to the twin (1).

    A twin that diverges makes the run fail as diverged: without it there is nothing to compare
    with, and it is the study's control.
    """

    name = "twin"

    def __init__(self, config: RunConfig, seeds: Seeds, onset: Onset, dataset: Dataset) -> None:
        self._config, self._seeds, self._dataset = config, seeds, dataset
        self._twin = ImageTraining(config, Seeds(), dataset)
        self.begins_by: int = first_difference(config, seeds, onset, self._twin.epoch_ends)
        self._series: dict[str, list[float]] = {name: [] for name in (*_STEPS, *_EPOCHS)}
        self._probe = dataset.normalized(dataset.test_images[:PROBE_IMAGES])
        self._probe = laid_out_for(self._twin.model, self._probe)

    def begin(self, training: Training) -> None:
        """See `Recorder`."""
        if training.step > self.begins_by:
            raise ValueError(
                f"the record 'twin' must begin by step {self.begins_by}, from which on the run and "
                f"its twin can differ; the training is at step {training.step}"
            )
        for values in self._series.values():
            values.clear()
        if training.step == self.begins_by:
            self._part(training)

    def observe(self, training: Training) -> None:
        """Does the twin's step and compares the two. Raises DivergedError where the twin does."""
        if training.step < self.begins_by:
            return
        if training.step == self.begins_by:
            self._part(training)
            return
        twin = self._twin
        try:
            twin.advance()
        except DivergedError as error:
            reason = f"the twin with every seed held: {error.reason}"
            raise training.diverged(reason, error.epoch) from error
        self._append(_STEPS, training.step, *self._distances(training))
        if training.at_epoch_end:
            assert isinstance(training, ImageTraining)
            self._compare_epoch(training.history[-1], twin.history[-1], training.test_logits)

    def state(self) -> dict[str, torch.Tensor]:
        """See `Recorder`."""
        twin = self._twin.state()
        return {
            "step": torch.tensor(twin.step),
            **{f"training.{name}": tensor for name, tensor in twin.tensors.items()},
            **{f"series.{name}": torch.from_numpy(x) for name, x in self._arrays().items()},
        }

    def load(self, state: Mapping[str, torch.Tensor]) -> None:
        """See `Recorder`."""
        given = {name.removeprefix("series.") for name in state if name.startswith("series.")}
        if given != self._series.keys() or "step" not in state:
            wrong = ", ".join(sorted(given ^ self._series.keys())) or "step"
            raise ValueError(f"the state of 'twin' lacks, or should not have: {wrong}")
        prefix = "training."
        tensors = {
            name.removeprefix(prefix): tensor
            for name, tensor in state.items()
            if name.startswith(prefix)
        }
        # What the twin had on record is in the series.
        record: dict[str, Any] = {"history": [], "perturbations": []}
        self._twin.restore(Checkpoint(int(state["step"]), tensors, record))
        self._series = {name: state[f"series.{name}"].tolist() for name in self._series}

    def arrays(self, training: Training) -> dict[str, np.ndarray]:
        """See the class."""
        change = np.array([_initial_change(training)])
        return self._arrays() | {"initial_change": change} | loss_path(training, self._twin)

    def _part(self, training: Training) -> None:
        """The twin goes its own way from the run's state; from the very beginning, where this has
        initial weights of its own.
        """
        if self._seeds.init == HELD:
            self._twin.restore(training.state())
        else:
            self._twin = ImageTraining(self._config, Seeds(), self._dataset)

    @torch.no_grad()
    def _distances(self, training: Training) -> list[float]:
        """The values of one step, in the order of `_STEPS`."""
        models = training.model, self._twin.model
        ours, theirs = (flat_parameters(model) for model in models)
        norms = torch.stack([(ours - theirs).norm(), theirs.norm()])
        for model in models:
            model.eval()
        logits = (model(self._probe) for model in models)
        values: list[float] = torch.cat([norms, difference(*logits)]).tolist()
        return values

    def _compare_epoch(
        self, ours: EpochRecord, theirs: EpochRecord, logits: np.ndarray | None
    ) -> None:
        """Puts an epoch's predictions on record, if it was evaluated."""
        if ours.test_accuracy is None or ours.test_cross_entropy is None:
            return
        values = [ours.test_accuracy, ours.test_cross_entropy]
        values += [x for x in (theirs.test_accuracy, theirs.test_cross_entropy) if x is not None]
        both = [torch.from_numpy(x) for x in (logits, self._twin.test_logits) if x is not None]
        self._append(_EPOCHS, ours.epoch, *difference(*both).tolist(), *values)

    def _append(self, names: tuple[str, ...], *values: float) -> None:
        for name, value in zip(names, values, strict=True):
            self._series[name].append(value)

    def _arrays(self) -> dict[str, np.ndarray]:
        return {
            name: np.array(values, np.int64 if name in _COUNTS else np.float64)
            for name, values in self._series.items()
        }


def first_difference(
    config: RunConfig, seeds: Seeds, onset: Onset, epoch_ends: Sequence[int]
) -> int:
    """After how many steps, at most all, a run and its held twin are still one training; 0 where
    every seed is held or the initial weights differ.
    """
    step = perturbation_step(config, seeds, onset, epoch_ends)
    steps = [] if step is None else [step]
    for source, seed in vars(seeds).items():
        if seed != HELD and source != "bit":
            begin = getattr(onset, source, 0)
            steps.append(epoch_ends[begin - 1] if begin > 0 else 0)
    return min([*steps, epoch_ends[-1]]) if steps else 0


def difference(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Of two arrays of logits (examples, classes): the root mean square difference, and the
    fraction of examples whose predicted classes differ; (2,) float64.
    """
    rms = (a.double() - b.double()).square().mean().sqrt()
    return torch.stack([rms, (a.argmax(1) != b.argmax(1)).double().mean()])


def _initial_change(training: Training) -> float:
    """|new - old| of the weight that was changed, 0 if none was."""
    for change in training.perturbations:
        if change.target == "weights":
            if change.old_value is None or change.new_value is None:
                return np.nan
            return abs(change.new_value - change.old_value)
    return 0.0
