"""Measure how fast this machine trains a configuration, by a few steps on synthetic data."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import torch

from nondet.data import Dataset, TextDataset
from nondet.data.dataset import make_dataset
from nondet.defaults import plain_defaults
from nondet.models import QRNNLanguageModel, build_model, representations
from nondet.studies.config import RunConfig
from nondet.studies.seeds import Seeds, philox_key
from nondet.studies.specs import PerturbationSpec
from nondet.training.determinism import deterministic
from nondet.training.evaluation import predict
from nondet.training.images import ImageTraining, batches_per_block
from nondet.training.language import LanguageTraining
from nondet.training.text_evaluation import EVALUATION_TOKENS, predict_tokens

ImageShape = tuple[int, int, int]

_BUDGET = 0.15  # seconds for which a measurement is repeated
_TOO_LONG = 1.0  # seconds after which a measurement is not repeated
_SMALL_BATCH = 8  # from which the time of a batch that would take too long is extrapolated
_IMAGES = 256  # in one prediction, if that does not take too long


@dataclass(frozen=True)
class Speed:
    """Times in seconds of one core, or wall time on a GPU.

    step: of an optimizer step, including the preparation of its batch. example: of the prediction
    of an image, or of a token of a text.
    """

    step: float
    example: float


@dataclass(frozen=True)
class Size:
    """The size of a model.

    state: number of all parameters and batch-norm statistics. features: number of all features at
    its taps for one image; 0 for a language model.
    """

    state: int
    features: int


def calibrate(config: RunConfig, shape: ImageShape, classes: int) -> Speed:
    """Measure the speed of a configuration on images of this shape (channels, height, width).

    Takes about a second, or several if a single step takes one; results are cached in the process.
    Raises RuntimeError if the device is missing.
    """
    with deterministic(config.threads):
        return Speed(
            _step_seconds(_timing_key(config), shape, classes),
            _image_seconds(_prediction_key(config), shape, classes),
        )


def calibrate_language(config: RunConfig, types: int) -> Speed:
    """Measure the speed of a language model's configuration with a vocabulary of this size.

    A step has the expected number of tokens of a segment. See `calibrate`.
    """
    with deterministic(config.threads):
        return _language_speed(_timing_key(config), types)


def language_model_size(config: RunConfig, types: int) -> Size:
    """Return the size of a configuration's language model for a vocabulary of this size."""
    assert config.language is not None
    with torch.device("meta"):
        model = QRNNLanguageModel(config.language, types)
    return Size(sum(tensor.numel() for tensor in model.state_dict().values()), 0)


@cache
def _language_speed(config: RunConfig, types: int) -> Speed:
    assert config.language is not None
    spec = replace(config.language, variable_bptt=False)
    config = replace(config, language=spec)
    steps = 20  # more than are timed
    text = torch.arange(config.batch_size * (steps * spec.bptt + 1)) * 2654435761 % types
    names = tuple(map(str, range(types)))
    dataset = TextDataset("synthetic", names, text, text[:2], text[:EVALUATION_TOKENS], {})
    dataset = dataset.to(config.device)
    training = LanguageTraining(config, Seeds(stochastic=2), dataset)
    step = _timed(training.advance, config.device, budget=0.0)
    seconds = _timed(
        lambda: predict_tokens(training.model, dataset.test, 0), config.device, budget=0.0
    )
    return Speed(step, seconds / EVALUATION_TOKENS)


def model_size(config: RunConfig, shape: ImageShape, classes: int) -> Size:
    """Return the size of a configuration's model for images of this shape."""
    return _size(config.model, shape, classes)


@cache
@plain_defaults()
def _size(name: str, shape: ImageShape, classes: int) -> Size:
    model = build_model(name, shape, classes, philox_key("init", 1))
    taps = representations(model, torch.zeros(1, *shape))
    state = sum(tensor.numel() for tensor in model.state_dict().values())
    return Size(state, sum(tensor.numel() for tensor in taps.values()))


