"""`nondet run table8`: linear models and two-layer networks (paper, Sec. 4.2 and Appendix B)."""

from nondet.studies.catalog.scales import (
    ALL_SOURCES,
    AUGMENTATION,
    CONTROL,
    INITIALIZATION,
    LAPTOP,
    LAPTOP_MODELS,
    LOW_LEVEL,
    ONE_BIT,
    PAPER,
    PAPER_MODELS,
    SHUFFLING,
)
from nondet.studies.study import Preset, Study

TABLE8 = Study(
    name="table8",
    title="Is one hidden layer enough for instability?",
    shows="a linear model forgets a moved bit, a network with one hidden layer does not",
    source="Table 8",
    rows=(
        CONTROL,
        INITIALIZATION,
        SHUFFLING,
        AUGMENTATION,
        LOW_LEVEL,
        ALL_SOURCES,
        ONE_BIT,
    ),
    presets={
        "laptop": Preset(10, ("linear", "hidden", "hidden-conv"), LAPTOP, LAPTOP_MODELS),
        "paper": Preset(100, ("linear", "hidden", "hidden-conv"), PAPER, PAPER_MODELS),
    },
)
