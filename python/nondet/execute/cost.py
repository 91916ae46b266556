"""Estimate the cost of a study before training: number of runs, time and disk space."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nondet.execute.prefixes import prefix_of, shared_prefixes
from nondet.execute.shapes import AnyShape, TextShape, shape_of
from nondet.studies.config import RunConfig
from nondet.studies.job import Job
from nondet.studies.row import TTA, Keep
from nondet.studies.settings import named_settings
from nondet.studies.shards import Shard
from nondet.studies.study import Plan
from nondet.training.record_sizes import MAX_TAP_IMAGES, PATH_POINTS, PROBE_IMAGES, TTA_VIEWS
from nondet.training.schedules import steps_in_epoch
from nondet.units import duration, size

if TYPE_CHECKING:
    from nondet.execute.calibrate import Speed

CONTROL_TRAININGS = 2.2
"""Cost of verifying the control, in trainings: two, and the fingerprints after every step."""

_ALWAYS_SHOWN = ("momentum", "weight_decay")
"""Settings that a plan's description names also if they have their defaults."""

_SMALL_FILES_BYTES = 24 << 10  # run.json and SHA256SUMS of a run, in whole disk blocks
_EPOCH_BYTES = 160  # a line of history.csv


@dataclass(frozen=True)
class Cost:
    """The cost of a study.

    runs: number of different trainings. core_seconds: time of one processor core, or of the GPU;
    None if not estimated. disk_bytes: size of the study's folder; None if not estimated.
    """

    runs: int
    core_seconds: float | None
    disk_bytes: int | None


def estimate(plan: Plan, *, calibrated: bool = True, shard: Shard | None = None) -> Cost:
    """Return the cost of a whole study, or of a shard, including the verification of its control.

    calibrated: if True, estimate the time by timing a few steps of every configuration on synthetic
    data, about a second each (cached within the process). The time is not estimated if a device or
    a folder of images is missing on this machine.
    """
    tasks = plan.tasks() if shard is None else shard.share(plan)
    try:
        shapes = {config.dataset: shape_of(config.dataset) for config in plan.configs}
    except (OSError, ValueError, ImportError):
        return Cost(len(tasks), None, None)
    disk = sum(_run_bytes(job, keeps, shapes[job.config.dataset]) for job, keeps in tasks.items())
    disk += sum(
        len(prefix.epochs) * _state_bytes(prefix.job.config, shapes[prefix.job.config.dataset])
        for prefix in shared_prefixes(tasks)
    )
    seconds = None
    if calibrated and not any(map(missing_device, devices(plan))):
        seconds = sum(_core_seconds(plan, tasks, shapes))
    return Cost(len(tasks), seconds, disk)


def configurations(plans: Iterable[Plan]) -> list[tuple[RunConfig, AnyShape]]:
    """Return the configurations that `estimate` times for these plans, with their data sets' sizes.

    For a progress bar. Configurations whose data set or device is missing are left out.
    """
    shapes: dict[RunConfig, AnyShape] = {}
    for plan in plans:
        if any(missing_device(config.device) for config in plan.configs):
            continue
        for job in plan.tasks():
            try:
                shapes[job.config] = shape_of(job.config.dataset)
            except (OSError, ValueError, ImportError):
                continue
    return list(shapes.items())


def speed(config: RunConfig, shape: AnyShape) -> "Speed":
    """Measure the speed of a configuration on this machine, once per process."""
    from nondet.execute.calibrate import calibrate, calibrate_language

    if isinstance(shape, TextShape):
        return calibrate_language(config, shape.types)
    return calibrate(config, shape.image, shape.classes)


def devices(plan: Plan) -> list[str]:
    """Return the devices that the runs of a plan need, sorted; a row may have its own."""
    rows = [row.config(config) for config in plan.configs for row in plan.rows_of(config)]
    return sorted({config.device for config in (*plan.configs, *rows)})


def missing_device(device: str) -> bool:
    """Return True if this machine does not have the device ("cpu" or "cuda")."""
    if device == "cpu":
        return False
    import torch

    return not torch.cuda.is_available()


