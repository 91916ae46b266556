"""`nondet run fig3`: the effect of one changed bit, epoch by epoch (paper, Appendix C)."""

from nondet.studies.catalog.scales import (
    CONTROL,
    LAPTOP,
    LAPTOP_MODELS,
    ONE_BIT,
    PAPER,
    PAPER_MODELS,
)
from nondet.studies.study import Preset, Study

FIG3 = Study(
    name="fig3",
    title="When does one bit spread results?",
    shows="after a moved bit a two-layer network spreads in the first epochs, a linear model never",
    source="Fig. 3",
    rows=(CONTROL, ONE_BIT),
    views=("epochs",),
    presets={
        "laptop": Preset(20, ("linear", "hidden"), LAPTOP, LAPTOP_MODELS),
        "paper": Preset(100, ("linear", "hidden"), PAPER, PAPER_MODELS),
    },
)
