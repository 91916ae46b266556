"""A training: its steps, its state, and the recorders that observe it."""

import math
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from nondet.environment import describe_environment
from nondet.studies.config import RunConfig
from nondet.studies.job import Job
from nondet.studies.seeds import Onset, Seeds, effective
from nondet.studies.specs import Target
from nondet.training import perturb
from nondet.training.averaging import make_averaging
from nondet.training.checkpoint import Checkpoint, with_prefix
from nondet.training.checkpoint_files import Record
from nondet.training.determinism import deterministic
from nondet.training.optimizers import (
    expected_state,
    load_named_state,
    make_optimizer,
    named_state,
)
from nondet.training.perturb import Perturbation
from nondet.training.precision import step_precision
from nondet.training.result import DivergedError, EpochRecord, Result
from nondet.training.state_checks import check_record, check_tensors


class Recorder(Protocol):
    """An observer of one training that changes no bit of it."""

    @property
    def name(self) -> str:
        """The key of its arrays in `Result.records`, and of its state in a checkpoint."""
        ...

    @property
    def latest_start(self) -> int | None:
        """The number of training steps after which it can start at the latest; None if any."""
        ...

    def start(self, training: "Training") -> None:
        """Start, at the training's first step or at a restored state, without earlier records.
        Raises ValueError if the training is past `latest_start`.
        """
        ...

    def observe(self, training: "Training") -> None:
        """Observe the training after a step. May raise DivergedError."""
        ...

    def state(self) -> dict[str, torch.Tensor]:
        """Return a copy of everything that it needs to continue, by names of its own."""
        ...

    def load(self, state: Mapping[str, torch.Tensor]) -> None:
        """Copy a `state`, on any device, to continue from. Raises ValueError if it does not fit."""
        ...

    def arrays(self, training: "Training") -> dict[str, np.ndarray]:
        """Return the record of a finished training."""
        ...


