"""`nondet run quick`: the paper's central finding in a minute, on digits (Tables 1, 3 and 8)."""

from nondet.studies.catalog.scales import (
    ALL_SOURCES,
    AUGMENTATION,
    INITIALIZATION,
    LAPTOP,
    LAPTOP_MODELS,
    LOW_LEVEL,
    ONE_BIT,
    PAPER,
    SHUFFLING,
)
from nondet.studies.row import Row
from nondet.studies.study import Preset, Study

QUICK = Study(
    name="quick",
    title="What spreads the results of training?",
    shows="the central finding in a minute: a bit spreads a two-layer network, not a linear model",
    source="Tables 1, 3 and 8",
    rows=(
        Row("control"),
        INITIALIZATION,
        SHUFFLING,
        AUGMENTATION,
        Row("dropout", ("stochastic",)),
        LOW_LEVEL,
        Row("low-level race", ("lowlevel",), {"lowlevel": "atomic"}),
        ONE_BIT,
        ALL_SOURCES,
    ),
    presets={
        "laptop": Preset(
            10,
            ("linear", "hidden"),
            LAPTOP,
            {**LAPTOP_MODELS, "hidden": {**LAPTOP_MODELS["hidden"], "dropout": 0.1}},
        ),
        "paper": Preset(100, ("linear", "hidden"), PAPER, {"hidden": {"dropout": 0.1}}),
    },
)
