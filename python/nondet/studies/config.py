"""The configuration of a run: everything except the seeds."""

import functools
from dataclasses import dataclass, field
from typing import Any, Literal

from nondet.names import check_model
from nondet.schemas import SchemaError, check, join
from nondet.studies.errors import SettingError
from nondet.studies.later import LATER, settings_json
from nondet.studies.published import NORMALIZATION
from nondet.studies.schema import field_types, locating, object_type, required_fields
from nondet.studies.specs import LanguageSpec, PerturbationSpec
from nondet.studies.validation import (
    MOST_EPOCHS,
    check_fraction,
    check_maximum,
    check_minimum,
    check_not_negative,
    check_types,
)

Optimizer = Literal["sgd", "nesterov", "adam", "adamw"]
Schedule = Literal["cosine", "snapshots", "step", "constant"]
Averaging = Literal["none", "swa", "ema", "aggressive", "aggressive-aside", "triggered"]
BiasScope = Literal["vectors", "published"]
Normalization = Literal["measured", "published"]
Precision = Literal["float32", "tf32", "bfloat16"]
LowLevel = Literal["off", "seeded", "atomic", "exact", "vendor"]

_LIMITS = {
    "epochs": (1, MOST_EPOCHS),
    "batch_size": (1, 2**31 - 1),
    "warmup_epochs": (0, MOST_EPOCHS),
    "cycles": (1, MOST_EPOCHS),
    "averaging_start": (0, MOST_EPOCHS),
    "crop_padding": (0, 2**16),
    "chunks": (1, 2**16),
    "evaluate_every": (1, 2**31 - 1),
    "threads": (1, 1024),
}
"""The lowest and the highest value of settings that are counts."""


