"""Small texts for tests of language models."""

import numpy as np
import torch

from nondet.data import TextDataset
from nondet.studies.config import RunConfig
from nondet.studies.specs import LanguageSpec

SPEC = LanguageSpec(
    embedding=12,
    hidden=16,
    layers=2,
    bptt=10,
    dropout_embedding=0.1,
    dropout_input=0.1,
    dropout_hidden=0.1,
    dropout_output=0.1,
    dropout_weight=0.1,
    zoneout=0.1,
)
QUIET = LanguageSpec(
    embedding=12,
    hidden=16,
    layers=2,
    bptt=10,
    variable_bptt=False,
    dropout_embedding=0.0,
    dropout_input=0.0,
    dropout_hidden=0.0,
    dropout_output=0.0,
    activation_reg=0.0,
    temporal_reg=0.0,
)
CONFIG = RunConfig(
    dataset="made-up",
    model="qrnn",
    epochs=3,
    batch_size=4,
    lr=0.01,
    optimizer="adam",
    weight_decay=0.0,
    bias_lr_scale=1.0,
    schedule="constant",
    warmup_epochs=0,
    lowlevel="off",
    language=SPEC,
)


def text_of(train, valid, test, types: int) -> TextDataset:
    parts = (torch.as_tensor(part, dtype=torch.int64) for part in (train, valid, test))
    return TextDataset("made-up", ("<eos>", *map(str, range(1, types))), *parts, {"made": "up"})


def random_text(train=400, valid=30, test=40, types=9, seed=1) -> TextDataset:
    """Return a random text in which every token depends on the one before."""
    rng = np.random.default_rng(seed)
    table = rng.dirichlet(np.full(types, 0.3), types)
    tokens = [0]
    for _ in range(train + valid + test - 1):
        tokens.append(int(rng.choice(types, p=table[tokens[-1]])))
    return text_of(tokens[:train], tokens[train : train + valid], tokens[train + valid :], types)
