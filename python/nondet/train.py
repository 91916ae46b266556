"""One training, start to end: a pure function of its configuration and its seeds."""

import hashlib
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from nondet import metrics
from nondet.config import RunConfig
from nondet.data import Dataset, epoch_order, random_shifts, shift
from nondet.models import build_model
from nondet.perturb import Perturbation, change_one_ulp
from nondet.seeds import HELD, Seeds


class DivergedError(RuntimeError):
    """The training loss stopped being a finite number."""


@dataclass(frozen=True)
class EpochRecord:
    """The state after one epoch. Accuracy is a fraction, losses are in nats per example."""

    epoch: int
    learning_rate: float
    train_loss: float
    test_accuracy: float
    test_cross_entropy: float
    weights_sha256: str


@dataclass(frozen=True)
class Result:
    """What a training leaves. logits: (test examples, classes) float32, after the last epoch."""

    history: list[EpochRecord]
    logits: np.ndarray
    perturbation: Perturbation | None


def learning_rate(
    step: int, steps_per_epoch: int, epochs: int, warmup_epochs: int, highest: float
) -> float:
    """The rate of a step counted from 0: a warm-up linear in steps, then a cosine.

    The cosine is a function of epoch/epochs, not of the part after the warm-up, as in the paper's
    code: the very first step has rate 0, the warm-up ends at `highest`, the next step takes up the
    cosine on its way to 0 after the last.
    """
    epoch = step / steps_per_epoch
    if epoch <= warmup_epochs and warmup_epochs > 0:
        return highest * epoch / warmup_epochs
    return highest * 0.5 * (1 + math.cos(math.pi * epoch / epochs))


@contextmanager
def deterministic() -> Iterator[None]:
    """One thread and torch's deterministic algorithms; afterwards the caller's settings again."""
    # cuBLAS is deterministic only with a fixed workspace, which it reads once, at its first use.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    threads = torch.get_num_threads()
    algorithms = torch.are_deterministic_algorithms_enabled()
    benchmark = torch.backends.cudnn.benchmark
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(algorithms)
        torch.backends.cudnn.benchmark = benchmark


@deterministic()
def train(
    config: RunConfig,
    seeds: Seeds,
    dataset: Dataset,
    after_epoch: Callable[[int, nn.Module], None] | None = None,
) -> Result:
    """Trains one model and evaluates it on the test images after every epoch.

    Equal arguments give equal bits: it computes with one thread and deterministic algorithms.
    dataset lies on `config.device`. The last, smaller batch of an epoch is left out: every step
    sees a full batch. `after_epoch(epoch, model)` may look at the model; epochs are counted from 1
    there and in the history.
    Raises DivergedError when the loss is no longer finite.
    """
    examples = len(dataset.train_labels)
    steps_per_epoch = examples // config.batch_size
    if steps_per_epoch == 0:
        raise ValueError(
            f"batch_size is {config.batch_size}; the data set has {examples} training examples"
        )

    model = build_model(
        config.model, dataset.image_shape, dataset.classes, seeds.key("init"), config.device
    )
    perturbation = change_one_ulp(model, seeds.key("bit")) if seeds.bit != HELD else None
    optimizer = _optimizer(model, config)
    numbers = torch.arange(examples, device=config.device)

    history = []
    for epoch in range(config.epochs):
        shifts = random_shifts(numbers, seeds.key("augment"), epoch, config.max_shift)
        images = shift(dataset.train_images, shifts, dataset.background)
        order = epoch_order(examples, seeds.key("shuffle"), epoch, config.device)

        model.train()
        loss_sum = torch.zeros((), dtype=torch.float64, device=config.device)
        for number in range(steps_per_epoch):
            batch = order[number * config.batch_size : (number + 1) * config.batch_size]
            step = epoch * steps_per_epoch + number
            rate = learning_rate(
                step, steps_per_epoch, config.epochs, config.warmup_epochs, config.lr
            )
            for group in optimizer.param_groups:
                group["lr"] = rate * group["lr_scale"]
            optimizer.zero_grad()
            loss = cross_entropy(model(images[batch]), dataset.train_labels[batch])
            loss.backward()
            optimizer.step()
            loss_sum += loss.detach()

        train_loss = loss_sum.item() / steps_per_epoch
        if not math.isfinite(train_loss):
            raise DivergedError(f"the training loss is {train_loss} in epoch {epoch + 1}")
        logits = predict(model, dataset.test_images)
        history.append(_evaluate(epoch + 1, rate, train_loss, model, logits, dataset))
        if after_epoch is not None:
            after_epoch(epoch + 1, model)
    return Result(history, logits, perturbation)


@torch.no_grad()
def predict(model: nn.Module, images: torch.Tensor) -> np.ndarray:
    """The logits of a model in evaluation mode: (examples, classes) float32."""
    model.eval()
    logits: np.ndarray = model(images).cpu().numpy()
    return logits


def state_arrays(model: nn.Module) -> Iterator[tuple[str, np.ndarray]]:
    """Every tensor of the model's state (weights and batch-norm statistics), by name, as arrays on
    the CPU.
    """
    for name, tensor in model.state_dict().items():
        yield name, np.ascontiguousarray(tensor.cpu().numpy())


def weights_sha256(model: nn.Module) -> str:
    """SHA-256 over the bytes of every tensor of the model's state, in order."""
    digest = hashlib.sha256()
    for _, array in state_arrays(model):
        digest.update(array.tobytes())
    return digest.hexdigest()


def _optimizer(model: nn.Module, config: RunConfig) -> torch.optim.SGD:
    """SGD with momentum; biases and batch-norm scales (the one-dimensional parameters) learn more
    slowly.
    """
    weights = [parameter for parameter in model.parameters() if parameter.dim() > 1]
    others = [parameter for parameter in model.parameters() if parameter.dim() <= 1]
    groups = [
        {"params": weights, "lr_scale": 1.0},
        {"params": others, "lr_scale": config.bias_lr_scale},
    ]
    return torch.optim.SGD(
        groups, lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay, fused=True
    )


def _evaluate(
    epoch: int,
    rate: float,
    train_loss: float,
    model: nn.Module,
    logits: np.ndarray,
    dataset: Dataset,
) -> EpochRecord:
    labels = dataset.test_labels.cpu().numpy()
    return EpochRecord(
        epoch=epoch,
        learning_rate=rate,
        train_loss=train_loss,
        test_accuracy=float(metrics.accuracy(logits[None], labels)[0]),
        test_cross_entropy=float(metrics.cross_entropy(logits[None], labels)[0]),
        weights_sha256=weights_sha256(model),
    )
