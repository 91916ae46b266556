"""The distance, step by step, between a training and one with all seeds held (paper, Sec. 4.1)."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from nondet.data import Dataset
from nondet.studies.config import RunConfig
from nondet.studies.seeds import SOURCES, Onset, Seeds, held, is_held
from nondet.training.checkpoint import with_prefix
from nondet.training.evaluation import model_inputs
from nondet.training.images import ImageTraining
from nondet.training.perturb import perturbation_step
from nondet.training.record_sizes import (
    EPOCH_SERIES,
    INTEGER_SERIES,
    PROBE_IMAGES,
    STEP_SERIES,
)
from nondet.training.recorders.path import flat_parameters, loss_path
from nondet.training.result import DivergedError, EpochRecord
from nondet.training.training import Training


class Twin:
    """Trains a twin with the same configuration and all seeds held, and records how far it is from
    the run.

    The twin starts from the run's state at the step from which the two can differ (see
    `first_difference`); until then they are one training. Recording doubles the time.

    Arrays (float64 unless noted; distances are computed in float64):

    After every step from there on, for the weights as trained, in evaluation mode: "step" (T,)
    int64, steps done; "weights_l2" (T,), the L2 distance of all parameters; "weights_norm" (T,),
    the L2 norm of the twin's; "probe_logits_rms" (T,), the root mean square difference of the
    logits of the first `PROBE_IMAGES` test images; "probe_disagreement" (T,), the fraction of these
    images with different predicted classes.
    After every evaluated epoch, on all test images and with averaged weights, if any: "epoch" (E,)
    int64, epochs done; "epoch_logits_rms", "epoch_disagreement" (E,) as above; "epoch_accuracy",
    "epoch_cross_entropy" (E,) of the run and "epoch_accuracy_twin", "epoch_cross_entropy_twin" (E,)
    of the twin; accuracies are fractions, cross-entropies in nats.
    "initial_change" (1,): |new - old| of the perturbed weight, 0 if no weight was perturbed.
    At the end: "alpha" and the losses on the path from the run (0) to the twin (1); see
    `path.loss_path`.

    If the twin diverges, the run fails with DivergedError: there is nothing to compare it with, and
    the twin is the study's control.

    Attributes:
        twin: the twin, live.
    """

    name = "twin"

    def __init__(self, config: RunConfig, seeds: Seeds, onset: Onset, dataset: Dataset) -> None:
        self._config, self._seeds, self._dataset = config, seeds, dataset
        self.twin = ImageTraining(config, held(config.held_seed), dataset)
        self.latest_start: int = first_difference(config, seeds, onset, self.twin.epoch_ends)
        self._series: dict[str, list[float]] = {name: [] for name in (*STEP_SERIES, *EPOCH_SERIES)}
        images = dataset.test_images[:PROBE_IMAGES]
        self._probe = model_inputs(self.twin.model, self.twin.dataset, images)

    def start(self, training: Training) -> None:
        """See `Recorder`."""
        if training.step > self.latest_start:
            raise ValueError(
                f"the record 'twin' must begin by step {self.latest_start}, from which on the run "
                f"and its twin can differ; the training is at step {training.step}"
            )
        for values in self._series.values():
            values.clear()
        if training.step == self.latest_start:
            self._start_twin(training)

    def observe(self, training: Training) -> None:
        """Do the twin's step and compare the two. Raises DivergedError if the twin diverges."""
        if training.step < self.latest_start:
            return
        if training.step == self.latest_start:
            self._start_twin(training)
            return
        try:
            self.twin.advance()
        except DivergedError as error:
            reason = f"the twin with every seed held: {error.reason}"
            raise training.diverged(reason, error.epoch) from error
        self._append(STEP_SERIES, training.step, *self._distances(training))
        if training.at_epoch_end:
            assert isinstance(training, ImageTraining)
            self._compare_epoch(training.history[-1], self.twin.history[-1], training.test_logits)

    def state(self) -> dict[str, torch.Tensor]:
        """See `Recorder`."""
        return {
            "step": torch.tensor(self.twin.step),
            **{f"training.{name}": tensor for name, tensor in self.twin.state_tensors().items()},
            **{f"series.{name}": torch.from_numpy(x) for name, x in self._arrays().items()},
        }

    def load(self, state: Mapping[str, torch.Tensor]) -> None:
        """See `Recorder`."""
        series = with_prefix(state, "series")
        if series.keys() != self._series.keys() or "step" not in state:
            wrong = ", ".join(sorted(series.keys() ^ self._series.keys())) or "step"
            raise ValueError(f"the state of 'twin' lacks, or should not have: {wrong}")
        step = state["step"]
        if step.shape != () or step.dtype != torch.int64:
            raise ValueError(
                f"'step' in the state of 'twin' is {step.dtype} of shape {tuple(step.shape)}; it "
                "must be an integer"
            )
        _check_series(series)
        # The series have everything that the twin had on record.
        self.twin.restore_tensors(int(step), with_prefix(state, "training"))
        self._series = {name: series[name].tolist() for name in self._series}

    def arrays(self, training: Training) -> dict[str, np.ndarray]:
        """Return the arrays; see the class."""
        change = np.array([_initial_change(training)])
        return self._arrays() | {"initial_change": change} | loss_path(training, self.twin)

    def _start_twin(self, training: Training) -> None:
        """Start the twin from the run's state, or from held initial weights if the run's differ."""
        if is_held(self._seeds, "init", self._config.held_seed):
            self.twin.restore_tensors(training.step, training.state_tensors())
        else:
            self.twin = ImageTraining(self._config, held(self._config.held_seed), self._dataset)

    @torch.no_grad()
    def _distances(self, training: Training) -> list[float]:
        """Compute the values of one step, in the order of `STEP_SERIES`, but for the step."""
        models = training.model, self.twin.model
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
        """Record the differences of an epoch's predictions, if it was evaluated."""
        if ours.test_accuracy is None or ours.test_cross_entropy is None:
            return
        values = [ours.test_accuracy, ours.test_cross_entropy]
        values += [x for x in (theirs.test_accuracy, theirs.test_cross_entropy) if x is not None]
        both = [torch.from_numpy(x) for x in (logits, self.twin.test_logits) if x is not None]
        self._append(EPOCH_SERIES, ours.epoch, *difference(*both).tolist(), *values)

    def _append(self, names: tuple[str, ...], *values: float) -> None:
        for name, value in zip(names, values, strict=True):
            self._series[name].append(value)

    def _arrays(self) -> dict[str, np.ndarray]:
        return {
            name: np.array(values, np.int64 if name in INTEGER_SERIES else np.float64)
            for name, values in self._series.items()
        }