class Training(ABC):
    """A training in progress: `advance` does one step, `state` and `restore` stop and resume it.

    Use it within `deterministic(config.threads)`.

    Attributes:
        dataset: the data set, on `config.device`.
        step, total_steps: optimizer steps done, and to be done.
        epoch_ends: the number of steps done at the end of each epoch.
        model, optimizer, averaging: live.
        history, perturbations: the records so far.
        recorders: observe the training after every step.
    """

    dataset: Any  # the type is that of the subclass

    def __init__(
        self,
        config: RunConfig,
        seeds: Seeds,
        onset: Onset | None,
        model: nn.Module,
        epoch_ends: Sequence[int],
        batch_shape: tuple[int, ...],
    ) -> None:
        self.config, self.seeds = config, seeds
        self.onset = onset if onset is not None else Onset()
        self._job = Job(config, seeds, onset=self.onset)
        self.epoch_ends = tuple(epoch_ends)
        self.total_steps = self.epoch_ends[-1]
        self.perturbation_step = perturb.perturbation_step(
            config, seeds, self.onset, self.epoch_ends
        )

        self.step = 0
        self.model = model
        self.optimizer = make_optimizer(model, config)
        self.averaging = make_averaging(model, config)
        self.history: list[EpochRecord] = []
        self.perturbations: list[Perturbation] = []
        self.recorders: tuple[Recorder, ...] = ()
        self._loss_sum = torch.zeros((), dtype=torch.float64, device=config.device)
        if self.perturbation_step is not None:
            perturb.check(config.perturbation, model, batch_shape)

    def _start_recorders(self, recorders: Sequence[Recorder]) -> None:
        """Start recorders. A subclass calls it last: recorders need the complete training."""
        self.recorders = tuple(recorders)
        for recorder in self.recorders:
            recorder.start(self)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """The identity of the training as a job, with the digest of its data (`Job.identity`)."""
        return replace(self._job, data=self.data_sha256).identity()

    @property
    def data_sha256(self) -> str:
        """The digest of the data set as it was given."""
        sha256: str = self.dataset.sha256
        return sha256

    @cached_property
    def environment(self) -> dict[str, Any]:
        """The environment in which the training computes (`describe_environment`)."""
        with deterministic(self.config.threads):
            return describe_environment(self.config.device)

    # -- progress ------------------------------------------------------------------------------

    @property
    def epochs_done(self) -> int:
        """The number of finished epochs."""
        return bisect_right(self.epoch_ends, self.step)

    @property
    def at_epoch_end(self) -> bool:
        """True if the last step ended an epoch."""
        return self.step > 0 and self.step == self.epoch_begin(self.epochs_done)

    def epoch_begin(self, epoch: int) -> int:
        """Return the number of steps done when an epoch, counted from 0, begins."""
        return self.epoch_ends[epoch - 1] if epoch > 0 else 0

    # -- a step --------------------------------------------------------------------------------

    def advance(self) -> None:
        """Do one optimizer step; after the last one of an epoch, evaluate.

        Raises DivergedError at the end of an epoch if a loss or a prediction is not finite.
        """
        epoch = self.epochs_done
        number = self.step - self.epoch_begin(epoch)
        seeds = effective(self.seeds, self.onset, epoch, self.config.held_seed)
        self._perturb("weights", "momentum", "statistics")
        self.model.train()
        self.optimizer.zero_grad()
        with step_precision(self.config):
            self._compute_gradients(epoch, number, seeds)
        self.optimizer.step()
        self.step += 1
        self._update_averaging(epoch)
        if self.step == self.epoch_ends[epoch]:
            self._end_epoch(epoch + 1)
        for recorder in self.recorders:
            recorder.observe(self)

    @abstractmethod
    def _compute_gradients(self, epoch: int, number: int, seeds: Seeds) -> None:
        """Set the learning rate and the gradients of step `number` of an epoch, both counted from
        0, and add the loss to `_loss_sum`.
        """

    def _update_averaging(self, epoch: int) -> None:
        """Add the weights to their average after an optimizer step in `epoch`, counted from 0."""
        if self.averaging is not None:
            length = self.epoch_ends[epoch] - self.epoch_begin(epoch)
            self.averaging.update(self.model, self.step, length)

    @abstractmethod
    def _end_epoch(self, epoch: int) -> None:
        """Evaluate after epoch number `epoch`, counted from 1, and add its record to `history`."""

    @abstractmethod
    def result(self) -> Result:
        """Return the result of the finished training. Raises RuntimeError before the last step."""

    def _perturb(self, *targets: Target, images: torch.Tensor | None = None) -> None:
        """Make the perturbation if its target is one of these and its step is now."""
        spec = self.config.perturbation
        if self.step != self.perturbation_step or spec.target not in targets:
            return
        tensors = perturb.perturbable(spec.target, self.model, self.optimizer, images)
        self.perturbations.append(
            perturb.apply(spec, tensors, self.seeds.key("bit"), step=self.step)
        )

    def _mean_train_loss(self, epoch: int, count: float) -> float:
        """Return the mean loss of an epoch, the sum over `count`, and set the sum to 0. Raises
        DivergedError if it is not finite.

        count: number of losses; a smaller batch counts as a part of one.
        """
        loss = self._loss_sum.item() / count
        self._loss_sum.zero_()
        if not math.isfinite(loss):
            raise self.diverged(f"the training loss is {loss}", epoch)
        return loss

    def diverged(self, reason: str, epoch: int) -> DivergedError:
        """Return the error that says why this training stops in `epoch`, counted from 1."""
        return DivergedError(
            reason,
            epoch=epoch,
            step=self.step,
            history=self.history,
            perturbations=self.perturbations,
        )

    def _check_finished(self) -> None:
        if self.step < self.total_steps:
            raise RuntimeError(f"{self.step} of {self.total_steps} steps are done")

    @contextmanager
    def evaluation_model(self) -> Iterator[Any]:
        """Yield the model to evaluate: within the context it has the averaged weights, if any."""
        averaged: AbstractContextManager[None] = nullcontext()
        if self.averaging is not None:
            averaged = self.averaging.averaged_weights(self.model, self.statistics_batches())
        with averaged:
            yield self.model

    def final_model(self) -> AbstractContextManager[Any]:
        """Return a context with the model that is the result of the finished training."""
        return self.evaluation_model()

    def statistics_batches(self) -> Iterator[torch.Tensor]:
        """Yield the batches over which batch-norm statistics are recomputed, if there are any."""
        return iter(())

    # -- states --------------------------------------------------------------------------------

    def named_tensors(self) -> dict[str, torch.Tensor]:
        """Return the live tensors that the training carries from step to step: "weights.<name>"
        (parameters and buffers), "momentum.<name>" (the optimizer's state), "averaging.<name>".
        """
        parts = {
            "weights": dict(self.model.state_dict()),
            "momentum": named_state(self.optimizer, self.model),
            "averaging": {} if self.averaging is None else self.averaging.state(),
            **self._carried_tensors(),
        }
        return {f"{part}.{name}": x for part, named in parts.items() for name, x in named.items()}

    def _carried_tensors(self) -> dict[str, dict[str, torch.Tensor]]:
        """Return further live tensors that a subclass carries from step to step, part by part."""
        return {}

    def _extra_tensors(self) -> dict[str, torch.Tensor]:
        """Return further tensors of a subclass's state, by name."""
        return {}

    def _expected_extra(self, epochs: int) -> dict[str, torch.Tensor]:
        """Return tensors of the names, shapes and dtypes of `_extra_tensors` after so many epochs;
        they need no data.
        """
        return {}

    def _extra_record(self) -> dict[str, Any]:
        """Return the part of a subclass's state that is not tensors, as JSON types."""
        return {}

    @abstractmethod
    def _load_extra(self, tensors: Mapping[str, torch.Tensor], record: Record | None) -> None:
        """Load the subclass's part of a state that fits. record: None for a state without it."""

    def state_tensors(self) -> dict[str, torch.Tensor]:
        """Return a copy, on the CPU, of all tensors of the state but those of recorders."""
        tensors = self.named_tensors() | {"loss_sum": self._loss_sum} | self._extra_tensors()
        return {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}

    def state(self) -> Checkpoint:
        """Return a copy of the whole state on the CPU. A training that restores it continues with
        the same bits.
        """
        tensors = self.state_tensors()
        for recorder in self.recorders:
            for key, tensor in recorder.state().items():
                tensors[f"records.{recorder.name}.{key}"] = tensor.detach().cpu().clone()
        return Checkpoint(
            self.step,
            tensors,
            {
                "identity": self.identity,
                "environment": self.environment,
                "history": [asdict(epoch) for epoch in self.history],
                "perturbations": [asdict(record) for record in self.perturbations],
                "records": [recorder.name for recorder in self.recorders],
                **self._extra_record(),
            },
        )

    def restore(self, checkpoint: Checkpoint) -> None:
        """Continue from a state of this configuration, of this run or of another one whose seeds
        have had the same effect so far. A recorder without a part in the state starts here.

        Identity and environment are not compared; see `checkpoint.latest` and `start.check_start`.
        Raises ValueError if the state does not fit.
        """
        self._check_step(checkpoint.step)
        record = self._check_record(checkpoint.step, checkpoint.record)
        self.restore_tensors(checkpoint.step, checkpoint.tensors, record)
        self.history = [EpochRecord(**epoch) for epoch in record["history"]]
        self.perturbations = [Perturbation(**entry) for entry in record["perturbations"]]
        for recorder in self.recorders:
            if recorder.name in record["records"]:
                recorder.load(with_prefix(checkpoint.tensors, f"records.{recorder.name}"))
            else:
                recorder.start(self)

    @torch.no_grad()
    def restore_tensors(
        self, step: int, tensors: Mapping[str, torch.Tensor], record: Record | None = None
    ) -> None:
        """Continue from the `state_tensors` after a step. Without their record, history and
        perturbations are empty. Raises ValueError, before anything changes, if they do not fit.
        """
        self._check_step(step)
        expected = self._expected_tensors(step)
        found = {name: x for name, x in tensors.items() if not name.startswith("records.")}
        check_tensors(found, expected)
        found = {name: x.to(self.config.device) for name, x in found.items()}
        if self.averaging is not None:
            self.averaging.load(with_prefix(found, "averaging"))
        self.model.load_state_dict(with_prefix(found, "weights"))
        load_named_state(self.optimizer, self.model, with_prefix(found, "momentum"))
        self._loss_sum.copy_(found["loss_sum"])
        self._load_extra(found, record)
        self.step = step
        self.history, self.perturbations = [], []

    def _expected_tensors(self, step: int) -> dict[str, torch.Tensor]:
        """Return tensors of the names, shapes and dtypes of `state_tensors` after a step."""
        current = self.named_tensors()
        momentum = expected_state(self.optimizer, self.model) if step > 0 else {}
        return {
            **{name: x for name, x in current.items() if not name.startswith("momentum.")},
            **{f"momentum.{name}": x for name, x in momentum.items()},
            "loss_sum": self._loss_sum,
            **self._expected_extra(bisect_right(self.epoch_ends, step)),
        }

    def _check_step(self, step: int) -> None:
        if not 0 <= step <= self.total_steps:
            raise ValueError(
                f"the checkpoint is of step {step}; the training has {self.total_steps}"
            )

    def _check_record(self, step: int, record: Mapping[str, Any]) -> Record:
        """Return the record of a state after a step. Raises ValueError if it does not fit."""
        return check_record(record, step, self.epoch_ends, self.perturbation_step)