def describe(plan: Plan, workers: int | None = None, *, download: bool = False) -> list[str]:
    """Describe a plan in lines of text: its rows and settings, its cost, and missing requirements.

    workers: number of workers for the time estimate, by default one per available processor.
    download: as of `needs`.
    """
    from nondet.execute.executors import available_processors

    workers = available_processors() if workers is None else workers
    cost = estimate(plan)
    source = f" ({plan.source})" if plan.source else ""
    lines = [f"{plan.study}{source}: {plan.title}", "", *_rows(plan), ""]
    planned = sum(row.count(plan.runs) for config in plan.configs for row in plan.rows_of(config))
    shared = f", {planned} in all rows together" if planned != cost.runs else ""
    lines.append(f"Runs: {cost.runs} different ones{shared}; equal runs are trained once.")
    lines += _settings(plan.configs)
    if cost.core_seconds is None:
        lines.append("Time: not estimated; this machine lacks a device or a data set.")
    else:
        many = "1 worker" if workers == 1 else f"{workers} workers"
        wall = duration(cost.core_seconds / workers)
        lines.append(
            f"Time: about {duration(cost.core_seconds)} of one core, {wall} with {many} "
            "(from timing a few steps here, without reusing runs of other studies)."
        )
    if cost.disk_bytes is not None:
        lines.append(f"Disk: about {size(cost.disk_bytes)}.")
    return lines + needs(plan, download=download)


def needs(plan: Plan, *, download: bool = False) -> list[str]:
    """Return a sentence for each data set or device that a plan needs and this machine lacks.

    download: say that missing data sets would be downloaded, where they can be. Nothing is.
    """
    from nondet.data.loading import default_root, load_dataset
    from nondet.data.vision import VISION_DATASETS

    missing = []
    for name in sorted({config.dataset for config in plan.configs}):
        try:
            load_dataset(name)
        except FileNotFoundError as error:
            if download and name in VISION_DATASETS:
                missing.append(f"Download: {name}, to {default_root().absolute()}.")
            else:
                missing.append(f"Needs: {error}")
        except (OSError, ImportError, ValueError) as error:
            missing.append(f"Needs: {error}")
    if any(map(missing_device, devices(plan))):
        missing.append("Needs: a CUDA device; torch finds none on this machine.")
    return missing


def _rows(plan: Plan) -> list[str]:
    lines = []
    width = max(len(row.name) for row in plan.rows)
    for row in plan.rows:
        models = [config.model for config in plan.configs if row.applies_to(config)]
        if not models:
            continue
        of = f" x {len(models)} models" if len(plan.configs) > 1 else ""
        extra = [f"{name}={value}" for name, value in row.settings.items()]
        extra += [f"from epoch {epoch}" for epoch in sorted({*vars(row.onset).values()} - {0})]
        extra += [row.output] if row.output != "final" else []
        what = " + ".join(row.varies) or "nothing varies"
        details = f" ({', '.join(extra)})" if extra else ""
        lines.append(f"  {row.name:<{width}}  {row.count(plan.runs):>4} runs{of}: {what}{details}")
    return lines


def _settings(configs: tuple[RunConfig, ...]) -> list[str]:
    """Describe the settings that all models share, and those that differ between them."""
    each = [named_settings(config) for config in configs]
    names = list(dict.fromkeys(name for settings in each for name in settings))
    absent = object()
    common = [name for name in names if len({repr(one.get(name, absent)) for one in each}) == 1]
    usual = named_settings(RunConfig("", "", 1, 1, 0.0))
    shown = {
        name: each[0][name]
        for name in common
        if name not in usual or each[0][name] != usual[name] or name in _ALWAYS_SHOWN
    }
    lines = [f"Models: {', '.join(config.model for config in configs)}"]
    lines.append("Settings: " + ", ".join(f"{name} {value}" for name, value in shown.items()))
    for config, settings in zip(configs, each, strict=True):
        own = {name: value for name, value in settings.items() if name not in common}
        if own:
            text = ", ".join(f"{name} {value}" for name, value in own.items())
            lines.append(f"  {config.model}: {text}")
    return lines


