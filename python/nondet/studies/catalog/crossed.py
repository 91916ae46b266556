"""`nondet run crossed`: the variance that each source and each interaction explains.

It is the full cross product of seeds, which the paper (Appendix D) could not afford, at a smaller
size.
"""

from nondet.studies.catalog.scales import CONTROL, LAPTOP, LAPTOP_MODELS, PAPER, PAPER_MODELS
from nondet.studies.row import Row
from nondet.studies.study import Preset, Study

CROSSED = Study(
    name="crossed",
    title="Which source explains how much of the variance?",
    shows="the variance that each source and each interaction explains, first-order and total",
    source="beyond the paper (its Appendix D)",
    rows=(
        CONTROL,
        Row(
            "every combination",
            ("init", "shuffle", "augment", "lowlevel"),
            design="crossed",
            levels=4,
        ),
    ),
    views=("components",),
    presets={
        "laptop": Preset(10, ("hidden",), LAPTOP, LAPTOP_MODELS),
        "paper": Preset(100, ("resnet14",), PAPER, PAPER_MODELS),
    },
)
