"""The training of an image model."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace

import numpy as np
import torch

from nondet import metrics
from nondet.data import Dataset, batch, epoch_order
from nondet.models import ImageModel, build_model, set_step_key, stochastic_layers
from nondet.models.memory_format import to_memory_format
from nondet.studies.config import RunConfig
from nondet.studies.published import NORMALIZATION
from nondet.studies.seeds import Onset, Seeds
from nondet.training.checkpoint import with_prefix
from nondet.training.checkpoint_files import Record
from nondet.training.evaluation import model_inputs, predict, weights_sha256
from nondet.training.lowlevel_source import LowLevelSource
from nondet.training.offsets import weight_offsets
from nondet.training.optimizers import set_lr
from nondet.training.precision import mixed_precision, step_precision
from nondet.training.result import EpochRecord, Result
from nondet.training.schedules import check_batch, lr_at, snapshot_epochs, steps_in_epoch
from nondet.training.training import Recorder, Training

_BLOCK_EXAMPLES = 2048
"""Examples that are augmented at once if batches are smaller: fewer, larger operations."""

_BLOCK_PIXELS = 1 << 25
"""Numbers in these examples, at most, unless a batch has more."""


class ImageTraining(Training):
    """The training of an image model; see `Training`.

    Attributes:
        dataset: normalized as the configuration says.
        steps_per_epoch: optimizer steps per epoch. Every step has a full batch, but for the last
            one of an epoch if the smaller rest of its examples is not left out.
        test_logits: of the last epoch that was evaluated since the training started or resumed,
            (test examples, classes) float32; None before.
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
        check_batch(config, examples)
        self.steps_per_epoch = steps_in_epoch(config, examples)
        self._given = dataset
        self.dataset = _normalized_as(config, dataset)
        model = build_model(
            config.model,
            dataset.image_shape,
            dataset.classes,
            seeds.key("init"),
            config.device,
            dropout=config.dropout,
        )
        self._lowlevel = LowLevelSource(model, config)
        ends = range(self.steps_per_epoch, config.epochs * self.steps_per_epoch + 1)
        super().__init__(
            config,
            seeds,
            onset,
            model,
            ends[:: self.steps_per_epoch],
            (min(config.batch_size, examples), *dataset.image_shape),
        )
        self.test_logits: np.ndarray | None = None
        self._snapshots: list[np.ndarray] = []
        self._stochastic = stochastic_layers(model)
        self._order = (-1, torch.empty(0))  # epoch, order of its examples
        self._block = ((-1, -1), torch.empty(0), torch.empty(0))  # (epoch, block), images, labels
        self._test_labels = dataset.test_labels.cpu().numpy()
        self._start_recorders(recorders)

    @property
    def data_sha256(self) -> str:
        """See `Training`."""
        return self._given.sha256

    def result(self) -> Result:
        """Return the result of the finished training. Raises RuntimeError before the last step."""
        self._check_finished()
        snapshots = np.stack(self._snapshots) if self._snapshots else None
        logits = self._predict()
        records = {recorder.name: recorder.arrays(self) for recorder in self.recorders}
        return Result(self.history, logits, self.perturbations, snapshots, records)

    def gradients(self, number: int, seeds: Seeds) -> list[torch.Tensor]:
        """Compute the gradients of batch `number` of the first epoch, as a step with these seeds
        would, and return those of all parameters, in order.

        For trainings that are not continued: statistics of batch norm move, and later batches may
        be those of these seeds.
        """
        self.model.train()
        self.optimizer.zero_grad()
        with step_precision(self.config):
            self._compute_gradients(0, number, seeds)
        return [x.grad for x in self.model.parameters() if x.grad is not None]

    def statistics_batches(self) -> Iterator[torch.Tensor]:
        """Yield the training images in their stored order, normalized, without augmentation."""
        for images in self.dataset.train_images.split(self.config.batch_size):
            yield model_inputs(self.model, self.dataset, images)

    def _extra_tensors(self) -> dict[str, torch.Tensor]:
        return {
            f"snapshots.{i}": torch.from_numpy(logits) for i, logits in enumerate(self._snapshots)
        }

    def _expected_extra(self, epochs: int) -> dict[str, torch.Tensor]:
        shape = len(self.dataset.test_labels), self.dataset.classes
        taken = [epoch for epoch in snapshot_epochs(self.config) if epoch <= epochs]
        return {f"snapshots.{i}": torch.empty(shape, device="meta") for i in range(len(taken))}

    def _load_extra(self, tensors: Mapping[str, torch.Tensor], record: Record | None) -> None:
        snapshots = with_prefix(tensors, "snapshots")
        self._snapshots = [snapshots[str(i)].cpu().numpy() for i in range(len(snapshots))]

    # -- a step's parts ------------------------------------------------------------------------

    def _compute_gradients(self, epoch: int, number: int, seeds: Seeds) -> None:
        images, labels = self._load_batch(epoch, number, seeds)
        self._perturb("pixel", images=images)
        set_lr(self.optimizer, lr_at(self.config, self.step, self.steps_per_epoch))
        with self._sources_applied(seeds):
            with mixed_precision(self.config):
                logits = self.model(images).float()
            loss = self._lowlevel.cross_entropy(logits, labels, seeds.lowlevel, self.step)
            loss.backward()
        self._perturb("gradient")
        mean = loss.detach()
        share = len(labels) / self.config.batch_size
        self._loss_sum += mean if share == 1 else mean * share

    def _load_batch(
        self, epoch: int, number: int, seeds: Seeds
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return augmented images and labels of batch `number` of an epoch. Small batches are
        prepared several at a time, as one block.
        """
        config, size = self.config, self.config.batch_size
        if self._order[0] != epoch:
            examples = len(self.dataset.train_labels)
            drawn = 0 if config.shuffle_once else epoch
            order = epoch_order(examples, seeds.key("shuffle"), drawn, config.device)
            self._order = (epoch, order)
        batches = batches_per_block(size, self.dataset.image_shape)
        block, within = divmod(number, batches)
        if self._block[0] != (epoch, block):
            chosen = self._order[1][block * batches * size : (block + 1) * batches * size]
            images = batch(
                self.dataset,
                chosen,
                seeds.key("augment"),
                epoch,
                config.crop_padding,
                config.flip,
                config.resized_crop,
            )
            images = to_memory_format(images, self.model)
            self._block = ((epoch, block), images, self.dataset.train_labels[chosen])
        part = slice(within * size, (within + 1) * size)
        return self._block[1][part], self._block[2][part]

    @contextmanager
    def _sources_applied(self, seeds: Seeds) -> Iterator[None]:
        """Apply dropout masks, weight offsets and the order of sums to the gradients computed
        within the context.
        """
        key, sd = seeds.key("stochastic"), self.config.weight_offset
        set_step_key(self._stochastic, key, self.step)
        offsets = weight_offsets(self.model, key, self.step, sd) if sd > 0 else nullcontext()
        with self._lowlevel.applied(seeds.lowlevel, self.step), offsets:
            yield

    # -- an epoch's end ------------------------------------------------------------------------

    def _end_epoch(self, epoch: int) -> None:
        config = self.config
        batches: float = self.steps_per_epoch
        if not config.drop_last:
            batches = len(self.dataset.train_labels) / config.batch_size
        train_loss = self._mean_train_loss(epoch, batches)
        accuracy = entropy = None
        snapshot = epoch in snapshot_epochs(config)
        if snapshot or epoch % config.evaluate_every == 0 or epoch == config.epochs:
            logits = self._predict()
            if not np.isfinite(logits).all():
                raise self.diverged("predictions are not finite", epoch)
            accuracy = float(metrics.accuracy(logits[None], self._test_labels)[0])
            entropy = float(metrics.cross_entropy(logits[None], self._test_labels)[0])
            self.test_logits = logits
            if snapshot:
                self._snapshots.append(logits)
        last_lr = lr_at(config, self.step - 1, self.steps_per_epoch)
        self.history.append(
            EpochRecord(epoch, last_lr, train_loss, accuracy, entropy, weights_sha256(self.model))
        )

    def _predict(self) -> np.ndarray:
        """Compute the logits of the test images."""
        with self.evaluation_model() as model:
            return predict(model, self.dataset)


def batches_per_block(batch_size: int, image_shape: tuple[int, ...]) -> int:
    """Return how many batches of images of this shape are prepared at once."""
    examples = min(_BLOCK_EXAMPLES, _BLOCK_PIXELS // math.prod(image_shape))
    return max(examples // batch_size, 1)


def _normalized_as(config: RunConfig, dataset: Dataset) -> Dataset:
    """Return the data set with the mean and divisor that a configuration names.

    Raises ValueError if the images have other channels than the published constants.
    """
    if config.normalization == "measured":
        return dataset
    constants = NORMALIZATION[config.dataset]
    if len(constants.means) != dataset.image_shape[0]:
        raise ValueError(
            f"normalization is 'published', with {len(constants.means)} channels for "
            f"{config.dataset!r}; the images have {dataset.image_shape[0]}"
        )
    mean, std = (
        torch.tensor([255 * x for x in values], dtype=torch.float32, device=dataset.mean.device)
        for values in constants
    )
    return replace(dataset, mean=mean, std=std)
