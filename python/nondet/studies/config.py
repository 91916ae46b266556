"""What a run is: its configuration, its seeds, and the address under which its result is kept."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args

from nondet.studies.seeds import HELD, Onset, Seeds

FORMAT = 2
"""Raised whenever equal configurations and seeds no longer mean equal training: old runs are then
not reused.
"""

Optimizer = Literal["sgd", "nesterov", "adam", "adamw"]
Schedule = Literal["cosine", "snapshots", "step", "constant"]
Averaging = Literal["none", "swa", "ema", "aggressive", "aggressive-aside", "triggered"]
LowLevel = Literal["off", "seeded", "atomic", "exact", "vendor"]
Target = Literal["weights", "momentum", "statistics", "gradient", "pixel"]
Change = Literal["ulp", "bit"]


@dataclass(frozen=True)
class PerturbationSpec:
    """The small change that a run with a bit seed of its own makes once.

    target: what is changed: a weight, an entry of the optimizer's momentum, a batch-norm statistic,
    an entry of a gradient, a pixel of a batch as the model sees it. step: just before which
    optimizer step (gradient: in which), counted from the beginning of the onset epoch. tensor: its
    name or a shell pattern of names ("blocks.0.*"); for weights the first layer's if not given,
    else drawn from all. index: flat, row-major; drawn if
    not given. change: "ulp", to a neighbouring value, or "bit", one bit of the pattern inverted.
    direction (1 up, -1 down; ulp only) and bit (0: the lowest; bit only) are drawn if not given.
    """

    target: Target = "weights"
    step: int = 0
    tensor: str | None = None
    index: int | None = None
    change: Change = "ulp"
    direction: int | None = None
    bit: int | None = None

    def __post_init__(self) -> None:
        _one_of("perturbation.target", self.target, get_args(Target))
        _one_of("perturbation.change", self.change, get_args(Change))
        _at_least("perturbation.step", self.step, 0)
        if self.index is not None:
            _at_least("perturbation.index", self.index, 0)
            if self.tensor is None and self.target not in ("weights", "pixel"):
                raise ValueError(
                    "perturbation.index is given, but no perturbation.tensor that it would count in"
                )
        if self.direction not in (None, 1, -1):
            raise ValueError(f"perturbation.direction is {self.direction}; known: 1, -1")
        if self.direction is not None and self.change != "ulp":
            raise ValueError("perturbation.direction is given, but the change is 'bit'")
        if self.bit is not None:
            if self.change != "bit":
                raise ValueError("perturbation.bit is given, but the change is 'ulp'")
            if not 0 <= self.bit < 64:
                raise ValueError(f"perturbation.bit is {self.bit}; it must lie in [0, 64)")


@dataclass(frozen=True)
class LanguageSpec:
    """What a language model's training has beside the settings of every other.

    embedding, hidden, layers: of the quasi-recurrent network (Bradbury et al. 2016); its first
    layer sees `window` tokens at a time, the others 1. bptt: mean length in tokens of the segments
    through which gradients flow; with variable_bptt every segment's is drawn (Merity et al. 2017,
    Sec. 5). dropout_embedding: of whole word types; dropout_input, dropout_hidden, dropout_output:
    of the embedded input, between layers and after the last, one mask for all tokens of a segment;
    dropout_weight: of the gates' weights; zoneout: of the recurrence. activation_reg,
    temporal_reg: factors of the two L2 penalties on the last layer's output (the same, Sec. 4).
    clip: the largest norm of a gradient, 0 for any. trigger: the averaging "triggered" begins
    after an epoch whose validation loss is above the best of all but the last so many before it.
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
        for name in ("embedding", "hidden", "layers", "bptt", "trigger"):
            _at_least(f"language.{name}", getattr(self, name), 1)
        if self.window not in (1, 2):
            raise ValueError(f"language.window is {self.window!r}; known: 1, 2")
        for name, value in vars(self).items():
            if (name.startswith("dropout_") or name == "zoneout") and not 0 <= value < 1:
                raise ValueError(f"language.{name} is {value}; it must lie in [0, 1)")
        for name in ("activation_reg", "temporal_reg", "clip"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(
                    f"language.{name} is {value}; it must be a finite number, not negative"
                )

    @property
    def stochastic(self) -> bool:
        """Whether a training draws anything but its initial weights and the one small change."""
        dropped = [value for name, value in vars(self).items() if name.startswith("dropout_")]
        return self.variable_bptt or any(dropped) or self.zoneout > 0


@dataclass(frozen=True)
class RunConfig:
    """Everything but the seeds that decides what a training computes.

    lr: highest learning rate. momentum: of SGD; of Adam the decay of the first moment (beta 1).
    bias_lr_scale: factor on the rate for biases and batch-norm scales (0.1 in the paper's code).
    schedule: "cosine" falls from lr to 0, "snapshots" does so `cycles` times (Huang et al. 2017),
    "step" multiplies by `decay` at each of the epochs in `milestones`; all after a linear warm-up
    over warmup_epochs. averaging: of weights, from averaging_start (an epoch, counted from 0) on.
    weight_offset: the gradient is taken at weights moved by normal offsets of this standard
    deviation (paper, Appendix A). dropout: the probability of a zero.
    crop_padding: images are moved by up to this many pixels each way. flip: half of them mirrored.
    lowlevel: what a low-level seed of a run's own means (see nondet.lowlevel): gradients accumulate
    in an order drawn from it, in racing threads, exactly, or as cuDNN does when it is let; "off":
    the vendor's kernels as they are. A held seed means a fixed order. chunks: into how many partial
    sums a batch is split there.
    threads: with how many threads a CPU computes; part of the configuration because results depend
    on it. evaluate_every: epochs from one evaluation to the next; the last is always evaluated.
    language: of a language model alone.
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
        for name, known in (
            ("optimizer", Optimizer),
            ("schedule", Schedule),
            ("averaging", Averaging),
            ("lowlevel", LowLevel),
        ):
            _one_of(name, getattr(self, name), get_args(known))
        for name, least in (
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
            _at_least(name, getattr(self, name), least)
        for name in ("lr", "weight_decay", "bias_lr_scale", "weight_offset", "decay", "adam_eps"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} is {value}; it must be a finite number, not negative")
        for name in ("momentum", "adam_beta2", "ema_decay", "label_smoothing", "dropout"):
            value = getattr(self, name)
            if not 0 <= value < 1:
                raise ValueError(f"{name} is {value}; it must lie in [0, 1)")
        if self.optimizer == "nesterov" and self.momentum == 0:
            raise ValueError("momentum is 0.0; the optimizer 'nesterov' needs one above 0")
        if self.schedule == "snapshots" and self.epochs % self.cycles:
            raise ValueError(
                f"epochs is {self.epochs}; snapshots need a multiple of cycles, {self.cycles}"
            )
        if self.schedule == "snapshots" and self.warmup_epochs >= self.epochs // self.cycles:
            raise ValueError(
                f"warmup_epochs is {self.warmup_epochs}; with snapshots it must be below the "
                f"{self.epochs // self.cycles} epochs of a cycle"
            )
        if self.averaging != "none" and self.averaging_start >= self.epochs:
            raise ValueError(
                f"averaging_start is {self.averaging_start}; it must be below the "
                f"{self.epochs} epochs"
            )
        if list(self.milestones) != sorted(set(self.milestones)) or any(
            not epoch > 0 for epoch in self.milestones
        ):
            raise ValueError(
                f"milestones are {self.milestones}; they must be increasing epochs above 0"
            )
        if self.lowlevel == "vendor" and not self.device.startswith("cuda"):
            raise ValueError(
                f"lowlevel is 'vendor', which cuDNN offers on cuda alone; device is {self.device!r}"
            )
        if self.averaging == "triggered" and self.language is None:
            raise ValueError("averaging is 'triggered', which only language models have")
        if self.language is not None:
            _check_language(self)

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> "RunConfig":
        """The configuration whose `asdict` this is, read from JSON. Raises TypeError, ValueError or
        KeyError for anything else.
        """
        values = dict(data)
        values["perturbation"] = PerturbationSpec(**values["perturbation"])
        values["milestones"] = tuple(values["milestones"])
        if "language" in values:
            values["language"] = LanguageSpec(**values["language"])
        return RunConfig(**values)

    def to_json(self) -> dict[str, Any]:
        """The configuration as JSON types; without "language" where there is none."""
        values = asdict(self) | {"milestones": list(self.milestones)}
        if self.language is None:
            del values["language"]
        return values


@dataclass(frozen=True)
class Job:
    """One training to be done. onset: from which epoch on each source follows its seed in `seeds`.
    `repeat` tells apart real repetitions of equal work (the control row).
    """

    config: RunConfig
    seeds: Seeds
    repeat: int = 0
    onset: Onset = field(default_factory=Onset)

    def __post_init__(self) -> None:
        for source in fields(Onset):
            epoch = getattr(self.onset, source.name)
            if epoch > self.config.epochs:
                raise ValueError(
                    f"the onset of {source.name} is epoch {epoch}; the training has "
                    f"{self.config.epochs} epochs"
                )

    def identity(self) -> dict[str, Any]:
        """The job as JSON types; equal jobs give equal dictionaries. The onset of a source that is
        held throughout changes nothing and is left out.
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
        """SHA-256 (first 32 hexadecimal digits) of the canonical JSON of `identity()`."""
        return address_of(self.identity())


def address_of(identity: Mapping[str, Any]) -> str:
    """The address of the job with this `identity()`."""
    canonical = json.dumps(identity, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:32]


def _check_language(config: RunConfig) -> None:
    """Raises ValueError for settings that a language model's training does not have."""
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
            raise ValueError(
                f"{name} is {getattr(config, name)!r}, which the training of a language model "
                "does not have"
            )
    if config.perturbation.target in ("pixel", "statistics"):
        raise ValueError(
            f"perturbation.target is {config.perturbation.target!r}, of which a language model has "
            "nothing"
        )


def _one_of(name: str, value: object, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"{name} is {value!r}; known: {', '.join(known)}")


def _at_least(name: str, value: int, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} is {value!r}; it must be an integer")
    if value < least:
        raise ValueError(f"{name} is {value}; it must be at least {least}")
