"""The two scales of the studies, and the rows and settings that several of them share.

Studies of one scale use the same settings field by field, so that equal runs are trained once.
"""

from collections.abc import Mapping
from typing import Any

from nondet.studies.row import Row
from nondet.studies.seeds import Source

CONTROL = Row("control", runs=2)
ALL: tuple[Source, ...] = ("init", "shuffle", "augment", "stochastic", "lowlevel")
"""All sources of training together; the bit is none of them."""

ALL_SOURCES = Row("all sources", ALL)
INITIALIZATION = Row("initialization", ("init",))
SHUFFLING = Row("shuffling", ("shuffle",))
AUGMENTATION = Row("augmentation", ("augment",))
LOW_LEVEL = Row("low-level order", ("lowlevel",))
ONE_BIT = Row("one bit", ("bit",))
# Of language models, which have these two sources alone.
STOCHASTIC = Row("stochastic operations", ("stochastic",))
BOTH = Row("both", ("init", "stochastic"))

# Sec. 3.2 and the authors' code. The low-level source is our seeded one; theirs, cuDNN, is
# lowlevel="vendor" on device="cuda".
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
}
# The paper names no rate for these; with 0.4 they do not train.
PAPER_MODELS: Mapping[str, Mapping[str, Any]] = {
    "hidden-conv": {"lr": 0.1},
    "mnist": {"dataset": "mnist", "lr": 0.1, "flip": False},
}

# Momentum, weight decay, warm-up and bias rate are the paper's; batch and rate are fitted to 1,347
# images of 8x8 pixels: a width-8 ResNet-14 reaches 98% in 150 steps.
LAPTOP_RESNET: Mapping[str, Any] = {
    "dataset": "digits",
    "epochs": 15,
    "batch_size": 128,
    "lr": 1.0,
    "momentum": 0.9,
    "weight_decay": 5e-4,
    "warmup_epochs": 3,
    "bias_lr_scale": 0.1,
    "crop_padding": 1,
}
LAPTOP_SMALL: Mapping[str, Any] = {**LAPTOP_RESNET, "epochs": 20, "batch_size": 64, "lr": 0.4}
LAPTOP_MODELS: Mapping[str, Mapping[str, Any]] = {
    "linear": LAPTOP_SMALL,
    "hidden": LAPTOP_SMALL,
    "hidden-conv": {**LAPTOP_SMALL, "lr": 0.1},
    "mnist": {"lr": 0.1},
}

# From the paper (Sec. 3.3): Penn Treebank, the network's size, and that it used the public code of
# Merity et al. (2017). From that code: batch, epochs and the dropout of the embedded input and
# between layers are those with which its README trains an LSTM on Penn Treebank; the rest are its
# main.py's defaults. Guesses: that the paper left them as they are, and no dropout of the gates'
# weights. By default that code drops half of an LSTM's; its README drops a tenth of those of its
# own QRNN, which is three times as wide.
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
}
# The same training, of a network and a text small enough for two cores. The rate is what lets one
# bit grow within so few steps: with Adam at 0.003 it did not.
LAPTOP_LANGUAGE: Mapping[str, Any] = {
    **PAPER_LANGUAGE,
    "dataset": "pydoc",
    "epochs": 8,
    "batch_size": 16,
    "language.embedding": 64,
    "language.hidden": 128,
    "language.layers": 2,
    "language.bptt": 35,
}


def snapshot_ensemble(laptop: bool, **settings: Any) -> Row:
    """All sources vary, five cosine cycles, and the mean logits of their ends (paper, Sec. 5).

    On the laptop a cycle has few epochs, so one of them is the warm-up.
    """
    warmup = {"warmup_epochs": 1} if laptop else {}
    return Row(
        "snapshot ensemble",
        ALL,
        {"schedule": "snapshots", **warmup, **settings},
        output="snapshots",
    )
