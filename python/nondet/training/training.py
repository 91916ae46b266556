"""What the training of every kind of model has in common."""

import math
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from nondet.studies.config import Job, RunConfig, Target
from nondet.studies.seeds import HELD, Onset, Seeds, effective
from nondet.training import perturb
from nondet.training.averaging import make_averaging
from nondet.training.checkpoint import Checkpoint
from nondet.training.optimizers import load_named_state, make_optimizer, named_state
from nondet.training.perturb import Perturbation
from nondet.training.result import DivergedError, EpochRecord, Result


class Recorder(Protocol):
    """Looks at one training and changes no bit of it."""

    @property
    def name(self) -> str:
        """The key of its arrays in `Result.records`, and of its state in a checkpoint."""
        ...

    @property
    def begins_by(self) -> int | None:
        """After how many steps of the training it can begin at the latest; None: at any."""
        ...

    def begin(self, training: "Training") -> None:
        """Begins, at the training's first step or at the state from which it goes on, and forgets
        what it saw before. Raises ValueError where that is after `begins_by`.
        """
        ...

    def observe(self, training: "Training") -> None:
        """Looks at the training after a step. May raise DivergedError."""
        ...

    def state(self) -> dict[str, torch.Tensor]:
        """A copy of all that it needs to go on, by names of its own."""
        ...

    def load(self, state: Mapping[str, torch.Tensor]) -> None:
        """Goes on from a `state`, which is copied; its tensors lie on any device. Raises ValueError
        where it does not fit.
        """
        ...

    def arrays(self, training: "Training") -> dict[str, np.ndarray]:
        """The record of a finished training."""
        ...


class EndRecorder:
    """A recorder that looks at the finished training alone: nothing is needed of any step before
    the last.
    """

    begins_by = None

    def begin(self, training: "Training") -> None:
        """See `Recorder`."""

    def observe(self, training: "Training") -> None:
        """See `Recorder`."""

    def state(self) -> dict[str, torch.Tensor]:
        """Empty."""
        return {}

    def load(self, state: Mapping[str, torch.Tensor]) -> None:
        """There is nothing to load."""