@dataclass(frozen=True)
class RunConfig:
    """Everything except the seeds that decides what a training computes.

    Attributes:
        dataset: The name of the data set (`nondet.load_dataset`).
        model: The name of the model (`nondet.names.MODELS`).
        epochs: The number of passes over the training data.
        batch_size: The number of examples per step; of a text, the number of pieces that are read
            in parallel.
        lr: The highest learning rate.
        optimizer: "sgd", "nesterov", "adam" or "adamw".
        momentum: The momentum of SGD, or the decay of Adam's first moment (beta 1).
        adam_beta2: The decay of Adam's second moment.
        adam_eps: The constant that Adam adds to the denominator.
        weight_decay: The factor of weight decay.
        bias_lr_scale: The factor on the learning rate of biases and batch-norm scales (0.1 in the
            paper's code).
        schedule: The learning rate after the warm-up: "cosine" falls from lr to 0; "snapshots" does
            so `cycles` times (Huang et al. 2017); "step" multiplies by `decay` at each of
            `milestones`; "constant".
        warmup_epochs: The epochs over which the rate rises linearly at the beginning.
        cycles: The number of cycles of the schedule "snapshots".
        milestones: The epochs at which the schedule "step" lowers the rate, increasing.
        decay: The factor of the schedule "step".
        label_smoothing: The probability that is spread evenly over all classes.
        averaging: How weights are averaged over the training; "none" by default.
        averaging_start: The epoch, counted from 0, from which weights are averaged.
        ema_decay: The decay of the averaging "ema".
        weight_offset: The standard deviation of the normal offsets that are added to the weights
            while the gradient is computed (paper, Appendix A).
        dropout: The probability of a zero.
        crop_padding: The pixels by which images are moved at most, each way.
        flip: Mirror half of the images.
        lowlevel: The order in which gradients are accumulated if the low-level seed is not held:
            "seeded" draws it from the seed, "atomic" lets threads race, "exact" rounds the exact
            sum, "vendor" lets cuDNN choose, which may race or not; "off" uses the vendor's kernels
            as they are. With a held seed the order is fixed. See `nondet.lowlevel`.
        chunks: The number of partial sums into which a batch is split by `lowlevel`.
        perturbation: The small change (`PerturbationSpec`).
        evaluate_every: The epochs from one evaluation to the next; the last is always evaluated.
        threads: The threads with which a CPU computes. Results depend on them.
        device: "cpu" or "cuda".
        language: The settings of a language model; None for all other models.
        drop_last: Leave out the last, smaller batch of an epoch, if the batch size does not divide
            the training data.
        normalization: What is subtracted from images, and by what they are divided: "measured", the
            mean and standard deviation of the training pixels, or "published", the constants of
            the paper's code, which has some for CIFAR-10 and MNIST.
        bias_lr_scope: The parameters whose rate `bias_lr_scale` multiplies: all "vectors", or as in
            the "published" code, which trains the batch-norm scales of VGG and those in the
            shortcuts of ResNets at the full rate.
        cycle_warmup: Begin every cycle of the schedule "snapshots" with the warm-up; else the first
            alone.
        precision: Of the matrix products and convolutions in a training step: "float32"; "tf32",
            which rounds their inputs to 10 bits of significand on the tensor cores of a CUDA
            device; or "bfloat16", torch's automatic mixed precision. Predictions are computed in
            float32.
        held_seed: The seed of a source that is held (paper, Appendix D). `lowlevel` and `bit` are
            held by their absence, whatever it is.
        shuffle_once: Draw the order of the examples once for all epochs.
        resized_crop: Train on a random part of each image, scaled to its size: 8 to 100 % of the
            area, 3/4 to 4/3 as wide as high, as torchvision's RandomResizedCrop. It takes the place
            of `crop_padding`.
    """

    dataset: str
    model: str
    epochs: int
    batch_size: int
    lr: float
    optimizer: Optimizer = "sgd"
    momentum: float = 0.9
    adam_beta2: float = 0.999
    adam_eps: float = 1e-8
    weight_decay: float = 5e-4
    bias_lr_scale: float = 0.1
    schedule: Schedule = "cosine"
    warmup_epochs: int = 3
    cycles: int = 5
    milestones: tuple[int, ...] = ()
    decay: float = 0.1
    label_smoothing: float = 0.0
    averaging: Averaging = "none"
    averaging_start: int = 0
    ema_decay: float = 0.999
    weight_offset: float = 0.0
    dropout: float = 0.0
    crop_padding: int = 0
    flip: bool = False
    lowlevel: LowLevel = "seeded"
    chunks: int = 8
    perturbation: PerturbationSpec = field(default_factory=PerturbationSpec)
    evaluate_every: int = 1
    threads: int = 1
    device: str = "cpu"
    language: LanguageSpec | None = field(default=None, metadata=LATER)
    drop_last: bool = field(default=True, metadata=LATER)
    normalization: Normalization = field(default="measured", metadata=LATER)
    bias_lr_scope: BiasScope = field(default="vectors", metadata=LATER)
    cycle_warmup: bool = field(default=False, metadata=LATER)
    precision: Precision = field(default="float32", metadata=LATER)
    held_seed: int = field(default=1, metadata=LATER)
    shuffle_once: bool = field(default=False, metadata=LATER)
    resized_crop: bool = field(default=False, metadata=LATER)

    def __post_init__(self) -> None:
        check_types(self)
        for name, (minimum, maximum) in _LIMITS.items():
            check_minimum(name, getattr(self, name), minimum)
            check_maximum(name, getattr(self, name), maximum)
        check_minimum("held_seed", self.held_seed, 0)
        if self.held_seed >= 2**32:
            raise SettingError(
                f"held_seed is {self.held_seed}; it must be below 2**32", "held_seed"
            )
        for name in ("lr", "weight_decay", "bias_lr_scale", "weight_offset", "decay", "adam_eps"):
            check_not_negative(name, getattr(self, name))
        for name in ("momentum", "adam_beta2", "ema_decay", "label_smoothing", "dropout"):
            check_fraction(name, getattr(self, name))
        if list(self.milestones) != sorted(set(self.milestones)) or any(
            epoch < 1 for epoch in self.milestones
        ):
            raise SettingError(
                f"milestones are {self.milestones}; they must be increasing epochs above 0",
                "milestones",
            )
        _check_combinations(self)
        if self.language is not None:
            _check_language(self)

    @staticmethod
    def from_json(data: Any, where: str = "") -> "RunConfig":
        """Return the configuration that `to_json` described.

        data: any JSON value. where: its path, with which errors begin. Missing entries have their
        defaults, except "milestones" and "perturbation", which are required.
        The model must exist, because files of reports are named after it.

        Raises SchemaError (a ValueError) for anything else.
        """
        values = dict(check(_json_type(), data, where))
        try:
            check_model(values["model"])
        except ValueError as error:
            raise SchemaError(join(where, "model"), str(error)) from None
        with locating(where, data):
            values["perturbation"] = PerturbationSpec(**values["perturbation"])
            values["milestones"] = tuple(values["milestones"])
            if "language" in values:
                values["language"] = LanguageSpec(**values["language"])
            return RunConfig(**values)

    def to_json(self) -> dict[str, Any]:
        """Return the configuration as JSON types, without `LATER` settings at their default."""
        return settings_json(self)


