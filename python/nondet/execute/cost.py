"""What a study costs, before anything is trained: runs, time, disk."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nondet.execute.prefixes import prefix_of, shared_prefixes
from nondet.studies.config import RunConfig
from nondet.studies.job import Job
from nondet.studies.row import TTA, Keep
from nondet.studies.study import Plan
from nondet.units import duration, size

if TYPE_CHECKING:
    from nondet.execute.calibrate import Speed

PATH_POINTS = 11
"""Of a recorded path between twins."""
_TAP_IMAGES = 2000
_PROBE_IMAGES = 256
_TTA_PLACES = 162
_PROOF = 2.2
"""Trainings by which the control is proved, with the looking at every step."""
_FILES = 24 << 10
"""Bytes of a run's small files, in blocks of the disk."""
_EPOCH = 160
"""Bytes of a line of a history."""


@dataclass(frozen=True)
class Shape:
    """Of a data set of images: an image, classes, numbers of images."""

    image: tuple[int, int, int]
    classes: int
    train: int
    test: int


@dataclass(frozen=True)
class TextShape:
    """Of a text: types, and tokens to train with, to validate with and to test with."""

    types: int
    train: int
    valid: int
    test: int


SHAPES = {
    "digits": Shape((1, 8, 8), 10, 1347, 450),
    "cifar10": Shape((3, 32, 32), 10, 50_000, 10_000),
    "cifar100": Shape((3, 32, 32), 100, 50_000, 10_000),
    "mnist": Shape((1, 28, 28), 10, 60_000, 10_000),
    "fashion-mnist": Shape((1, 28, 28), 10, 60_000, 10_000),
    "svhn": Shape((3, 32, 32), 10, 73_257, 26_032),
}
TEXT_SHAPES = {"penn-treebank": TextShape(10_000, 929_589, 73_760, 82_430)}


AnyShape = Shape | TextShape


@dataclass(frozen=True)
class Cost:
    """runs: trainings, each counted once. core_seconds: of one processor core, on a GPU of the GPU;
    None where it was not estimated. disk_bytes: of the study's folder, None where it is not known.
    """

    runs: int
    core_seconds: float | None
    disk_bytes: int | None


def estimate(plan: Plan, *, calibrated: bool = True) -> Cost:
    """The cost of a whole study, nothing of which is done yet, its control's proof included.

    calibrated: time a few steps of every configuration on made-up images, about a second each
    (remembered within the process); without it the time is not estimated. It is not either where
    the device is not in this machine or a folder of images is not there.
    """
    tasks = plan.tasks()
    try:
        shapes = {config.dataset: _shape(config.dataset) for config in plan.configs}
    except (OSError, ValueError, ImportError):
        return Cost(len(tasks), None, None)
    disk = sum(_run_bytes(job, keeps, shapes[job.config.dataset]) for job, keeps in tasks.items())
    disk += sum(
        len(prefix.epochs) * _state_bytes(prefix.job.config, shapes[prefix.job.config.dataset])
        for prefix in shared_prefixes(tasks)
    )
    seconds = None
    if calibrated and not any(missing_device(config.device) for config in plan.configs):
        seconds = sum(_work(plan, tasks, shapes))
    return Cost(len(tasks), seconds, disk)


def configurations(plans: Iterable[Plan]) -> list[tuple[RunConfig, AnyShape]]:
    """What `estimate` would time for these plans, for whoever shows how far it is."""
    found: dict[RunConfig, AnyShape] = {}
    for plan in plans:
        for job in plan.tasks():
            try:
                found[job.config] = _shape(job.config.dataset)
            except (OSError, ValueError, ImportError):
                continue
    return list(found.items())


def speed(config: RunConfig, shape: AnyShape) -> "Speed":
    """How fast a configuration is here, measured once in a process."""
    from nondet.execute.calibrate import calibrate, calibrate_language

    if isinstance(shape, TextShape):
        return calibrate_language(config, shape.types)
    return calibrate(config, shape.image, shape.classes)


def missing_device(device: str) -> bool:
    """Whether a device is not in this machine."""
    if device == "cpu":
        return False
    import torch

    return not torch.cuda.is_available()


def describe(plan: Plan, workers: int | None = None) -> list[str]:
    """Lines that say what would be run, how long it takes with so many workers (one per processor
    if None), and what it needs.
    """
    from nondet.execute.executors import available_processors

    workers = available_processors() if workers is None else workers
    cost = estimate(plan)
    source = f" ({plan.source})" if plan.source else ""
    lines = [f"{plan.study}{source}: {plan.title}", "", *_rows(plan), ""]
    planned = sum(row.count(plan.runs) for config in plan.configs for row in plan.rows_of(config))
    shared = f", {planned} in all rows together" if planned != cost.runs else ""
    lines.append(f"Runs: {cost.runs} different ones{shared}; equal ones are trained once.")
    lines += _settings(plan.configs)
    if cost.core_seconds is None:
        lines.append("Time: not estimated; a device or a data set is not in this machine.")
    else:
        many = "1 worker" if workers == 1 else f"{workers} workers"
        wall = duration(cost.core_seconds / workers)
        lines.append(
            f"Time: about {duration(cost.core_seconds)} of one core, {wall} with {many} "
            "(from a few steps timed here; nothing taken over from other studies)."
        )
    if cost.disk_bytes is not None:
        lines.append(f"Disk: about {size(cost.disk_bytes)}.")
    return lines + needs(plan)