class Training(ABC):
    """A training in the making: `advance` does one step, `state` and `restore` stop and resume it.

    Attributes:
        step: optimizer steps done, of `total_steps`; epoch_ends: the steps that are done when each
            epoch ends.
        model, optimizer, averaging: live.
        history, perturbations: what is on record so far.
        recorders: what else is recorded; they look at the training after every step.

    Compute inside `deterministic(config.threads)`. The data set lies on `config.device`.
    """

    dataset: Any  # each kind of training has its own

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
        self.identity = Job(config, seeds, onset=self.onset).identity()
        self.epoch_ends = tuple(epoch_ends)
        self.total_steps = self.epoch_ends[-1]
        self.perturbation_step = perturbation_step(config, seeds, self.onset, self.epoch_ends)

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

    def _begin(self, recorders: Sequence[Recorder]) -> None:
        """The last part of the construction: recorders look at a whole training."""
        self.recorders = tuple(recorders)
        for recorder in self.recorders:
            recorder.begin(self)

    # -- where it is ---------------------------------------------------------------------------

    @property
    def epochs_done(self) -> int:
        """How many epochs are over."""
        return bisect_right(self.epoch_ends, self.step)

    @property
    def at_epoch_end(self) -> bool:
        """Whether the last step was the last of an epoch."""
        return self.step > 0 and self.step == self.epoch_begin(self.epochs_done)

    def epoch_begin(self, epoch: int) -> int:
        """The steps that are done when an epoch, counted from 0, begins."""
        return self.epoch_ends[epoch - 1] if epoch > 0 else 0

    # -- a step --------------------------------------------------------------------------------

    def advance(self) -> None:
        """One optimizer step, and what the end of an epoch asks for.

        Raises DivergedError when a loss or a prediction is no longer finite, found at the end of an
        epoch.
        """
        epoch = self.epochs_done
        number = self.step - self.epoch_begin(epoch)
        seeds = effective(self.seeds, self.onset, epoch)
        self._perturb("weights", "momentum", "statistics")
        self.model.train()
        self.optimizer.zero_grad()
        self._take_gradient(epoch, number, seeds)
        self.optimizer.step()
        self.step += 1
        self._after_step(epoch)
        if self.step == self.epoch_ends[epoch]:
            self._end_epoch(epoch + 1)
        for recorder in self.recorders:
            recorder.observe(self)

    @abstractmethod
    def _take_gradient(self, epoch: int, number: int, seeds: Seeds) -> None:
        """Sets the learning rate of step `number` of an epoch, both from 0, and the gradients, and
        adds the loss to `_loss_sum`.
        """

    def _after_step(self, epoch: int) -> None:
        """After the optimizer's step: averages take the new weights in."""
        if self.averaging is not None:
            length = self.epoch_ends[epoch] - self.epoch_begin(epoch)
            self.averaging.update(self.model, self.step, length)

    @abstractmethod
    def _end_epoch(self, epoch: int) -> None:
        """Evaluates after epoch number `epoch`, counted from 1, and puts it on record."""

    @abstractmethod
    def result(self) -> Result:
        """What the finished training leaves. Raises RuntimeError before the last step."""

    def _perturb(self, *targets: Target, images: torch.Tensor | None = None) -> None:
        """The small change, if it is of these and now is its step."""
        spec = self.config.perturbation
        if self.step != self.perturbation_step or spec.target not in targets:
            return
        offered = perturb.perturbable(spec.target, self.model, self.optimizer, images)
        self.perturbations.append(
            perturb.apply(spec, offered, self.seeds.key("bit"), step=self.step)
        )

    def _train_loss(self, epoch: int, count: int) -> float:
        """The sum of the losses since the last call, divided by their number. Raises DivergedError
        where it is not finite.
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
    def evaluated(self) -> Iterator[Any]:
        """Within, the model is the one whose predictions count: under the averaged weights if there
        are any.
        """
        averaged: AbstractContextManager[None] = nullcontext()
        if self.averaging is not None:
            averaged = self.averaging.evaluated(self.model, self.plain_batches())
        with averaged:
            yield self.model

    def plain_batches(self) -> Iterator[torch.Tensor]:
        """What batch-norm statistics are recomputed over; nothing where there are none."""
        return iter(())

    # -- states --------------------------------------------------------------------------------

    def named_tensors(self) -> dict[str, torch.Tensor]:
        """Everything that the training carries from step to step, live: "weights.<name>"
        (parameters and buffers), "momentum.<name>" (what the optimizer keeps), "averaging.<name>".
        """
        parts = {
            "weights": dict(self.model.state_dict()),
            "momentum": named_state(self.optimizer, self.model),
            "averaging": {} if self.averaging is None else self.averaging.state(),
            **self._carried(),
        }
        return {f"{part}.{name}": x for part, named in parts.items() for name, x in named.items()}

    def _carried(self) -> dict[str, dict[str, torch.Tensor]]:
        """What else trainings of a kind carry from step to step, live, part by part."""
        return {}

    def _kept(self) -> dict[str, torch.Tensor]:
        """Further tensors of a kind's state, by name."""
        return {}

    def _kept_record(self) -> dict[str, Any]:
        """What of a kind's state is no tensor, as JSON types."""
        return {}

    @abstractmethod
    def _load_own(self, tensors: Mapping[str, torch.Tensor], record: Mapping[str, Any]) -> None:
        """Takes the kind's own part of a state."""

    def state(self) -> Checkpoint:
        """A copy of all there is, on the CPU: a training that restores it goes on bit for bit."""
        tensors = self.named_tensors() | {"loss_sum": self._loss_sum} | self._kept()
        for recorder in self.recorders:
            kept = recorder.state()
            tensors |= {f"records.{recorder.name}.{key}": tensor for key, tensor in kept.items()}
        return Checkpoint(
            self.step,
            {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()},
            {
                "identity": self.identity,
                "history": [asdict(epoch) for epoch in self.history],
                "perturbations": [asdict(record) for record in self.perturbations],
                "records": [recorder.name for recorder in self.recorders],
                **self._kept_record(),
            },
        )

    @torch.no_grad()
    def restore(self, checkpoint: Checkpoint) -> None:
        """Goes on from a state of this configuration, be it of another run whose seeds agreed until
        there. A recorder of which the state holds nothing begins there. Raises ValueError where the
        state does not fit.
        """
        if not 0 <= checkpoint.step <= self.total_steps:
            raise ValueError(
                f"the checkpoint is of step {checkpoint.step}; the training has {self.total_steps}"
            )
        tensors = {name: x.to(self.config.device) for name, x in checkpoint.tensors.items()}
        try:
            self.model.load_state_dict(part_of(tensors, "weights"))
        except RuntimeError as error:
            raise ValueError(f"the checkpoint does not fit: {error}") from error
        load_named_state(self.optimizer, self.model, part_of(tensors, "momentum"))
        if self.averaging is not None:
            self.averaging.load(part_of(tensors, "averaging"))
        self._loss_sum.copy_(tensors["loss_sum"])
        self._load_own(tensors, checkpoint.record)
        self.step = checkpoint.step
        self.history = [EpochRecord(**epoch) for epoch in checkpoint.record["history"]]
        self.perturbations = [
            Perturbation(**record) for record in checkpoint.record["perturbations"]
        ]
        for recorder in self.recorders:
            if recorder.name in checkpoint.record.get("records", ()):
                recorder.load(part_of(tensors, f"records.{recorder.name}"))
            else:
                recorder.begin(self)


def perturbation_step(
    config: RunConfig, seeds: Seeds, onset: Onset, epoch_ends: Sequence[int]
) -> int | None:
    """After how many steps the one small change is made; None where the bit seed is held.

    Raises ValueError where the training, from the onset epoch on, has no such step.
    """
    if seeds.bit == HELD:
        return None
    step, total = config.perturbation.step, epoch_ends[-1]
    begin = epoch_ends[onset.bit - 1] if onset.bit > 0 else 0
    # A change at the very end of the training is a change that never comes.
    if onset.bit < config.epochs and begin + step >= total:
        raise ValueError(
            f"perturbation.step is {step} with onset in epoch {onset.bit}; the training has "
            f"{total} steps"
        )
    return begin + step


def part_of(tensors: Mapping[str, torch.Tensor], part: str) -> dict[str, torch.Tensor]:
    """The tensors whose names begin with "<part>.", without that beginning."""
    return {
        name.removeprefix(f"{part}."): tensor
        for name, tensor in tensors.items()
        if name.startswith(f"{part}.")
    }
