"""One training, start to end: a pure function of its configuration and its seeds."""

import math
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from nondet import lowlevel, metrics, perturb
from nondet.checkpoint import Checkpoint, Checkpoints
from nondet.config import Job, RunConfig, Target
from nondet.data import Dataset, batch, epoch_order
from nondet.evaluate import laid_out_for, predict, weights_sha256
from nondet.models import begin_step, build_model, stochastic_layers
from nondet.optimize.averaging import make_averaging
from nondet.optimize.offsets import weight_offsets
from nondet.optimize.optimizers import load_named_state, make_optimizer, named_state, set_rate
from nondet.optimize.schedules import rate, snapshot_epochs
from nondet.perturb import Perturbation
from nondet.seeds import HELD, Onset, Seeds, effective

_PREPARED_EXAMPLES = 2048
_uninitialized: Any = torch.utils.deterministic


class DivergedError(RuntimeError):
    """A loss or a prediction stopped being a finite number; `epoch` (from 1), `step`, `history` and
    `perturbations` say how far the training came.
    """

    def __init__(self, reason: str, epoch: int, training: "Training") -> None:
        super().__init__(f"{reason} in epoch {epoch}")
        self.reason = reason
        self.epoch = epoch
        self.step = training.step
        self.history = training.history
        self.perturbations = training.perturbations


@dataclass(frozen=True)
class EpochRecord:
    """The state after one epoch. Accuracy is a fraction, losses are in nats per example; None where
    the epoch was not evaluated.
    """

    epoch: int
    learning_rate: float
    train_loss: float
    test_accuracy: float | None
    test_cross_entropy: float | None
    weights_sha256: str


@dataclass(frozen=True)
class Result:
    """What a training leaves.

    logits: (test examples, classes) float32, after the last epoch. snapshots: (cycles, test
    examples, classes) float32, one where each cycle of the schedule "snapshots" ends, else None.
    """

    history: list[EpochRecord]
    logits: np.ndarray
    perturbations: list[Perturbation]
    snapshots: np.ndarray | None = None


@contextmanager
def deterministic(threads: int = 1) -> Iterator[None]:
    """A fixed number of threads and torch's deterministic algorithms, which raise where there is
    none; afterwards the caller's settings again.
    """
    # cuBLAS is deterministic only with a fixed workspace, which it reads once, at its first use.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = (
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        _uninitialized.fill_uninitialized_memory,
        torch.backends.cudnn.benchmark,
    )
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    # Filling memory that is about to be overwritten costs time and decides no bit.
    _uninitialized.fill_uninitialized_memory = False
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(before[1], warn_only=before[2])
        _uninitialized.fill_uninitialized_memory = before[3]
        torch.backends.cudnn.benchmark = before[4]


class Training:
    """A training in the making: `advance` does one step, `state` and `restore` stop and resume it.

    Attributes:
        step: optimizer steps done, of `total_steps`; `steps_per_epoch` of them make an epoch. The
            last, smaller batch of an epoch is left out: every step sees a full batch.
        model, optimizer, averaging: live.
        history, perturbations: what is on record so far.

    Compute inside `deterministic(config.threads)`. The data set lies on `config.device`.
    """

    def __init__(
        self, config: RunConfig, seeds: Seeds, dataset: Dataset, onset: Onset | None = None
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
        self.perturbation_step = self._perturbation_step()

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
        return Checkpoint(
            self.step,
            {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()},
            {
                "identity": self.identity,
                "history": [asdict(epoch) for epoch in self.history],
                "perturbations": [asdict(record) for record in self.perturbations],
            },
        )

    @torch.no_grad()
    def restore(self, checkpoint: Checkpoint) -> None:
        """Goes on from a state of this configuration, be it of another run whose seeds agreed until
        there. Raises ValueError where the state does not fit.
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

    def result(self) -> Result:
        """What the finished training leaves. Raises RuntimeError before the last step."""
        if self.step < self.total_steps:
            raise RuntimeError(f"{self.step} of {self.total_steps} steps are done")
        snapshots = np.stack(self._snapshots) if self._snapshots else None
        return Result(self.history, self._predict(), self.perturbations, snapshots)

    # -- a step's parts ------------------------------------------------------------------------

    def _perturbation_step(self) -> int | None:
        """The step of the one small change; None where the bit seed is held."""
        if self.seeds.bit == HELD:
            return None
        step = self.onset.bit * self.steps_per_epoch + self.config.perturbation.step
        # A change at the very end of the training is a change that never comes.
        late = self.onset.bit < self.config.epochs and step >= self.total_steps
        if late:
            raise ValueError(
                f"perturbation.step is {self.config.perturbation.step} with onset in epoch "
                f"{self.onset.bit}; the training has {self.total_steps} steps"
            )
        return step

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
            if snapshot:
                self._snapshots.append(logits)
        last_rate = rate(config, self.step - 1, self.steps_per_epoch)
        self.history.append(
            EpochRecord(epoch, last_rate, train_loss, accuracy, entropy, weights_sha256(self.model))
        )

    def _predict(self) -> np.ndarray:
        """Logits of the test images, under the averaged weights if there are any."""
        if self.averaging is None:
            return predict(self.model, self.dataset)
        with self.averaging.evaluated(self.model, self._plain_batches()):
            return predict(self.model, self.dataset)

    def _plain_batches(self) -> Iterator[torch.Tensor]:
        """The training images in their own order, without augmentation."""
        for images in self.dataset.train_images.split(self.config.batch_size):
            yield laid_out_for(self.model, self.dataset.normalized(images))


def train(
    config: RunConfig,
    seeds: Seeds,
    dataset: Dataset,
    *,
    onset: Onset | None = None,
    start: Checkpoint | None = None,
    checkpoints: Checkpoints | None = None,
    observe: Callable[[Training], None] | None = None,
) -> Result:
    """Trains one model. Equal arguments give equal bits.

    dataset lies on `config.device`. onset: from which epoch on each source follows its seed; from
    the first if not given. start: a state to begin from, as of a shared beginning. checkpoints:
    where to leave states and whence to resume; they change no bit. `observe(training)` may look at
    the training after every step.
    Raises DivergedError when a loss or a prediction is no longer finite; ValueError where batch
    size, perturbation or `start` do not fit.
    """
    with deterministic(config.threads):
        training = Training(config, seeds, dataset, onset)
        if checkpoints is not None:
            start = checkpoints.latest(training.identity) or start
        if start is not None:
            training.restore(start)
        while training.step < training.total_steps:
            training.advance()
            if observe is not None:
                observe(training)
            if checkpoints is not None and checkpoints.due(training.step):
                checkpoints.save(training.state())
        return training.result()


def _part(tensors: dict[str, torch.Tensor], part: str) -> dict[str, torch.Tensor]:
    return {
        name.removeprefix(f"{part}."): tensor
        for name, tensor in tensors.items()
        if name.startswith(f"{part}.")
    }
