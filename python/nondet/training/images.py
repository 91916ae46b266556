"""The training of a model of images."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from nondet import lowlevel, metrics
from nondet.data import Dataset, batch, epoch_order
from nondet.models import ImageModel, build_model, set_step_key, stochastic_layers
from nondet.studies.config import RunConfig
from nondet.studies.seeds import HELD, Onset, Seeds
from nondet.training.evaluation import laid_out_for, predict, weights_sha256
from nondet.training.offsets import weight_offsets
from nondet.training.optimizers import set_lr
from nondet.training.result import EpochRecord, Result
from nondet.training.schedules import lr_at, snapshot_epochs
from nondet.training.training import Recorder, Training, part_of

_PREPARED_EXAMPLES = 2048


class ImageTraining(Training):
    """The training of a model of images; see `Training`.

    Attributes:
        steps_per_epoch: the last, smaller batch of an epoch is left out: every step sees a full
            batch.
        test_logits: of the last epoch that was evaluated, since the training began or was resumed.
    """

    model: ImageModel

    def __init__(
        self,
        config: RunConfig,
        seeds: Seeds,
        dataset: Dataset,
        onset: Onset | None = None,
        recorders: Sequence[Recorder] = (),
    ) -> None:
        if config.language is not None:
            raise ValueError(
                f"language is given, but the data set {config.dataset!r} is one of images"
            )
        examples = len(dataset.train_labels)
        self.steps_per_epoch = examples // config.batch_size
        if self.steps_per_epoch == 0:
            raise ValueError(
                f"batch_size is {config.batch_size}; the data set has {examples} training examples"
            )
        self.dataset = dataset
        model = build_model(
            config.model,
            dataset.image_shape,
            dataset.classes,
            seeds.key("init"),
            config.device,
            dropout=config.dropout,
        )
        self._converts = config.lowlevel not in ("off", "vendor")
        if self._converts:
            lowlevel.convert(model, chunks=config.chunks)
        ends = range(self.steps_per_epoch, config.epochs * self.steps_per_epoch + 1)
        super().__init__(
            config,
            seeds,
            onset,
            model,
            ends[:: self.steps_per_epoch],
            (config.batch_size, *dataset.image_shape),
        )
        self.test_logits: np.ndarray | None = None
        self._snapshots: list[np.ndarray] = []
        self._layers = lowlevel.layers(model), stochastic_layers(model)
        self._order = (-1, torch.empty(0))
        self._block = ((-1, -1), torch.empty(0), torch.empty(0))
        self._labels = dataset.test_labels.cpu().numpy()
        self._begin(recorders)

    def result(self) -> Result:
        """What the finished training leaves. Raises RuntimeError before the last step."""
        self._check_finished()
        snapshots = np.stack(self._snapshots) if self._snapshots else None
        logits = self._predict()
        records = {recorder.name: recorder.arrays(self) for recorder in self.recorders}
        return Result(self.history, logits, self.perturbations, snapshots, records)

    def plain_batches(self) -> Iterator[torch.Tensor]:
        """The training images in their own order, normalised, without augmentation."""
        for images in self.dataset.train_images.split(self.config.batch_size):
            yield laid_out_for(self.model, self.dataset.normalized(images))

    def _kept(self) -> dict[str, torch.Tensor]:
        return {
            f"snapshots.{i}": torch.from_numpy(logits) for i, logits in enumerate(self._snapshots)
        }

    def _load_own(self, tensors: Mapping[str, torch.Tensor], record: Mapping[str, Any]) -> None:
        snapshots = part_of(tensors, "snapshots")
        self._snapshots = [snapshots[str(i)].cpu().numpy() for i in range(len(snapshots))]

    # -- a step's parts ------------------------------------------------------------------------

    def _take_gradient(self, epoch: int, number: int, seeds: Seeds) -> None:
        images, labels = self._batch(epoch, number, seeds)
        self._perturb("pixel", images=images)
        set_lr(self.optimizer, lr_at(self.config, self.step, self.steps_per_epoch))
        with self._gradient_at(seeds):
            loss = self._loss(self.model(images), labels, seeds)
            loss.backward()
        self._perturb("gradient")
        self._loss_sum += loss.detach()

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
        set_step_key(stochastic, key, self.step)
        if self._converts:
            lowlevel.set_order(converted, self._sum_order(seeds), seeds.lowlevel, self.step)
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
        config = self.config
        train_loss = self._train_loss(epoch, self.steps_per_epoch)
        accuracy = entropy = None
        snapshot = epoch in snapshot_epochs(config)
        if snapshot or epoch % config.evaluate_every == 0 or epoch == config.epochs:
            logits = self._predict()
            if not np.isfinite(logits).all():
                raise self.diverged("predictions are not finite", epoch)
            accuracy = float(metrics.accuracy(logits[None], self._labels)[0])
            entropy = float(metrics.cross_entropy(logits[None], self._labels)[0])
            self.test_logits = logits
            if snapshot:
                self._snapshots.append(logits)
        last_lr = lr_at(config, self.step - 1, self.steps_per_epoch)
        self.history.append(
            EpochRecord(epoch, last_lr, train_loss, accuracy, entropy, weights_sha256(self.model))
        )

    def _predict(self) -> np.ndarray:
        """Logits of the test images."""
        with self.evaluated() as model:
            return predict(model, self.dataset)
