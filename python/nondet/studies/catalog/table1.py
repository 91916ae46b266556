"""`nondet run table1`: every source of nondeterminism, alone and together (paper, Sec. 3.2)."""

from nondet.studies.catalog.scales import (
    ALL_SOURCES,
    AUGMENTATION,
    CONTROL,
    INITIALIZATION,
    LAPTOP_LONG,
    LAPTOP_MODELS,
    LOW_LEVEL,
    PAPER,
    PAPER_MODELS,
    SHUFFLING,
)
from nondet.studies.row import Row
from nondet.studies.study import Preset, Study

TABLE1 = Study(
    name="table1",
    title="How far does each source of nondeterminism spread the results of training?",
    shows="every source, alone or with others, spreads results about equally far",
    source="Table 1",
    rows=(
        CONTROL,
        INITIALIZATION,
        SHUFFLING,
        AUGMENTATION,
        LOW_LEVEL,
        Row("shuffling + low-level", ("shuffle", "lowlevel")),
        Row("shuffling + augmentation + low-level", ("shuffle", "augment", "lowlevel")),
        ALL_SOURCES,
    ),
    views=("spread", "test-set", "predictions"),
    presets={
        # Representations are recorded because Fig. 1 takes these runs.
        "laptop": Preset(10, ("resnet14-w8",), LAPTOP_LONG, LAPTOP_MODELS, keep=("taps",)),
        # From the weights the records of `fig1` and `tta` are computed.
        "paper": Preset(100, ("resnet14",), PAPER, PAPER_MODELS, keep=("weights",)),
    },
)
