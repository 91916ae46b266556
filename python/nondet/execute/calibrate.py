"""How fast this machine trains a configuration, from a few steps on made-up images or texts."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import torch

from nondet.data import Dataset, TextDataset
from nondet.data.dataset import make_dataset
from nondet.models import QRNNLanguageModel, build_model, representations
from nondet.studies.config import RunConfig
from nondet.studies.seeds import Seeds, philox_key
from nondet.studies.specs import PerturbationSpec
from nondet.training.determinism import deterministic
from nondet.training.evaluation import predict
from nondet.training.images import ImageTraining
from nondet.training.language import LanguageTraining
from nondet.training.text_evaluation import EVALUATION_TOKENS, predict_tokens

ImageShape = tuple[int, int, int]

_BUDGET = 0.15
"""Seconds for which some work is repeated."""
_LONG = 1.0
"""Seconds that are too many to be spent again."""
_SMALL = 8
"""A batch from which the time of a larger one is extrapolated, where that would take too long."""
_IMAGES = 256
"""Predicted at once, where that does not take too long."""


@dataclass(frozen=True)
class Speed:
    """In seconds of one core, on a GPU of the clock: an optimizer step, its batch prepared, and the
    prediction of one example, an image or a token of a text.
    """

    step: float
    example: float


@dataclass(frozen=True)
class Size:
    """Of a model: numbers of all parameters and statistics, and of all the features at its taps for
    one image (of a language model none).
    """

    state: int
    features: int


def calibrate(config: RunConfig, shape: ImageShape, classes: int) -> Speed:
    """The speed of a configuration on images of this shape (channels, height, width). Takes about a
    second, several for models whose single step takes one; what was measured once in a process is
    remembered. Raises RuntimeError for a device that is not there.
    """
    with deterministic(config.threads):
        return Speed(
            _step_seconds(_essence(config), shape, classes),
            _image_seconds(_architecture(config), shape, classes),
        )


def calibrate_language(config: RunConfig, types: int) -> Speed:
    """The speed of a language model's configuration for so many word types; see `calibrate`. The
    step is one through as many tokens as segments have on average.
    """
    with deterministic(config.threads):
        return _language_speed(_essence(config), types)


def language_model_size(config: RunConfig, types: int) -> Size:
    """The size of a configuration's language model."""
    assert config.language is not None
    with torch.device("meta"):
        model = QRNNLanguageModel(config.language, types)
    return Size(sum(tensor.numel() for tensor in model.state_dict().values()), 0)


@cache
def _language_speed(config: RunConfig, types: int) -> Speed:
    assert config.language is not None
    spec = replace(config.language, variable_bptt=False)
    config = replace(config, language=spec)
    steps = 20  # more than are done
    text = torch.arange(config.batch_size * (steps * spec.bptt + 1)) * 2654435761 % types
    names = tuple(map(str, range(types)))
    dataset = TextDataset("made-up", names, text, text[:2], text[:EVALUATION_TOKENS], {})
    dataset = dataset.to(config.device)
    training = LanguageTraining(config, Seeds(stochastic=2), dataset)
    step = _timed(training.advance, config.device, budget=0.0)
    seconds = _timed(
        lambda: predict_tokens(training.model, dataset.test, 0), config.device, budget=0.0
    )
    return Speed(step, seconds / EVALUATION_TOKENS)


def model_size(config: RunConfig, shape: ImageShape, classes: int) -> Size:
    """The size of a configuration's model."""
    return _size(config.model, shape, classes)


@cache
def _size(name: str, shape: ImageShape, classes: int) -> Size:
    model = build_model(name, shape, classes, philox_key("init", 1))
    taps = representations(model, torch.zeros(1, *shape))
    state = sum(tensor.numel() for tensor in model.state_dict().values())
    return Size(state, sum(tensor.numel() for tensor in taps.values()))


def _essence(config: RunConfig) -> RunConfig:
    """The configuration without what costs no time, so that fewer are measured."""
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
        crop_padding=1 if config.crop_padding or config.flip else 0,
        flip=False,
        lowlevel="seeded" if config.lowlevel == "atomic" else config.lowlevel,
        perturbation=PerturbationSpec(),
        evaluate_every=1000,
    )


def _architecture(config: RunConfig) -> RunConfig:
    """What decides the time of a prediction."""
    plain = RunConfig("", config.model, 1, 1, 0.0)
    return replace(plain, device=config.device, threads=config.threads)


@cache
def _step_seconds(config: RunConfig, shape: ImageShape, classes: int) -> float:
    """Directly, or on the line through two small batches where one step would take too long."""
    small = min(config.batch_size, max(_SMALL, config.chunks))
    seconds = _timed_step(config, small, shape, classes, budget=0.0)
    if seconds * config.batch_size / small < _LONG:
        return _timed_step(config, config.batch_size, shape, classes, _BUDGET)
    double = min(2 * small, config.batch_size)
    more = _timed_step(config, double, shape, classes, budget=0.0)
    slope = max(more - seconds, 0.0) / max(double - small, 1)
    return seconds + slope * (config.batch_size - small)


def _timed_step(
    config: RunConfig, batch: int, shape: ImageShape, classes: int, budget: float
) -> float:
    config = replace(config, batch_size=batch)
    # As many images as a training prepares at once.
    images = max(2048 // batch, 1) * batch
    training = ImageTraining(
        config, Seeds(stochastic=2, lowlevel=2), _made_up(images, shape, classes)
    )
    return _timed(training.advance, config.device, budget)


@cache
def _image_seconds(config: RunConfig, shape: ImageShape, classes: int) -> float:
    model = build_model(config.model, shape, classes, philox_key("init", 1), config.device)
    dataset = _made_up(_IMAGES, shape, classes).to(config.device)
    few = dataset.train_images[:_SMALL]
    seconds = _timed(lambda: predict(model, dataset, few), config.device, budget=0.0)
    if seconds * _IMAGES / _SMALL > _LONG:
        return seconds / _SMALL
    many = dataset.train_images
    return _timed(lambda: predict(model, dataset, many), config.device, _BUDGET) / _IMAGES


def _timed(work: Callable[[], object], device: str, budget: float) -> float:
    """Median seconds of some work, done for so many seconds, and at least twice after a first time
    that does not count.
    """
    clock = _cuda_clock if device.startswith("cuda") else time.process_time
    seconds: list[float] = []
    while len(seconds) < 3 or sum(seconds) < budget:
        begin = clock()
        work()
        seconds.append(clock() - begin)
        if seconds[0] > _LONG:
            return seconds[0]
    return statistics.median_low(seconds[1:])


def _cuda_clock() -> float:
    torch.cuda.synchronize()
    return time.perf_counter()


@cache
def _made_up(images: int, shape: ImageShape, classes: int) -> Dataset:
    """Images whose pixels follow a pattern; what they show costs nothing."""
    pixels = torch.arange(images * shape[0] * shape[1] * shape[2]) * 2654435761 % 251
    train = pixels.to(torch.uint8).view(images, *shape)
    labels = torch.arange(images) % classes
    return make_dataset("made-up", classes, train, labels, train[:1], labels[:1])
