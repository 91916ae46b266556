"""`nondet run fig1`: the similarity of the layers of two trained models (paper, Sec. 3.2)."""

from nondet.studies.catalog.scales import (
    ALL_SOURCES,
    AUGMENTATION,
    CONTROL,
    INITIALIZATION,
    LAPTOP_LONG,
    LAPTOP_MODELS,
    LOW_LEVEL,
    ONE_BIT,
    PAPER,
    PAPER_MODELS,
    SHUFFLING,
)
from nondet.studies.study import Preset, Study

FIG1 = Study(
    name="fig1",
    title="How alike are the layers of two models that differ in one source?",
    shows="representations differ from layer to layer far more than from source to source",
    source="Fig. 1",
    rows=(
        CONTROL,
        INITIALIZATION,
        SHUFFLING,
        AUGMENTATION,
        LOW_LEVEL,
        ONE_BIT,
        ALL_SOURCES,
    ),
    views=("cka",),
    presets={
        "laptop": Preset(10, ("resnet14-w8",), LAPTOP_LONG, LAPTOP_MODELS, keep=("taps",)),
        "paper": Preset(25, ("resnet14",), PAPER, PAPER_MODELS, keep=("taps",)),
    },
)
