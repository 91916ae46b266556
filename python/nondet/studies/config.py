"""The configuration of a run, and the job that adds the seeds."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from nondet.studies.errors import SettingError
from nondet.studies.seeds import HELD, Onset, Seeds
from nondet.studies.validation import (
    check_fraction,
    check_minimum,
    check_not_negative,
    check_types,
)

FORMAT = 2
"""The version of the meaning of a job.

It is increased whenever equal configurations and seeds no longer mean equal training, so that older
runs are not reused.
"""

Optimizer = Literal["sgd", "nesterov", "adam", "adamw"]
Schedule = Literal["cosine", "snapshots", "step", "constant"]
Averaging = Literal["none", "swa", "ema", "aggressive", "aggressive-aside", "triggered"]
LowLevel = Literal["off", "seeded", "atomic", "exact", "vendor"]
Target = Literal["weights", "momentum", "statistics", "gradient", "pixel"]
Change = Literal["ulp", "bit"]


@dataclass(frozen=True)
class PerturbationSpec:
    """The small change that a run makes once if its bit seed is not held.

    Attributes:
        target: The kind of value that is changed: a weight, an entry of the optimizer's momentum, a
            batch-norm statistic, an entry of a gradient, or a pixel of a batch as the model sees
            it.
        step: The optimizer step, counted from the beginning of the onset epoch, just before which
            the value is changed; a gradient is changed within the step.
        tensor: The name of the tensor, or a shell pattern of names such as "blocks.0.*". By default
            the weight of the first layer; for other targets, drawn from all tensors.
        index: The flat row-major index of the value; drawn by default.
        change: "ulp" moves to a neighbouring floating-point value, "bit" inverts one bit.
        direction: 1 for up, -1 for down, with "ulp" only; drawn by default.
        bit: The bit, 0 being the lowest, with "bit" only; drawn by default.
    """

    target: Target = "weights"
    step: int = 0
    tensor: str | None = None
    index: int | None = None
    change: Change = "ulp"
    direction: int | None = None
    bit: int | None = None

    def __post_init__(self) -> None:
        check_types(self, "perturbation.")
        check_minimum("perturbation.step", self.step, 0)
        if self.index is not None:
            check_minimum("perturbation.index", self.index, 0)
            if self.tensor is None and self.target not in ("weights", "pixel"):
                raise SettingError(
                    f"perturbation.index is {self.index}, but no perturbation.tensor is given; "
                    f"with the target {self.target!r} an index needs a tensor",
                    "perturbation.index",
                    "perturbation.target",
                )
        if self.direction not in (None, 1, -1):
            raise SettingError(
                f"perturbation.direction is {self.direction}; known: 1, -1",
                "perturbation.direction",
            )
        if self.direction is not None and self.change != "ulp":
            raise SettingError(
                f"perturbation.direction is {self.direction}, but the change is 'bit'; only 'ulp' "
                "has a direction",
                "perturbation.direction",
                "perturbation.change",
            )
        if self.bit is not None:
            if self.change != "bit":
                raise SettingError(
                    f"perturbation.bit is {self.bit}, but the change is 'ulp'; only 'bit' inverts "
                    "a bit",
                    "perturbation.bit",
                    "perturbation.change",
                )
            if not 0 <= self.bit < 64:
                raise SettingError(
                    f"perturbation.bit is {self.bit}; it must lie in [0, 64)", "perturbation.bit"
                )


@dataclass(frozen=True)
class LanguageSpec:
    """The settings that only language models have.

    Attributes:
        embedding: The size of the embedding.
        hidden: The units of each layer of the quasi-recurrent network (Bradbury et al. 2016).
        layers: The number of its layers.
        window: The tokens that its first layer sees at a time, 1 or 2; other layers see 1.
        bptt: The mean length, in tokens, of the segments through which gradients flow.
        variable_bptt: Draw the length of every segment (Merity et al. 2017, Sec. 5).
        dropout_embedding: Dropout of whole words of the vocabulary.
        dropout_input: Dropout of the embedded input; one mask for all tokens of a segment.
        dropout_hidden: Dropout between layers; one mask for all tokens of a segment.
        dropout_output: Dropout after the last layer; one mask for all tokens of a segment.
        dropout_weight: Dropout of the weights of the gates.
        zoneout: The probability that a unit keeps its state (Krueger et al. 2017).
        activation_reg: The factor of the L2 penalty on the output of the last layer (Merity et al.
            2017, Sec. 4).
        temporal_reg: The factor of the L2 penalty on the change of that output from token to token
            (the same).
        clip: The largest norm of a gradient; 0 for no limit.
        trigger: The averaging "triggered" begins after an epoch whose validation loss exceeds the
            lowest of all epochs before it except the last `trigger` of them.
    """

    embedding: int = 256
    hidden: int = 512
    layers: int = 3
    window: int = 2
    bptt: int = 70
    variable_bptt: bool = True
    dropout_embedding: float = 0.1
    dropout_input: float = 0.4
    dropout_hidden: float = 0.25
    dropout_output: float = 0.4
    dropout_weight: float = 0.0
    zoneout: float = 0.0
    activation_reg: float = 2.0
    temporal_reg: float = 1.0
    clip: float = 0.25
    trigger: int = 5

    def __post_init__(self) -> None:
        check_types(self, "language.")
        for name in ("embedding", "hidden", "layers", "bptt", "trigger"):
            check_minimum(f"language.{name}", getattr(self, name), 1)
        if self.window not in (1, 2):
            raise SettingError(f"language.window is {self.window}; known: 1, 2", "language.window")
        for name, value in vars(self).items():
            if name.startswith("dropout_") or name == "zoneout":
                check_fraction(f"language.{name}", value)
        for name in ("activation_reg", "temporal_reg", "clip"):
            check_not_negative(f"language.{name}", getattr(self, name))

    @property
    def stochastic(self) -> bool:
        """True if training draws more than the initial weights and the small change."""
        dropped = [value for name, value in vars(self).items() if name.startswith("dropout_")]
        return self.variable_bptt or any(dropped) or self.zoneout > 0


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
            sum, "vendor" lets cuDNN choose; "off" uses the vendor's kernels as they are. With a
            held seed the order is fixed. See `nondet.lowlevel`.
        chunks: The number of partial sums into which a batch is split by `lowlevel`.
        perturbation: The small change (`PerturbationSpec`).
        evaluate_every: The epochs from one evaluation to the next; the last is always evaluated.
        threads: The threads with which a CPU computes. Results depend on them.
        device: "cpu" or "cuda".
        language: The settings of a language model; None for all other models.
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
    language: LanguageSpec | None = None

    def __post_init__(self) -> None:
        check_types(self)
        for name, minimum in (
            ("epochs", 1),
            ("batch_size", 1),
            ("warmup_epochs", 0),
            ("cycles", 1),
            ("averaging_start", 0),
            ("crop_padding", 0),
            ("chunks", 1),
            ("evaluate_every", 1),
            ("threads", 1),
        ):
            check_minimum(name, getattr(self, name), minimum)
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
    def from_json(data: Mapping[str, Any]) -> "RunConfig":
        """Return the configuration that `to_json` described.

        Raises TypeError, ValueError or KeyError for anything else.
        """
        values = dict(data)
        values["perturbation"] = PerturbationSpec(**values["perturbation"])
        values["milestones"] = tuple(values["milestones"])
        if "language" in values:
            values["language"] = LanguageSpec(**values["language"])
        return RunConfig(**values)

    def to_json(self) -> dict[str, Any]:
        """Return the configuration as JSON types; "language" is left out if it is None."""
        values = asdict(self) | {"milestones": list(self.milestones)}
        if self.language is None:
            del values["language"]
        return values


@dataclass(frozen=True)
class Job:
    """One training to be done.

    Attributes:
        config: The configuration.
        seeds: One seed per source of nondeterminism.
        repeat: A number that distinguishes repetitions of equal work, as in the control row.
        onset: The epoch from which each source follows its seed.
    """

    config: RunConfig
    seeds: Seeds
    repeat: int = 0
    onset: Onset = field(default_factory=Onset)

    def __post_init__(self) -> None:
        for source in fields(Onset):
            epoch = getattr(self.onset, source.name)
            if epoch > self.config.epochs:
                raise SettingError(
                    f"the onset of {source.name} is epoch {epoch}; the training has "
                    f"{self.config.epochs} epochs",
                    f"onset.{source.name}",
                    "epochs",
                )

    def identity(self) -> dict[str, Any]:
        """Return the job as JSON types; equal jobs give equal dictionaries.

        The onset of a source that is held throughout changes nothing and is left out.
        """
        late = {
            source.name: getattr(self.onset, source.name)
            for source in fields(Onset)
            if getattr(self.seeds, source.name) != HELD and getattr(self.onset, source.name) > 0
        }
        return {
            "format": FORMAT,
            "config": self.config.to_json(),
            "seeds": asdict(self.seeds),
            "onset": late,
            "repeat": self.repeat,
        }

    @property
    def address(self) -> str:
        """The first 32 hexadecimal digits of the SHA-256 of the canonical JSON of `identity()`."""
        return address_of(self.identity())


def address_of(identity: Mapping[str, Any]) -> str:
    """Return the address of the job with this `identity()`."""
    canonical = json.dumps(identity, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:32]


def _check_combinations(config: RunConfig) -> None:
    """Raise SettingError for settings that are valid alone, but not together."""
    if config.optimizer == "nesterov" and config.momentum == 0:
        raise SettingError(
            f"momentum is {config.momentum}; the optimizer 'nesterov' needs one above 0",
            "momentum",
            "optimizer",
        )
    if config.schedule == "snapshots":
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
    if config.averaging == "triggered" and config.language is None:
        raise SettingError(
            "averaging is 'triggered', which only language models have", "averaging", "language"
        )


def _check_language(config: RunConfig) -> None:
    """Raise SettingError for settings that the training of a language model does not have."""
    absent = {
        "lowlevel": config.lowlevel != "off",
        "crop_padding": config.crop_padding > 0,
        "flip": config.flip,
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
