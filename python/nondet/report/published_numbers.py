"""Numbers that were published, and the settings that they are for.

ResNet-14 on CIFAR-10, 500 epochs, 100 models a row: the paper's values are those reprinted by the
report of the ML Reproducibility Challenge 2021 (ReScience C), which adds the values of its own
replication. The numbers of Sec. 3.3, 4.1 and 4.2 stand in the paper's text.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nondet.analysis.stats import Spread
from nondet.studies.seeds import Source

PAPER = "the paper"
REPLICATION = "replication (MLRC 2021)"

ALL: tuple[Source, ...] = ("init", "shuffle", "augment", "lowlevel")

SETTING: Mapping[str, Any] = {
    "dataset": "cifar10",
    "epochs": 500,
    "batch_size": 512,
    "lr": 0.4,
    "optimizer": "sgd",
    "momentum": 0.9,
    "weight_decay": 5e-4,
    "bias_lr_scale": 0.1,
    "warmup_epochs": 3,
    "label_smoothing": 0.0,
    "averaging": "none",
    "weight_offset": 0.0,
    "dropout": 0.0,
    "crop_padding": 4,
    "flip": True,
}
"""The settings that a row must share with the published runs to stand beside them; the schedule is
"cosine", or "snapshots" with 5 cycles.
"""

DETAILS: Mapping[str, Any] = {
    "drop_last": False,
    "normalization": "published",
    "bias_lr_scope": "published",
    "precision": "float32",
    "held_seed": 1,
    "shuffle_once": False,
}
"""Further settings of the published code, in which a row beside the published ones may differ."""


@dataclass(frozen=True)
class Published:
    """A published row of image models; what is None was not published.

    output: as `Row.output`. accuracy, cross_entropy: SDs in percentage points and nats with their
    error bars, NaN if not published. disagreement: in percent. correlation: Spearman's. ensemble:
    the gain of an ensemble of two in percentage points. reduction: in percent.
    """

    source: str
    varies: tuple[Source, ...]
    output: str
    accuracy: Spread
    cross_entropy: Spread
    disagreement: float | None = None
    correlation: float | None = None
    ensemble: float | None = None
    reduction: float | None = None
    model: str = "resnet14"


def _row(
    source: str,
    varies: tuple[Source, ...],
    output: str,
    accuracy: tuple[float, float],
    cross_entropy: tuple[float, float],
    disagreement: float,
    correlation: float,
    ensemble: float,
    reduction: float | None = None,
) -> Published:
    spreads = Spread(*accuracy), Spread(*cross_entropy)
    return Published(
        source, varies, output, *spreads, disagreement, correlation, ensemble, reduction
    )


def _one_bit(model: str, accuracy: float, cross_entropy: float) -> Published:
    spreads = Spread(accuracy, math.nan), Spread(cross_entropy, math.nan)
    return Published(PAPER, ("bit",), "final", *spreads, model=model)


# fmt: off
PUBLISHED: tuple[Published, ...] = (
    _row(PAPER, ALL, "final", (0.26, 0.02), (0.0072, 0.0005), 10.7, 0.871, 1.82),
    _row(PAPER, ALL, "snapshots", (0.19, 0.02), (0.0044, 0.0003), 6.1, 0.957, 0.63, 48),
    _row(PAPER, ALL, "final/flip", (0.24, 0.02), (0.0061, 0.0005), 8.2, 0.905, 1.20, 21),
    _row(PAPER, ALL, "final/original+wide25",
         (0.23, 0.02), (0.0059, 0.0004), 9.2, 0.893, 1.49, 16),
    _row(PAPER, ALL, "final/original+crops81",
         (0.21, 0.01), (0.0055, 0.0004), 8.8, 0.898, 1.39, 21),
    _row(PAPER, ALL, "final/original+flip+wide25",
         (0.21, 0.02), (0.0051, 0.0004), 7.2, 0.920, 0.99, 33),
    _row(PAPER, ALL, "final/original+flip+crops81",
         (0.19, 0.01), (0.0049, 0.0004), 6.9, 0.922, 0.92, 37),
    _row(PAPER, ALL, "snapshots/flip", (0.15, 0.01), (0.0039, 0.0003), 5, 0.967, 0.45, 58),
    _row(PAPER, ALL, "snapshots/original+flip+crops81",
         (0.16, 0.01), (0.0033, 0.0002), 4.6, 0.972, 0.38, 61),
    _row(REPLICATION, (), "final", (0, 0), (0, 0), 0, 1, 0),
    _row(REPLICATION, ("init",), "final", (0.22, 0.02), (0.0073, 0.0005), 10.7, 0.873, 1.86),
    _row(REPLICATION, ("shuffle",), "final", (0.25, 0.02), (0.0083, 0.0005), 10.7, 0.871, 1.86),
    _row(REPLICATION, ("augment",), "final", (0.22, 0.02), (0.0069, 0.0005), 10.7, 0.872, 1.87),
    _row(REPLICATION, ("lowlevel",), "final", (0.21, 0.01), (0.0067, 0.0004), 10.6, 0.873, 1.83),
    _row(REPLICATION, ("shuffle", "lowlevel"), "final",
         (0.25, 0.02), (0.0071, 0.0005), 10.7, 0.871, 1.85),
    _row(REPLICATION, ("shuffle", "augment", "lowlevel"), "final",
         (0.24, 0.02), (0.0068, 0.0004), 10.7, 0.871, 1.87),
    _row(REPLICATION, ALL, "final", (0.26, 0.02), (0.0080, 0.0005), 10.7, 0.871, 1.84),
    _row(REPLICATION, ("bit",), "final", (0.21, 0.014), (0.0067, 0.0004), 10.6, 0.874, 1.82),
    # Sec. 4.2.
    _one_bit("linear", 0, 3e-8),
    _one_bit("hidden", 0.28, 0.0055),
    _one_bit("hidden-conv", 0.14, 0.0024),
)
# fmt: on

PERPLEXITY = 75.49
"""Test perplexity of the quasi-recurrent network on the Penn Treebank (Sec. 3.3)."""

PERPLEXITY_NETWORK: Mapping[str, int] = {"embedding": 256, "hidden": 512, "layers": 3}
"""The settings of that network that the paper gives, by name in `LanguageSpec`."""

CONDITION_CROSS_ENTROPY, CONDITION_ACCURACY = 1.8e7, 2.6e8
"""Condition number of training, at least, for cross-entropy (nats) and accuracy (percentage points)
per unit of a weight, from one pair of ResNet-14s (Sec. 4.1).
"""