@functools.cache
def _json_type() -> Any:
    required = (*required_fields(RunConfig), "milestones", "perturbation")
    return object_type("RunConfig", field_types(RunConfig), required)


def _check_combinations(config: RunConfig) -> None:
    """Raise SettingError for settings that are valid alone, but not together."""
    _check_snapshots(config)
    _check_precision(config)
    if config.optimizer == "nesterov" and config.momentum == 0:
        raise SettingError(
            f"momentum is {config.momentum}; the optimizer 'nesterov' needs one above 0",
            "momentum",
            "optimizer",
        )
    if config.averaging != "none" and config.averaging_start >= config.epochs:
        raise SettingError(
            f"averaging_start is {config.averaging_start}; it must be below the "
            f"{config.epochs} epochs",
            "averaging_start",
            "epochs",
        )
    if config.lowlevel == "vendor" and not config.device.startswith("cuda"):
        raise SettingError(
            f"lowlevel is 'vendor', which cuDNN offers on cuda alone; device is {config.device!r}",
            "lowlevel",
            "device",
        )
    if config.normalization == "published" and config.dataset not in NORMALIZATION:
        raise SettingError(
            f"normalization is 'published', which there is for {', '.join(NORMALIZATION)} alone; "
            f"dataset is {config.dataset!r}: set normalization to 'measured'",
            "normalization",
            "dataset",
        )
    if config.resized_crop and config.crop_padding:
        raise SettingError(
            f"resized_crop is true, and crop_padding is {config.crop_padding}; only one of them "
            "can crop an image: set crop_padding to 0",
            "resized_crop",
            "crop_padding",
        )
    if config.averaging == "triggered" and config.language is None:
        raise SettingError(
            "averaging is 'triggered', which only language models have", "averaging", "language"
        )


def _check_snapshots(config: RunConfig) -> None:
    """Raise SettingError for cycles that do not fit into the training."""
    if config.schedule != "snapshots":
        return
    if config.epochs % config.cycles:
        raise SettingError(
            f"epochs is {config.epochs}; snapshots need a multiple of cycles, {config.cycles}",
            "epochs",
            "cycles",
            "schedule",
        )
    per_cycle = config.epochs // config.cycles
    if config.warmup_epochs >= per_cycle:
        raise SettingError(
            f"warmup_epochs is {config.warmup_epochs}; with snapshots it must be below the "
            f"{per_cycle} epochs of a cycle",
            "warmup_epochs",
            "schedule",
            "epochs",
            "cycles",
        )


def _check_precision(config: RunConfig) -> None:
    """Raise SettingError for a precision that the device or the low-level source does not have."""
    if config.precision == "tf32" and not config.device.startswith("cuda"):
        raise SettingError(
            f"precision is 'tf32', which there is on cuda alone; device is {config.device!r}",
            "precision",
            "device",
        )
    if config.precision == "bfloat16" and config.lowlevel not in ("off", "vendor"):
        raise SettingError(
            f"precision is 'bfloat16', but lowlevel is {config.lowlevel!r}, whose layers compute "
            "in float32; set lowlevel to 'off' or 'vendor'",
            "precision",
            "lowlevel",
        )


def _check_language(config: RunConfig) -> None:
    """Raise SettingError for settings that the training of a language model does not have."""
    absent = {
        "lowlevel": config.lowlevel != "off",
        "crop_padding": config.crop_padding > 0,
        "flip": config.flip,
        "resized_crop": config.resized_crop,
        "drop_last": not config.drop_last,
        "bias_lr_scope": config.bias_lr_scope != "vectors",
        "cycle_warmup": config.cycle_warmup,
        "precision": config.precision == "bfloat16",
        "shuffle_once": config.shuffle_once,
        "weight_offset": config.weight_offset > 0,
        "dropout": config.dropout > 0,
        "label_smoothing": config.label_smoothing > 0,
        "schedule": config.schedule == "snapshots",
        "averaging": config.averaging not in ("none", "ema", "triggered"),
    }
    for name, given in absent.items():
        if given:
            raise SettingError(
                f"{name} is {getattr(config, name)!r}, which the training of a language model "
                "does not have",
                name,
                "language",
            )
    if config.perturbation.target in ("pixel", "statistics"):
        raise SettingError(
            f"perturbation.target is {config.perturbation.target!r}, of which a language model has "
            "nothing",
            "perturbation.target",
            "language",
        )
