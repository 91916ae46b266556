"""`nondet run table3`: one bit of a weight, beside other sources (paper, Sec. 4.1)."""

from nondet.studies.catalog.scales import (
    ALL_SOURCES,
    CONTROL,
    INITIALIZATION,
    LAPTOP_LONG,
    LAPTOP_MODELS,
    ONE_BIT,
    PAPER,
    PAPER_MODELS,
)
from nondet.studies.study import Preset, Study

TABLE3 = Study(
    name="table3",
    title="How far does one bit spread the results of training?",
    shows="moving one weight by one bit spreads results about as far as all sources together",
    source="Table 3",
    rows=(CONTROL, INITIALIZATION, ALL_SOURCES, ONE_BIT),
    views=("spread", "test-set"),
    baseline="all sources",
    presets={
        # Representations are recorded because Fig. 1 takes these runs.
        "laptop": Preset(10, ("resnet14-w8",), LAPTOP_LONG, LAPTOP_MODELS, keep=("taps",)),
        # From the weights the records of `fig1` and `tta` are computed.
        "paper": Preset(100, ("resnet14",), PAPER, PAPER_MODELS, keep=("weights",)),
    },
)