def needs(plan: Plan) -> list[str]:
    """What a plan needs that is not there, or would be good to have; a sentence each."""
    from nondet.data import load_dataset

    found = []
    for name in sorted({config.dataset for config in plan.configs}):
        try:
            load_dataset(name)
        except (OSError, ImportError, ValueError) as error:
            found.append(f"Needs: {error}")
    if any(missing_device(config.device) for config in plan.configs):
        found.append("Needs: a CUDA device; torch sees none on this machine.")
    return found


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
    """What all models have in common, and what each has of its own."""
    first = configs[0].to_json()
    common = [
        name for name in first if all(config.to_json()[name] == first[name] for config in configs)
    ]
    lines = [f"Models: {', '.join(config.model for config in configs)}"]
    usual = RunConfig("", "", 1, 1, 0.0).to_json()
    named = {
        name: value
        for name, value in first.items()
        if name in common and (value != usual[name] or name in ("momentum", "weight_decay"))
    }
    named.pop("model", None)
    lines.append("Settings: " + ", ".join(f"{name} {value}" for name, value in named.items()))
    for config in configs:
        own = {k: v for k, v in config.to_json().items() if k not in common and k != "model"}
        if own:
            text = ", ".join(f"{name} {value}" for name, value in own.items())
            lines.append(f"  {config.model}: {text}")
    return lines


def _shape(dataset: str) -> AnyShape:
    """Raises what `load_dataset` raises, for a folder of images and for a text."""
    known: AnyShape | None = SHAPES.get(dataset) or TEXT_SHAPES.get(dataset)
    if known is not None:
        return known
    from nondet.data import TextDataset, load_dataset

    read = load_dataset(dataset)
    if isinstance(read, TextDataset):
        return TextShape(read.classes, len(read.train), len(read.valid), len(read.test))
    return Shape(read.image_shape, read.classes, len(read.train_labels), len(read.test_labels))


def _work(
    plan: Plan, tasks: dict[Job, frozenset[Keep]], shapes: dict[str, AnyShape]
) -> Iterator[float]:
    """Core seconds of everything that has to be done."""
    for config in plan.configs:
        yield _PROOF * _epochs(config, shapes[config.dataset], 0, config.epochs)
    for prefix in shared_prefixes(tasks):
        config = prefix.job.config
        yield _epochs(config, shapes[config.dataset], 0, max(prefix.epochs))
    for job, keeps in tasks.items():
        config, shape = job.config, shapes[job.config.dataset]
        shared = prefix_of(job)
        begin = shared.epochs[0] if shared is not None else 0
        yield _epochs(config, shape, begin, config.epochs)
        yield _recording(config, shape, begin, keeps)


def _epochs(config: RunConfig, shape: AnyShape, begin: int, end: int) -> float:
    """Of a training from one epoch to another, with its evaluations."""
    found = speed(config, shape)
    steps = _steps(config, shape) * (end - begin)
    evaluations = max(end // config.evaluate_every - begin // config.evaluate_every, 1)
    if isinstance(shape, TextShape):
        tokens = (end - begin) * shape.valid + evaluations * shape.test
        return steps * found.step + tokens * found.example
    images = shape.test if config.averaging == "none" else shape.test + shape.train
    return steps * found.step + evaluations * images * found.example


def _steps(config: RunConfig, shape: AnyShape) -> int:
    """Of an epoch; of a text on average."""
    if config.language is not None:
        return max(shape.train // (config.batch_size * config.language.bptt), 1)
    return shape.train // config.batch_size


def _recording(config: RunConfig, shape: AnyShape, begin: int, keeps: frozenset[Keep]) -> float:
    """Of what is recorded beside the predictions."""
    if isinstance(shape, TextShape):
        return shape.test * speed(config, shape).example
    image = speed(config, shape).example
    seconds = 0.0
    if "taps" in keeps:
        seconds += min(shape.test, _TAP_IMAGES) * image
    if "tta" in keeps:
        models = config.cycles if config.schedule == "snapshots" else 1
        seconds += models * _TTA_PLACES * shape.test * image
    if "twin" in keeps:
        steps = shape.train // config.batch_size * (config.epochs - begin)
        seconds += _epochs(config, shape, begin, config.epochs)
        seconds += 2 * steps * min(shape.test, _PROBE_IMAGES) * image
        # Statistics are recomputed on the training images, then both parts predicted.
        seconds += PATH_POINTS * (2 * shape.train + shape.test) * image
    return seconds


def _run_bytes(job: Job, keeps: frozenset[Keep], shape: AnyShape) -> int:
    """Of one run's folder."""
    config = job.config
    if isinstance(shape, TextShape):
        return _FILES + _EPOCH * config.epochs + 12 * shape.test + _weights_bytes(config, shape)
    logits = 4 * shape.test * shape.classes
    sets = 1 + (config.cycles if config.schedule == "snapshots" else 0)
    total = _FILES + _EPOCH * config.epochs + sets * logits
    if "taps" in keeps:
        from nondet.execute.calibrate import model_size

        features = model_size(config, shape.image, shape.classes).features
        total += 4 * min(shape.test, _TAP_IMAGES) * features
    if "tta" in keeps:
        total += len(TTA) * logits * (2 if config.schedule == "snapshots" else 1)
    if "twin" in keeps:
        total += 8 * (5 * (shape.train // config.batch_size) + 7) * config.epochs
    if "weights" in keeps:
        total += _weights_bytes(config, shape)
    return total


def _state_bytes(config: RunConfig, shape: AnyShape) -> int:
    """Of a training's state on disk: weights and what the optimizer keeps of each."""
    kept = 3 if config.optimizer.startswith("adam") else 2
    return kept * _weights_bytes(config, shape)


def _weights_bytes(config: RunConfig, shape: AnyShape) -> int:
    from nondet.execute.calibrate import language_model_size, model_size

    if isinstance(shape, TextShape):
        return 4 * language_model_size(config, shape.types).state
    return 4 * model_size(config, shape.image, shape.classes).state