def _core_seconds(
    plan: Plan, tasks: dict[Job, frozenset[Keep]], shapes: dict[str, AnyShape]
) -> Iterator[float]:
    """Yield the core seconds of each part of a study."""
    models = {job.config.model for job in tasks}
    for config in (config for config in plan.configs if config.model in models):
        yield CONTROL_TRAININGS * _training_seconds(
            config, shapes[config.dataset], 0, config.epochs
        )
    for prefix in shared_prefixes(tasks):
        config = prefix.job.config
        yield _training_seconds(config, shapes[config.dataset], 0, max(prefix.epochs))
    for job, keeps in tasks.items():
        config, shape = job.config, shapes[job.config.dataset]
        shared = prefix_of(job)
        begin = shared.epochs[0] if shared is not None else 0
        yield _training_seconds(config, shape, begin, config.epochs)
        yield _recording_seconds(config, shape, begin, keeps)


def _training_seconds(config: RunConfig, shape: AnyShape, begin: int, end: int) -> float:
    """Return the core seconds of a training from one epoch to another, with its evaluations."""
    measured = speed(config, shape)
    steps = _steps(config, shape) * (end - begin)
    evaluations = max(end // config.evaluate_every - begin // config.evaluate_every, 1)
    if isinstance(shape, TextShape):
        tokens = (end - begin) * shape.valid + evaluations * shape.test
        return steps * measured.step + tokens * measured.example
    images = shape.test if config.averaging == "none" else shape.test + shape.train
    return steps * measured.step + evaluations * images * measured.example


def _steps(config: RunConfig, shape: AnyShape) -> int:
    """Return the number of steps in an epoch; for a text, the expected number."""
    if config.language is not None:
        return max(shape.train // (config.batch_size * config.language.bptt), 1)
    return steps_in_epoch(config, shape.train)


def _recording_seconds(
    config: RunConfig, shape: AnyShape, begin: int, keeps: frozenset[Keep]
) -> float:
    """Return the core seconds of a run's recorders."""
    if isinstance(shape, TextShape):
        return shape.test * speed(config, shape).example
    image = speed(config, shape).example
    seconds = 0.0
    if "taps" in keeps:
        seconds += min(shape.test, MAX_TAP_IMAGES) * image
    if "tta" in keeps:
        models = config.cycles if config.schedule == "snapshots" else 1
        seconds += models * TTA_VIEWS * shape.test * image
    if "twin" in keeps:
        steps = _steps(config, shape) * (config.epochs - begin)
        seconds += _training_seconds(config, shape, begin, config.epochs)
        seconds += 2 * steps * min(shape.test, PROBE_IMAGES) * image
        # At each point, batch-norm statistics are recomputed and both parts are predicted.
        seconds += PATH_POINTS * (2 * shape.train + shape.test) * image
    return seconds


def _run_bytes(job: Job, keeps: frozenset[Keep], shape: AnyShape) -> int:
    """Return the size of a run's folder in bytes."""
    config = job.config
    if isinstance(shape, TextShape):
        return (
            _SMALL_FILES_BYTES
            + _EPOCH_BYTES * config.epochs
            + 12 * shape.test
            + _weights_bytes(config, shape)
        )
    logits = 4 * shape.test * shape.classes
    sets = 1 + (config.cycles if config.schedule == "snapshots" else 0)
    total = _SMALL_FILES_BYTES + _EPOCH_BYTES * config.epochs + sets * logits
    if "taps" in keeps:
        from nondet.execute.calibrate import model_size

        features = model_size(config, shape.image, shape.classes).features
        total += 4 * min(shape.test, MAX_TAP_IMAGES) * features
    if "tta" in keeps:
        total += len(TTA) * logits * (2 if config.schedule == "snapshots" else 1)
    if "twin" in keeps:
        total += 8 * (5 * _steps(config, shape) + 7) * config.epochs
    if "weights" in keeps:
        total += max(sets - 1, 1) * _weights_bytes(config, shape)
    return total


def _state_bytes(config: RunConfig, shape: AnyShape) -> int:
    """Return the size in bytes of a training's state: weights and optimizer state."""
    tensors = 3 if config.optimizer.startswith("adam") else 2
    return tensors * _weights_bytes(config, shape)


def _weights_bytes(config: RunConfig, shape: AnyShape) -> int:
    from nondet.execute.calibrate import language_model_size, model_size

    if isinstance(shape, TextShape):
        return 4 * language_model_size(config, shape.types).state
    return 4 * model_size(config, shape.image, shape.classes).state