def _check_series(series: Mapping[str, torch.Tensor]) -> None:
    """Raise ValueError unless series are vectors of their dtypes, those of a kind equally long."""
    for names in (STEP_SERIES, EPOCH_SERIES):
        length = series[names[0]].numel()
        for name in names:
            dtype = torch.int64 if name in INTEGER_SERIES else torch.float64
            given = series[name]
            if given.shape != (length,) or given.dtype != dtype:
                raise ValueError(
                    f"'series.{name}' in the state of 'twin' is {given.dtype} of shape "
                    f"{tuple(given.shape)}; expected {dtype} of shape {(length,)}"
                )


def first_difference(
    config: RunConfig, seeds: Seeds, onset: Onset, epoch_ends: Sequence[int]
) -> int:
    """Return the number of steps after which a run and its held twin can first differ.

    It is the first onset of a source with a seed of its own, for the bit the step of the
    perturbation, at most the number of all steps. 0 if the initial weights differ, and if every
    seed is held: then all distances are 0.
    """
    step = perturbation_step(config, seeds, onset, epoch_ends)
    steps = [] if step is None else [step]
    for source in SOURCES:
        if source != "bit" and not is_held(seeds, source, config.held_seed):
            begin = getattr(onset, source, 0)
            steps.append(epoch_ends[begin - 1] if begin > 0 else 0)
    return min([*steps, epoch_ends[-1]]) if steps else 0


def difference(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Compare two arrays of logits, (examples, classes): return their root mean square difference
    and the fraction of examples with different predicted classes, (2,) float64.
    """
    rms = (a.double() - b.double()).square().mean().sqrt()
    return torch.stack([rms, (a.argmax(1) != b.argmax(1)).double().mean()])


def _initial_change(training: Training) -> float:
    """Return |new - old| of the perturbed weight: 0 if there is none, NaN if not finite."""
    for change in training.perturbations:
        if change.target == "weights":
            if change.old_value is None or change.new_value is None:
                return np.nan
            return abs(change.new_value - change.old_value)
    return 0.0
