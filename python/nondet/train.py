"""One training, start to end: a pure function of its configuration and its seeds."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from nondet import lowlevel, metrics, perturb
from nondet.checkpoint import Checkpoint, Checkpoints
from nondet.config import Job, RunConfig, Target
from nondet.data import Dataset, batch, epoch_order
from nondet.determinism import deterministic as deterministic
from nondet.evaluate import laid_out_for, predict, weights_sha256
from nondet.models import ImageModel, begin_step, build_model, stochastic_layers
from nondet.optimize.averaging import make_averaging
from nondet.optimize.offsets import weight_offsets
from nondet.optimize.optimizers import load_named_state, make_optimizer, named_state, set_rate
from nondet.optimize.schedules import rate, snapshot_epochs
from nondet.perturb import Perturbation
from nondet.result import DivergedError as DivergedError
from nondet.result import EpochRecord as EpochRecord
from nondet.result import Result as Result
from nondet.seeds import HELD, Onset, Seeds, effective

if TYPE_CHECKING:
    from nondet.record import Recorder

_PREPARED_EXAMPLES = 2048


class Training:
    """A training in the making: `advance` does one step, `state` and `restore` stop and resume it.

    Attributes:
        step: optimizer steps done, of `total_steps`; `steps_per_epoch` of them make an epoch. The
            last, smaller batch of an epoch is left out: every step sees a full batch.
        model, optimizer, averaging: live.
        history, perturbations: what is on record so far.
        recorders: what else is recorded; they look at the training after every step.
        test_logits: of the last epoch that was evaluated, since the training began or was resumed.

    Compute inside `deterministic(config.threads)`. The data set lies on `config.device`.
    """

    def __init__(
        self,
        config: RunConfig,
        seeds: Seeds,
        dataset: Dataset,
        onset: Onset | None = None,
        recorders: Sequence["Recorder"] = (),
    ) -> None:
        examples = len(dataset.train_labels)
        self.steps_per_epoch = examples // config.batch_size
        if self.steps_per_epoch == 0:
            raise ValueError(
                f"batch_size is {config.batch_size}; the data set has {examples} training examples"
            )
        self.config, self.seeds, self.dataset = config, seeds, dataset
        self.onset = onset if onset is not None else Onset()
        self.identity = Job(config, seeds, onset=self.onset).identity()
        self.total_steps = config.epochs * self.steps_per_epoch
        self.perturbation_step = perturbation_step(config, seeds, self.onset, self.steps_per_epoch)

        self.step = 0
        self.model = build_model(
            config.model,
            dataset.image_shape,
            dataset.classes,
            seeds.key("init"),
            config.device,
            dropout=config.dropout,
        )
        self._converts = config.lowlevel not in ("off", "vendor")
        if self._converts:
            lowlevel.convert(self.model, chunks=config.chunks)
        self.optimizer = make_optimizer(self.model, config)
        self.averaging = make_averaging(self.model, config)
        self.history: list[EpochRecord] = []
        self.perturbations: list[Perturbation] = []
        self.test_logits: np.ndarray | None = None
        self._snapshots: list[np.ndarray] = []
        self._loss_sum = torch.zeros((), dtype=torch.float64, device=config.device)
        self._layers = lowlevel.layers(self.model), stochastic_layers(self.model)
        self._order = (-1, torch.empty(0))
        self._block = ((-1, -1), torch.empty(0), torch.empty(0))
        self._labels = dataset.test_labels.cpu().numpy()
        if self.perturbation_step is not None:
            perturb.check(
                config.perturbation, self.model, (config.batch_size, *dataset.image_shape)
            )
        self.recorders = tuple(recorders)
        for recorder in self.recorders:
            recorder.begin(self)

    def advance(self) -> None:
        """One optimizer step, and what the end of an epoch asks for.

        Raises DivergedError when a loss or a prediction is no longer finite, found at the end of an
        epoch.
        """
        config, model = self.config, self.model
        epoch, number = divmod(self.step, self.steps_per_epoch)
        seeds = effective(self.seeds, self.onset, epoch)
        self._perturb("weights", "momentum", "statistics")

        images, labels = self._batch(epoch, number, seeds)
        self._perturb("pixel", images=images)

        model.train()
        set_rate(self.optimizer, rate(config, self.step, self.steps_per_epoch))
        self.optimizer.zero_grad()
        with self._gradient_at(seeds):
            loss = self._loss(model(images), labels, seeds)
            loss.backward()
        self._perturb("gradient")
        self.optimizer.step()
        self._loss_sum += loss.detach()
        self.step += 1
        if self.averaging is not None:
            self.averaging.update(model, self.step, self.steps_per_epoch)
        if self.step % self.steps_per_epoch == 0:
            self._end_epoch(epoch + 1)
        for recorder in self.recorders:
            recorder.observe(self)

    def named_tensors(self) -> dict[str, torch.Tensor]:
        """Everything that the training carries from step to step, live: "weights.<name>"
        (parameters and buffers), "momentum.<name>" (what the optimizer keeps), "averaging.<name>".
        """
        parts = {
            "weights": dict(self.model.state_dict()),
            "momentum": named_state(self.optimizer, self.model),
            "averaging": {} if self.averaging is None else self.averaging.state(),
        }
        return {f"{part}.{name}": x for part, named in parts.items() for name, x in named.items()}

    def state(self) -> Checkpoint:
        """A copy of all there is, on the CPU: a training that restores it goes on bit for bit."""
        tensors = self.named_tensors() | {"loss_sum": self._loss_sum}
        tensors |= {
            f"snapshots.{i}": torch.from_numpy(logits) for i, logits in enumerate(self._snapshots)
        }
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
            self.model.load_state_dict(_part(tensors, "weights"))
        except RuntimeError as error:
            raise ValueError(f"the checkpoint does not fit: {error}") from error
        load_named_state(self.optimizer, self.model, _part(tensors, "momentum"))
        if self.averaging is not None:
            self.averaging.load(_part(tensors, "averaging"))
        self._loss_sum.copy_(tensors["loss_sum"])
        snapshots = _part(tensors, "snapshots")
        self._snapshots = [snapshots[str(i)].cpu().numpy() for i in range(len(snapshots))]
        self.step = checkpoint.step
        self.history = [EpochRecord(**epoch) for epoch in checkpoint.record["history"]]
        self.perturbations = [
            Perturbation(**record) for record in checkpoint.record["perturbations"]
        ]
        for recorder in self.recorders:
            if recorder.name in checkpoint.record.get("records", ()):
                recorder.load(_part(tensors, f"records.{recorder.name}"))
            else:
                recorder.begin(self)

    def result(self) -> Result:
        """What the finished training leaves. Raises RuntimeError before the last step."""
        if self.step < self.total_steps:
            raise RuntimeError(f"{self.step} of {self.total_steps} steps are done")
        snapshots = np.stack(self._snapshots) if self._snapshots else None
        logits = self._predict()
        records = {recorder.name: recorder.arrays(self) for recorder in self.recorders}
        return Result(self.history, logits, self.perturbations, snapshots, records)

    @contextmanager
    def evaluated(self) -> Iterator[ImageModel]:
        """Within, the model is the one whose predictions count: under the averaged weights if there
        are any.
        """
        averaged: AbstractContextManager[None] = nullcontext()
        if self.averaging is not None:
            averaged = self.averaging.evaluated(self.model, self.plain_batches())
        with averaged:
            yield self.model

    def plain_batches(self) -> Iterator[torch.Tensor]:
        """The training images in their own order, normalised, without augmentation."""
        for images in self.dataset.train_images.split(self.config.batch_size):
            yield laid_out_for(self.model, self.dataset.normalized(images))

    # -- a step's parts ------------------------------------------------------------------------

    def _perturb(self, *targets: Target, images: torch.Tensor | None = None) -> None:
        """The small change, if it is of these and now is its step."""
        spec = self.config.perturbation
        if self.step != self.perturbation_step or spec.target not in targets:
            return
        offered = perturb.perturbable(spec.target, self.model, self.optimizer, images)
        self.perturbations.append(
            perturb.apply(spec, offered, self.seeds.key("bit"), step=self.step)
        )

    def _batch(self, epoch: int, number: int, seeds: Seeds) -> tuple[torch.Tensor, torch.Tensor]:
        """Images and labels of one batch. Small batches are prepared several at once."""
        config, size = self.config, self.config.batch_size
        if self._order[0] != epoch:
            examples = len(self.dataset.train_labels)
            order = epoch_order(examples, seeds.key("shuffle"), epoch, config.device)
            self._order = (epoch, order)
        many = max(_PREPARED_EXAMPLES // size, 1)
        block, within = divmod(number, many)
        if self._block[0] != (epoch, block):
            chosen = self._order[1][block * many * size : (block + 1) * many * size]
            images = batch(
                self.dataset, chosen, seeds.key("augment"), epoch, config.crop_padding, config.flip
            )
            images = laid_out_for(self.model, images)
            self._block = ((epoch, block), images, self.dataset.train_labels[chosen])
        part = slice(within * size, (within + 1) * size)
        return self._block[1][part], self._block[2][part]

    @contextmanager
    def _gradient_at(self, seeds: Seeds) -> Iterator[None]:
        """Where and how the gradient of this step is taken: masks, order of accumulation, weights
        moved aside.
        """
        converted, stochastic = self._layers
        key = seeds.key("stochastic")
        begin_step(stochastic, key, self.step)
        if self._converts:
            lowlevel.begin_step(converted, self._sum_order(seeds), seeds.lowlevel, self.step)
        vendor = self.config.lowlevel == "vendor" and seeds.lowlevel != HELD
        moved: AbstractContextManager[None] = nullcontext()
        if self.config.weight_offset > 0:
            moved = weight_offsets(self.model, key, self.step, self.config.weight_offset)
        with lowlevel.vendor_nondeterminism() if vendor else nullcontext(), moved:
            yield

    def _sum_order(self, seeds: Seeds) -> lowlevel.Order:
        """How converted layers add their gradients up in this step."""
        mode = self.config.lowlevel
        if mode == "off" or mode == "vendor" or (mode != "exact" and seeds.lowlevel == HELD):
            return "fixed"
        return mode

    def _loss(self, logits: torch.Tensor, labels: torch.Tensor, seeds: Seeds) -> torch.Tensor:
        smoothing = self.config.label_smoothing
        if not self._converts:
            return cross_entropy(logits, labels, label_smoothing=smoothing)
        return lowlevel.cross_entropy(
            logits,
            labels,
            order=self._sum_order(seeds),
            seed=seeds.lowlevel,
            step=self.step,
            chunks=self.config.chunks,
            label_smoothing=smoothing,
        )

    # -- an epoch's end ------------------------------------------------------------------------

    def _end_epoch(self, epoch: int) -> None:
        """Evaluates after epoch number `epoch`, counted from 1, and puts it on record."""
        config = self.config
        train_loss = self._loss_sum.item() / self.steps_per_epoch
        self._loss_sum.zero_()
        if not math.isfinite(train_loss):
            raise DivergedError(f"the training loss is {train_loss}", epoch, self)
        accuracy = entropy = None
        snapshot = epoch in snapshot_epochs(config)
        if snapshot or epoch % config.evaluate_every == 0 or epoch == config.epochs:
            logits = self._predict()
            if not np.isfinite(logits).all():
                raise DivergedError("predictions are not finite", epoch, self)
            accuracy = float(metrics.accuracy(logits[None], self._labels)[0])
            entropy = float(metrics.cross_entropy(logits[None], self._labels)[0])
            self.test_logits = logits
            if snapshot:
                self._snapshots.append(logits)
        last_rate = rate(config, self.step - 1, self.steps_per_epoch)
        self.history.append(
            EpochRecord(epoch, last_rate, train_loss, accuracy, entropy, weights_sha256(self.model))
        )

    def _predict(self) -> np.ndarray:
        """Logits of the test images."""
        with self.evaluated() as model:
            return predict(model, self.dataset)


def perturbation_step(
    config: RunConfig, seeds: Seeds, onset: Onset, steps_per_epoch: int
) -> int | None:
    """After how many steps the one small change is made; None where the bit seed is held.

    Raises ValueError where the training, from the onset epoch on, has no such step.
    """
    if seeds.bit == HELD:
        return None
    step, total = config.perturbation.step, config.epochs * steps_per_epoch
    begin = onset.bit * steps_per_epoch
    # A change at the very end of the training is a change that never comes.
    if onset.bit < config.epochs and begin + step >= total:
        raise ValueError(
            f"perturbation.step is {step} with onset in epoch {onset.bit}; the training has "
            f"{total} steps"
        )
    return begin + step


def train(
    config: RunConfig,
    seeds: Seeds,
    dataset: Dataset,
    *,
    onset: Onset | None = None,
    start: Checkpoint | None = None,
    checkpoints: Checkpoints | None = None,
    observe: Callable[[Training], None] | None = None,
    recorders: Sequence["Recorder"] = (),
) -> Result:
    """Trains one model. Equal arguments give equal bits.

    dataset lies on `config.device`. onset: from which epoch on each source follows its seed; from
    the first if not given. start: a state to begin from, as of a shared beginning. checkpoints:
    where to leave states and whence to resume; they change no bit, nor do recorders (see
    nondet.record), which leave `Result.records`: where a state comes too late for one of them, the
    training begins before it. `observe(training)` may look at the training after every step.
    Raises DivergedError when a loss or a prediction is no longer finite; ValueError where batch
    size, perturbation or `start` do not fit.
    """
    with deterministic(config.threads):
        training = Training(config, seeds, dataset, onset, recorders)
        saved = None if checkpoints is None else checkpoints.latest(training.identity)
        for state in (saved, start):
            if state is not None and _in_time(state, recorders):
                training.restore(state)
                break
        while training.step < training.total_steps:
            training.advance()
            if observe is not None:
                observe(training)
            if checkpoints is not None and checkpoints.due(training.step):
                checkpoints.save(training.state())
        return training.result()


def _in_time(state: Checkpoint, recorders: Sequence["Recorder"]) -> bool:
    """Whether every recorder has its part in a state or can begin there."""
    missing = [one for one in recorders if one.name not in state.record.get("records", ())]
    return all(one.begins_by is None or state.step <= one.begins_by for one in missing)


def _part(tensors: Mapping[str, torch.Tensor], part: str) -> dict[str, torch.Tensor]:
    return {
        name.removeprefix(f"{part}."): tensor
        for name, tensor in tensors.items()
        if name.startswith(f"{part}.")
    }
