"""What a run is: its configuration, its seeds, and the address under which its result is kept."""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

from nondet.seeds import Seeds

FORMAT = 1
"""Raised whenever equal configurations and seeds no longer mean equal training: old runs are then
not reused.
"""


@dataclass(frozen=True)
class RunConfig:
    """Everything but the seeds that decides what a training computes.

    lr: highest learning rate. bias_lr_scale: factor on it for biases and batch-norm scales (0.1 in
    the paper's code). warmup_epochs: length of the linear warm-up. max_shift: images are shifted by
    up to this many pixels each way.
    """

    dataset: str
    model: str
    epochs: int
    batch_size: int
    lr: float
    momentum: float
    weight_decay: float
    warmup_epochs: int
    bias_lr_scale: float
    max_shift: int
    device: str = "cpu"

    def __post_init__(self) -> None:
        for name, least in (
            ("epochs", 1),
            ("batch_size", 1),
            ("warmup_epochs", 0),
            ("max_shift", 0),
        ):
            value = getattr(self, name)
            if value < least:
                raise ValueError(f"{name} is {value}; it must be at least {least}")
        for name in ("lr", "momentum", "weight_decay", "bias_lr_scale"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must not be negative")


@dataclass(frozen=True)
class Job:
    """One training to be done. `repeat` tells apart real repetitions of equal work (the control
    row).
    """

    config: RunConfig
    seeds: Seeds
    repeat: int = 0

    def identity(self) -> dict[str, Any]:
        """The job as JSON types; equal jobs give equal dictionaries."""
        return {
            "format": FORMAT,
            "config": asdict(self.config),
            "seeds": asdict(self.seeds),
            "repeat": self.repeat,
        }

    @property
    def address(self) -> str:
        """SHA-256 (first 32 hexadecimal digits) of the canonical JSON of `identity()`."""
        canonical = json.dumps(self.identity(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:32]
