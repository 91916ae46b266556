"""`nondet run divergence`: a model with one changed bit, beside its twin (paper, Sec. 4.1)."""

from dataclasses import replace

from nondet.studies.catalog.scales import (
    CONTROL,
    LAPTOP,
    LAPTOP_MODELS,
    ONE_BIT,
    PAPER,
    PAPER_MODELS,
)
from nondet.studies.study import Preset, Study

DIVERGENCE = Study(
    name="divergence",
    title="How do two trainings part that differ in one bit?",
    shows="a model with one moved bit against its twin, epoch by epoch, and the condition number",
    source="Sec. 4.1",
    rows=(CONTROL, replace(ONE_BIT, keep=("twin",))),
    views=("divergence",),
    presets={
        "laptop": Preset(
            8,
            ("linear", "hidden", "resnet14-w8"),
            {**LAPTOP, "evaluate_every": 1},
            LAPTOP_MODELS,
        ),
        "paper": Preset(5, ("resnet14",), PAPER, PAPER_MODELS),
    },
)
