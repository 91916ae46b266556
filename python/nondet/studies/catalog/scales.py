"""The two scales of the studies, and rows and settings that several studies share.

Studies of one scale have equal settings, so that equal runs are trained once.
"""

from collections.abc import Mapping
from typing import Any

from nondet.studies.row import Row
from nondet.studies.seeds import Source

CONTROL = Row("control", runs=2)
ALL: tuple[Source, ...] = ("init", "shuffle", "augment", "stochastic", "lowlevel")
"""All sources of ordinary training; a changed bit is not among them."""

ALL_SOURCES = Row("all sources", ALL)
INITIALIZATION = Row("initialization", ("init",))
SHUFFLING = Row("shuffling", ("shuffle",))
AUGMENTATION = Row("augmentation", ("augment",))
LOW_LEVEL = Row("low-level order", ("lowlevel",))
ONE_BIT = Row("one bit", ("bit",))
# Language models have only these two sources.
STOCHASTIC = Row("stochastic operations", ("stochastic",))
BOTH = Row("both", ("init", "stochastic"))

# Sec. 3.2 and the code that was published with the paper; docs/studies.md lists every point. The
# low-level source is "seeded"; theirs, cuDNN, is lowlevel="vendor" on device="cuda".
PAPER: Mapping[str, Any] = {
    "dataset": "cifar10",
    "epochs": 500,
    "batch_size": 512,
    "lr": 0.4,
    "momentum": 0.9,
    "weight_decay": 5e-4,
    "warmup_epochs": 3,
    "bias_lr_scale": 0.1,
    "crop_padding": 4,
    "flip": True,
    "drop_last": False,
    "normalization": "published",
    "bias_lr_scope": "published",
}
# The paper gives no learning rate for these; with 0.4 they do not train. Its code does not augment
# MNIST.
PAPER_MODELS: Mapping[str, Mapping[str, Any]] = {
    "hidden-conv": {"lr": 0.1},
    "mnist": {"dataset": "mnist", "lr": 0.1, "crop_padding": 0, "flip": False},
}

# Rate, momentum, warm-up and bias rate are the paper's. Smaller batches and a ten times stronger
# weight decay let a training of few steps forget its first weights, which the paper's does by its
# length (docs/studies.md); without that, one bit and snapshots do not show what they do there. With
# 2 partial sums all low-level orders have the same result: floating-point addition commutes.
LAPTOP: Mapping[str, Any] = {
    "dataset": "digits",
    "epochs": 15,
    "batch_size": 32,
    "lr": 0.4,
    "momentum": 0.9,
    "weight_decay": 5e-3,
    "warmup_epochs": 3,
    "bias_lr_scale": 0.1,
    "crop_padding": 1,
    "chunks": 4,
    "evaluate_every": 5,
}
LAPTOP_LONG: Mapping[str, Any] = {**LAPTOP, "epochs": 30}
"""For the studies of a single ResNet: with 30 epochs the cycles of snapshots have 6."""

LAPTOP_MODELS: Mapping[str, Mapping[str, Any]] = {
    # Some studies show every epoch of these, and share their runs with others.
    "linear": {"evaluate_every": 1},
    "hidden": {"evaluate_every": 1},
    "hidden-conv": {"lr": 0.1},
    # An epoch takes ten times as long as that of a ResNet-14 on the digits.
    "mnist": {
        "dataset": "mnist5k",
        "epochs": 5,
        "lr": 0.1,
        "warmup_epochs": 1,
        "crop_padding": 0,
    },
}

# The paper (Sec. 3.3) gives the data, Penn Treebank, the size of the network, and the code: that of
# Merity et al. (2017). Batch size, epochs and the dropout of the embedded input and between layers
# are those with which the README of that code trains an LSTM on Penn Treebank; the rest are the
# defaults of its main.py. Two things are guesses: that the paper kept these values, and that it
# dropped no weights of the gates. By default the code drops half of the weights of an LSTM; its
# README drops a tenth of those of its own QRNN, which is three times as wide.
PAPER_LANGUAGE: Mapping[str, Any] = {
    "dataset": "penn-treebank",
    "epochs": 500,
    "batch_size": 20,
    "lr": 30.0,
    "momentum": 0.0,
    "weight_decay": 1.2e-6,
    "bias_lr_scale": 1.0,
    "schedule": "constant",
    "warmup_epochs": 0,
    "averaging": "triggered",
    "lowlevel": "off",
    "language.embedding": 256,
    "language.hidden": 512,
    "language.layers": 3,
    "language.bptt": 70,
    "language.dropout_embedding": 0.1,
    "language.dropout_input": 0.4,
    "language.dropout_hidden": 0.25,
    "language.dropout_output": 0.4,
    "language.dropout_weight": 0.0,
    "language.activation_reg": 2.0,
    "language.temporal_reg": 1.0,
    "language.clip": 0.25,
    "language.trigger": 5,
    "language.tested": "best",
}
# The same training with a network and a text that are small enough for two cores. With this rate
# the effect of one bit grows within few steps; with Adam at 0.003 it did not. All runs are tested
# after the same number of epochs.
LAPTOP_LANGUAGE: Mapping[str, Any] = {
    **PAPER_LANGUAGE,
    "language.tested": "last",
    "dataset": "pydoc",
    "epochs": 8,
    "batch_size": 16,
    "language.embedding": 64,
    "language.hidden": 128,
    "language.layers": 2,
    "language.bptt": 35,
}


def snapshot_ensemble(laptop: bool, **settings: Any) -> Row:
    """Return the row of snapshot ensembles, in which all sources vary (paper, Sec. 5).

    It compares the mean logits of the ends of five cosine cycles, each with a warm-up as in the
    paper's code. On the laptop, cycles are short: only the first has a warm-up, of a single epoch.

    settings: further ones of the row, or in place of these.
    """
    warmup: dict[str, Any] = {"warmup_epochs": 1} if laptop else {"cycle_warmup": True}
    return Row(
        "snapshot ensemble",
        ALL,
        {"schedule": "snapshots", **warmup, **settings},
        output="snapshots",
    )