def _timing_key(config: RunConfig) -> RunConfig:
    """Return the configuration with fixed values for all settings that do not affect the time of
    a step, so that fewer configurations are measured.
    """
    return replace(
        config,
        dataset="",
        epochs=1000 if config.language is None else 1,
        lr=0.0,
        momentum=0.9,
        weight_decay=5e-4,
        schedule="constant",
        warmup_epochs=0,
        cycles=1,
        milestones=(),
        averaging_start=0,
        dropout=0.1 if config.dropout else 0.0,
        weight_offset=0.01 if config.weight_offset else 0.0,
        crop_padding=int((config.crop_padding > 0 or config.flip) and not config.resized_crop),
        flip=False,
        lowlevel="seeded" if config.lowlevel == "atomic" else config.lowlevel,
        perturbation=PerturbationSpec(),
        evaluate_every=1000,
        drop_last=True,
        normalization="measured",
        bias_lr_scope="vectors",
        cycle_warmup=False,
    )


def _prediction_key(config: RunConfig) -> RunConfig:
    """Return the configuration with only the settings that affect the time of a prediction."""
    plain = RunConfig("", config.model, 1, 1, 0.0)
    return replace(plain, device=config.device, threads=config.threads)


@cache
def _step_seconds(config: RunConfig, shape: ImageShape, classes: int) -> float:
    """Measure the seconds of a step, or extrapolate them linearly from two smaller batches if a
    step would take too long.
    """
    small = min(config.batch_size, max(_SMALL_BATCH, config.chunks))
    seconds = _timed_step(config, small, shape, classes, budget=0.0)
    if seconds * config.batch_size / small < _TOO_LONG:
        return _timed_step(config, config.batch_size, shape, classes, _BUDGET)
    double = min(2 * small, config.batch_size)
    more = _timed_step(config, double, shape, classes, budget=0.0)
    slope = max(more - seconds, 0.0) / max(double - small, 1)
    return seconds + slope * (config.batch_size - small)


def _timed_step(
    config: RunConfig, batch: int, shape: ImageShape, classes: int, budget: float
) -> float:
    config = replace(config, batch_size=batch)
    # A training prepares the batches of this many images at once.
    images = batches_per_block(batch, shape) * batch
    training = ImageTraining(
        config, Seeds(stochastic=2, lowlevel=2), _synthetic_images(images, shape, classes)
    )
    return _timed(training.advance, config.device, budget)


@cache
def _image_seconds(config: RunConfig, shape: ImageShape, classes: int) -> float:
    model = build_model(config.model, shape, classes, philox_key("init", 1), config.device)
    dataset = _synthetic_images(_IMAGES, shape, classes).to(config.device)
    few = dataset.train_images[:_SMALL_BATCH]
    seconds = _timed(lambda: predict(model, dataset, few), config.device, budget=0.0)
    if seconds * _IMAGES / _SMALL_BATCH > _TOO_LONG:
        return seconds / _SMALL_BATCH
    many = dataset.train_images
    return _timed(lambda: predict(model, dataset, many), config.device, _BUDGET) / _IMAGES


def _timed(work: Callable[[], object], device: str, budget: float) -> float:
    """Return the median seconds of `work()`.

    It is repeated until it has taken `budget` seconds, but at least three times; the first time, a
    warm-up, does not count unless it is too long.
    """
    clock = _cuda_clock if device.startswith("cuda") else time.process_time
    seconds: list[float] = []
    while len(seconds) < 3 or sum(seconds) < budget:
        begin = clock()
        work()
        seconds.append(clock() - begin)
        if seconds[0] > _TOO_LONG:
            return seconds[0]
    return statistics.median_low(seconds[1:])


def _cuda_clock() -> float:
    torch.cuda.synchronize()
    return time.perf_counter()


@cache
def _synthetic_images(images: int, shape: ImageShape, classes: int) -> Dataset:
    """Return a data set of so many training images; the time does not depend on their content."""
    pixels = torch.arange(images * shape[0] * shape[1] * shape[2]) * 2654435761 % 251
    train = pixels.to(torch.uint8).view(images, *shape)
    labels = torch.arange(images) % classes
    return make_dataset("synthetic", classes, train, labels, train[:1], labels[:1])
